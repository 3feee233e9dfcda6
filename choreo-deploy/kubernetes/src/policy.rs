//! The decisions of the operator of a data plane.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::release::Release;
use choreo_deploy::workload::{Memory, RunAs};
use serde::Deserialize;
use serde_json::Value;

use crate::name;

/// The decisions of the operator of a data plane: namespaces, permissions and times.
///
/// All values have defaults. All but the patch can be read from a configuration file. A change
/// takes effect with the next apply of each target.
///
/// ```
/// use choreo_deploy_kubernetes::policy::{Namespaces, Policy, SecurityProfile};
///
/// let policy: Policy = serde_json::from_str(
///     r#"{ "namespaces": { "existing": "team-{project}" }, "security": "image-user" }"#,
/// )?;
/// assert_eq!(policy.namespaces, Namespaces::Existing("team-{project}".to_owned()));
/// assert_eq!(policy.security, SecurityProfile::ImageUser);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// The namespaces of targets. By default one is created for each environment of a project. A
    /// change does not move what runs: see [`Namespaces`].
    pub namespaces: Namespaces,
    /// The permissions of containers. `restricted` by default.
    pub security: SecurityProfile,
    /// Lets containers write to their root file system. `false` by default: only `/tmp` is
    /// writable.
    pub writable_root: bool,
    /// The time at which images are pulled.
    pub pull_policy: PullPolicy,
    /// The labels of every object and pod, such as a cost centre. A change restarts pods.
    pub labels: BTreeMap<String, String>,
    /// The annotations of every object and pod. A change restarts pods.
    pub annotations: BTreeMap<String, String>,
    /// The storage that containers may write. A change restarts pods.
    pub scratch: Scratch,
    /// Spreads pods over zones as well as over nodes. `false` by default: without the label
    /// `topology.kubernetes.io/zone` on a node, the scheduler would not spread over nodes either. A
    /// change restarts pods.
    pub zones: bool,
    /// The times of rollouts and calls.
    pub timing: Timing,
    #[serde(skip)]
    pub(crate) patch: Option<Patch>,
}

impl Policy {
    /// Adds a function that changes objects after they were rendered: tolerations, sidecars,
    /// annotations of a service mesh.
    ///
    /// It gets each object as it will be sent, except Secrets. It may not add or remove objects,
    /// nor change names, labels, selectors or the image of the release. An apply that breaks this
    /// rule is rejected.
    ///
    /// ```
    /// use choreo_deploy_kubernetes::Policy;
    ///
    /// let policy = Policy::default().with_patch(|_release, objects| {
    ///     for object in objects.iter_mut().filter(|object| object["kind"] == "Deployment") {
    ///         object["spec"]["template"]["spec"]["priorityClassName"] = "tenant".into();
    ///     }
    /// });
    /// assert!(format!("{policy:?}").contains("Patch"));
    /// ```
    #[must_use]
    pub fn with_patch(
        self,
        patch: impl Fn(&Release, &mut Vec<Value>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            patch: Some(Patch(Arc::new(patch))),
            ..self
        }
    }
}

/// The operator's function over rendered objects.
#[derive(Clone)]
pub(crate) struct Patch(Arc<PatchFn>);

type PatchFn = dyn Fn(&Release, &mut Vec<Value>) + Send + Sync;

impl Patch {
    pub(crate) fn call(&self, release: &Release, objects: &mut Vec<Value>) {
        (self.0)(release, objects);
    }
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patch")
    }
}

/// The namespaces of targets.
///
/// A namespace is a boundary of trust: a component can read every Secret of its namespace by its
/// name, except pull secrets. Organizations or projects that share a namespace share its contents.
///
/// A change does not move targets. The backend searches for a target in the namespace of the
/// current policy. Workloads in the earlier namespace continue to run, and a removal does not find
/// them. Remove the targets before the change, or delete the objects with their labels
/// `choreo.dev/*` afterwards.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Namespaces {
    /// A namespace for each environment of a project, named
    /// `PREFIX-ORGANIZATION-PROJECT-ENVIRONMENT-HASH`. The backend creates it.
    Create {
        /// The prefix of the names: `dp` by default.
        #[serde(default = "dp")]
        prefix: String,
    },
    /// An existing namespace. In its name `{organization}`, `{project}` and `{environment}` stand
    /// for the target's ids.
    Existing(String),
    /// An existing namespace by environment id, or by `organization/project/environment` if the map
    /// contains that key.
    Map(BTreeMap<String, String>),
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::Create { prefix: dp() }
    }
}

fn dp() -> String {
    "dp".to_owned()
}

impl Namespaces {
    /// Returns the namespace of a target; `None` if the map has none.
    #[must_use]
    pub fn of(&self, target: &Target) -> Option<String> {
        let Target {
            organization,
            project,
            environment,
            ..
        } = target;
        match self {
            Self::Create { prefix } => Some(name::namespace(prefix, target)),
            Self::Existing(template) => Some(
                template
                    .replace("{organization}", organization.as_str())
                    .replace("{project}", project.as_str())
                    .replace("{environment}", environment.as_str()),
            ),
            Self::Map(names) => names
                .get(&format!("{organization}/{project}/{environment}"))
                .or_else(|| names.get(environment.as_str()))
                .cloned(),
        }
    }

    pub(crate) fn are_created(&self) -> bool {
        matches!(self, Self::Create { .. })
    }
}

