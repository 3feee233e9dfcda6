//! Targets that may run but do not match the catalog.

use std::collections::BTreeSet;
use std::fmt;

use super::Deployer;
use super::refusal::unavailable;
use crate::Target;
use crate::catalog::Plan;
use crate::id::{ComponentKey, DataPlaneId, ProjectId};
use crate::intake::IntakeError;
use crate::release::ReleaseNumber;
use crate::store::{TargetQuery, TargetState};
use crate::workload::ComponentType;

/// A page of targets that may run and do not match the catalog.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Orphans {
    /// The orphans, ordered by organization, component, project and environment. A page may be empty.
    pub found: Vec<Orphan>,
    /// The target after which the next page begins, or `None` if this is the last page.
    pub next: Option<Target>,
}

/// A target that may run and does not match the catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Orphan {
    /// The target.
    pub target: Target,
    /// The data planes that it may be on.
    pub planes: BTreeSet<DataPlaneId>,
    /// Those of them that are not connected, so that nothing can be removed there.
    pub disconnected: BTreeSet<DataPlaneId>,
    /// The mismatch.
    pub why: OrphanReason,
}

/// The mismatch between a target and the catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OrphanReason {
    /// The component is not in the catalog.
    ComponentGone,
    /// The component has another type than the release that is ready.
    ComponentTypeChanged {
        /// The type of the release that is ready.
        ready: ComponentType,
        /// The component's type.
        now: ComponentType,
    },
    /// The target may be on other data planes than its environment.
    DataPlaneChanged {
        /// The environment's data plane.
        now: DataPlaneId,
    },
    /// The target may be on a data plane that is not connected.
    DataPlaneGone,
    /// The component has no such environment.
    EnvironmentGone,
    /// The component is in another project.
    ProjectChanged {
        /// The component's project.
        now: ProjectId,
    },
}

impl OrphanReason {
    /// Returns the reason as a word, for programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ComponentGone => "component-gone",
            Self::ComponentTypeChanged { .. } => "component-type-changed",
            Self::DataPlaneChanged { .. } => "data-plane-changed",
            Self::DataPlaneGone => "data-plane-gone",
            Self::EnvironmentGone => "environment-gone",
            Self::ProjectChanged { .. } => "project-changed",
        }
    }
}

impl fmt::Display for OrphanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ComponentGone => f.write_str("the catalog has no such component"),
            Self::ComponentTypeChanged { ready, now } => {
                let (ready, now) = (ready.title(), now.title());
                write!(f, "a {ready} is ready, but the component is now a {now}")
            }
            Self::DataPlaneChanged { now } => {
                write!(f, "its environment is now on data plane {now}")
            }
            Self::DataPlaneGone => f.write_str("its data plane is not connected"),
            Self::EnvironmentGone => f.write_str("the component has no such environment"),
            Self::ProjectChanged { now } => write!(f, "its component is now in project {now}"),
        }
    }
}

impl Deployer {
    /// Returns targets that may run and do not match the catalog: the component or the environment was
    /// deleted, moved to another project or data plane, or has another type.
    ///
    /// It reads a page of targets: 100, unless the query has a limit. It calls the catalog once for each
    /// component of the page, and no data plane.
    ///
    /// [`remove_target`](Self::remove_target) removes an orphan. If the environment moved to another data
    /// plane or the component to another project, the next deployment that becomes ready removes it too.
    /// [`forget_data_planes`](Self::forget_data_planes) is for data planes that no longer exist.
    ///
    /// The type is not compared if the release that is ready cannot be read.
    ///
    /// ```
    /// # use choreo_deploy::Deployer;
    /// # use choreo_deploy::id::OrganizationId;
    /// # use choreo_deploy::intake::IntakeError;
    /// use choreo_deploy::deployer::OrphanReason;
    /// use choreo_deploy::store::TargetQuery;
    ///
    /// # async fn clean(deployer: &Deployer, acme: OrganizationId) -> Result<(), IntakeError> {
    /// let mut query = TargetQuery::of_organization(acme);
    /// loop {
    ///     let page = deployer.orphans(&query).await?;
    ///     for orphan in page.found {
    ///         println!("{} may still run: {}", orphan.target, orphan.why);
    ///         if orphan.why == OrphanReason::ComponentGone {
    ///             deployer.remove_target(&orphan.target).await?;
    ///         }
    ///     }
    ///     let Some(last) = page.next else { break };
    ///     query = query.after(last);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Unavailable`](crate::intake::IntakeErrorKind::Unavailable) if the store or the catalog
    /// does not answer.
    pub async fn orphans(&self, query: &TargetQuery) -> Result<Orphans, IntakeError> {
        let limit = if query.limit == 0 { PAGE } else { query.limit };
        let query = query.clone().placed().limit(limit);
        let states = self.parts.store.targets(&query).await;
        let states = states.map_err(unavailable)?;
        let mut known = Known::default();
        let mut page = Orphans::default();
        if states.len() == limit {
            page.next = states.last().map(|last| last.target.clone());
        }
        for state in states {
            let disconnected: BTreeSet<_> = state
                .planes
                .iter()
                .filter(|plane| self.parts.backends.get(plane).is_none())
                .cloned()
                .collect();
            let why = self.why_orphan(&state, &mut known).await?;
            let why = why.or((!disconnected.is_empty()).then_some(OrphanReason::DataPlaneGone));
            page.found.extend(why.map(|why| Orphan {
                target: state.target,
                planes: state.planes,
                disconnected,
                why,
            }));
        }
        Ok(page)
    }

    /// Forgets that a target may be on data planes that no longer exist, so that deployments do not try
    /// to remove it there. Containers that still run there continue to run. Returns `true` if the target
    /// was on one of them.
    ///
    /// # Errors
    ///
    /// Returns [`Unavailable`](crate::intake::IntakeErrorKind::Unavailable) if the store does not answer.
    pub async fn forget_data_planes(
        &self,
        target: &Target,
        planes: &BTreeSet<DataPlaneId>,
    ) -> Result<bool, IntakeError> {
        let now = self.clock.now();
        let forgotten = self.parts.store.forget_planes(target, planes, now).await;
        forgotten.map_err(unavailable)
    }

    async fn why_orphan(
        &self,
        state: &TargetState,
        known: &mut Known,
    ) -> Result<Option<OrphanReason>, IntakeError> {
        let target = &state.target;
        let key = target.component_key();
        // The targets of a component follow each other in a page.
        let is_known = known.of.as_ref() == Some(&key);
        if !is_known {
            known.plan = self.look_up(&key).await?;
            (known.of, known.ready) = (Some(key), None);
        }
        let Some(plan) = &known.plan else {
            return Ok(Some(OrphanReason::ComponentGone));
        };
        let why = elsewhere(plan, state);
        let (None, Some(ready)) = (&why, &state.ready) else {
            return Ok(why);
        };
        let of_ready = match known.ready {
            Some((release, of)) if release == ready.release => of,
            _ => {
                let key = target.component_key();
                let release = match self.parts.store.release(&key, ready.release).await {
                    // An unreadable row must not hide the targets after it.
                    Err(error) if !error.is_retryable() => return Ok(None),
                    release => release.map_err(unavailable)?,
                };
                let Some(release) = release else {
                    return Ok(None);
                };
                let of = release.workload.component_type();
                known.ready = Some((ready.release, of));
                of
            }
        };
        let now = plan.component.component_type;
        Ok(
            (of_ready != now).then_some(OrphanReason::ComponentTypeChanged {
                ready: of_ready,
                now,
            }),
        )
    }
}

/// The results of earlier look-ups.
#[derive(Default)]
struct Known {
    of: Option<ComponentKey>,
    plan: Option<Plan>,
    ready: Option<(ReleaseNumber, ComponentType)>,
}

/// The default number of targets in a page.
const PAGE: usize = 100;

/// Returns the mismatch if the catalog has the target in another place or not at all.
fn elsewhere(plan: &Plan, state: &TargetState) -> Option<OrphanReason> {
    let target = &state.target;
    if plan.component.project.id != target.project {
        let now = plan.component.project.id.clone();
        return Some(OrphanReason::ProjectChanged { now });
    }
    let mut stages = plan.stages.iter();
    let Some(stage) = stages.find(|stage| stage.environment.id == target.environment) else {
        return Some(OrphanReason::EnvironmentGone);
    };
    let now = &stage.data_plane.id;
    let is_elsewhere = state.planes.iter().any(|plane| plane != now);
    is_elsewhere.then(|| OrphanReason::DataPlaneChanged { now: now.clone() })
}