/// The permissions of containers, in the words of the Pod Security Standards
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SecurityProfile {
    /// The `restricted` standard: no root, no capabilities. The image's user must be a number other
    /// than 0, unless the workload names one.
    #[default]
    Restricted,
    /// The `restricted` standard, and containers run as this user unless the workload names one.
    RunAs(RunAs),
    /// As `restricted`, but with the image's user, also root.
    ImageUser,
    /// The `baseline` standard: root, and the container runtime's default capabilities.
    Baseline,
}

impl SecurityProfile {
    /// Returns `true` if an image that runs as root is rejected unless the workload sets another
    /// user. Pass it to
    /// [`DataPlane::without_root`](choreo_deploy::target::DataPlane::without_root), so that such an
    /// image fails before anything is applied.
    ///
    /// ```
    /// use choreo_deploy_kubernetes::policy::SecurityProfile;
    ///
    /// assert!(SecurityProfile::default().forbids_root());
    /// assert!(!SecurityProfile::Baseline.forbids_root());
    /// ```
    #[must_use]
    pub fn forbids_root(self) -> bool {
        // With `RunAs` every container has a user.
        matches!(self, Self::Restricted)
    }

    /// Returns the Pod Security Standard that a namespace enforces under this profile.
    #[must_use]
    pub fn standard(self) -> &'static str {
        match self {
            Self::Restricted | Self::RunAs(_) => "restricted",
            Self::ImageUser | Self::Baseline => "baseline",
        }
    }
}

/// The time at which images are pulled
/// (<https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PullPolicy {
    /// If the node does not have the digest; before each start if only a tag is known.
    #[default]
    Auto,
    /// Before each start.
    Always,
    /// If the node does not have the image.
    IfNotPresent,
}

/// The storage that a container may write on its node, so that one cannot fill it for all
/// (<https://kubernetes.io/docs/concepts/storage/ephemeral-storage/>). A pod that writes more is
/// evicted.
///
/// ```
/// use choreo_deploy_kubernetes::policy::Scratch;
///
/// assert_eq!(Scratch::default().tmp.to_string(), "1Gi");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scratch {
    /// In `/tmp`. 1 GiB by default.
    pub tmp: Memory,
    /// The storage of `/tmp`, of logs and of a writable root file system together. 2 GiB by
    /// default.
    pub limit: Memory,
    /// The free storage that a node must have for the pod. None by default, because a node that
    /// does not report its storage accepts no pod that requests some.
    pub request: Option<Memory>,
}

impl Default for Scratch {
    fn default() -> Self {
        let one = NonZeroU16::MIN;
        Self {
            tmp: Memory::from_gibibytes(one),
            limit: Memory::from_gibibytes(one.saturating_add(1)),
            request: None,
        }
    }
}

/// The times of rollouts and calls, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Timing {
    /// The time for which a new pod must be ready before it counts. 5 by default.
    pub min_ready_seconds: u32,
    /// The time for which an ending pod still serves, until every proxy has removed it. 5 by
    /// default.
    pub pre_stop_seconds: u32,
    /// The time that a container has to end by itself. 30 by default.
    pub termination_seconds: u32,
    /// The limit of one call of the backend, including retries. 60 by default.
    pub call_seconds: u32,
    /// The time for which the Job of an ended run is kept: at least an hour, 7 days by default.
    /// Afterwards its run is unknown.
    pub keep_runs_seconds: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            min_ready_seconds: 5,
            pre_stop_seconds: 5,
            termination_seconds: 30,
            call_seconds: 60,
            keep_runs_seconds: 7 * 24 * 3600,
        }
    }
}

impl Timing {
    pub(crate) fn call(self) -> Duration {
        Duration::from_secs(self.call_seconds.max(1).into())
    }

    /// A Job that was deleted before its start was stored would be started again.
    pub(crate) fn keep_runs(self) -> u32 {
        self.keep_runs_seconds.max(3600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::new(
            "acme".parse().unwrap(),
            "shop".parse().unwrap(),
            "orders".parse().unwrap(),
            "dev".parse().unwrap(),
        )
    }

    #[test]
    fn namespaces_that_are_there() {
        let template = Namespaces::Existing("t-{organization}-{project}-{environment}".to_owned());
        assert_eq!(template.of(&target()).unwrap(), "t-acme-shop-dev");
        let names = [("dev", "all-dev"), ("acme/shop/dev", "shop-dev")];
        let map = |names: &[(&str, &str)]| {
            Namespaces::Map(
                names
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            )
        };
        assert_eq!(
            map(&names).of(&target()).unwrap(),
            "shop-dev",
            "the more exact one wins"
        );
        assert_eq!(map(&names[..1]).of(&target()).unwrap(), "all-dev");
        assert_eq!(map(&[]).of(&target()), None);
    }

    #[test]
    fn unknown_settings_are_refused() {
        let error = serde_json::from_str::<Policy>(r#"{"securty": "baseline"}"#).unwrap_err();
        assert!(
            error.to_string().starts_with("unknown field `securty`"),
            "{error}"
        );
    }

    #[test]
    fn a_user_can_be_given() {
        let policy: Policy =
            serde_json::from_str(r#"{"security": {"run-as": {"user": 10001}}}"#).unwrap();
        let SecurityProfile::RunAs(run_as) = policy.security else {
            panic!("{policy:?}")
        };
        assert_eq!(run_as.user.get(), 10001);
    }
}
