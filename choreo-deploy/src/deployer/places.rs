//! Where a target is besides the data plane that it is deployed to.

use super::Deployer;
use super::accept::{refusal, unavailable};
use super::retry::after;
use super::step::Halt;
use crate::Target;
use crate::deployment::Subject;
use crate::id::DataPlaneId;
use crate::intake::{IntakeError, IntakeErrorKind};
use crate::reason::{Reason, ReasonCode};
use crate::store::{Accepted, ClaimedDeployment, NewDeployment, Outcome};

impl Deployer {
    /// Removes a target from every data plane that it may be on. Needs no catalog: it is how what has
    /// left the catalog is removed. [`orphans`](Self::orphans) lists that.
    ///
    /// # Errors
    /// [`NotPossible`](IntakeErrorKind::NotPossible) when it is on no data plane, and
    /// [`Unavailable`](IntakeErrorKind::Unavailable).
    pub async fn remove_target(&self, target: &Target) -> Result<Accepted, IntakeError> {
        let state = self.parts.store.target(target).await.map_err(unavailable)?;
        let plane = state.and_then(|state| state.planes.last().cloned());
        let plane = plane.ok_or_else(|| {
            let message = format!("{target} is on no data plane: there is nothing to remove");
            IntakeError::new(IntakeErrorKind::NotPossible, message)
        })?;
        let now = self.clock.now();
        let times = (now, after(now, self.options.deployment_deadline));
        let place = (target.clone(), plane);
        let id = self.chance.deployment_id();
        let new = NewDeployment::new(id, place, Subject::Absence, times);
        self.parts.store.accept(new).await.map_err(refusal)
    }

    /// Removes a target from every data plane that it may be on.
    pub(super) async fn remove_everywhere(&self, claimed: &ClaimedDeployment) -> Result<(), Halt> {
        let mut planes = claimed.planes.clone();
        planes.insert(claimed.deployment.data_plane.clone());
        // One that does not answer keeps it on no other.
        let mut result = Ok(());
        for plane in &planes {
            match self.remove_from(claimed, plane).await {
                Ok(()) => {}
                Err(halt @ (Halt::Stale | Halt::Store(_))) => return Err(halt),
                Err(halt) => result = result.and(Err(halt)),
            }
        }
        result
    }

    /// Removes a target that is ready from where it was before. What fails is said, and tried again
    /// after the next deployment: the target is ready all the same.
    pub(super) async fn leave_others(&self, claimed: &ClaimedDeployment, outcome: &mut Outcome) {
        if claimed.deployment.subject == Subject::Absence {
            outcome.left.clone_from(&claimed.planes);
            return;
        }
        let present = &claimed.deployment.data_plane;
        for plane in claimed.planes.iter().filter(|plane| *plane != present) {
            match self.remove_from(claimed, plane).await {
                Ok(()) => _ = outcome.left.insert(plane.clone()),
                Err(Halt::Failed(reason) | Halt::Later { reason, .. }) => {
                    outcome.reasons.push(still_on(plane, &reason));
                }
                // Nothing that is written from here on counts.
                Err(Halt::Stale | Halt::Store(_)) => return,
            }
        }
    }

    async fn remove_from(
        &self,
        claimed: &ClaimedDeployment,
        plane: &DataPlaneId,
    ) -> Result<(), Halt> {
        let backend = self.backend(plane)?;
        let (target, generation) = (&claimed.claim.target, claimed.claim.generation);
        self.call(backend.remove(target, generation)).await
    }
}

fn still_on(plane: &DataPlaneId, why: &Reason) -> Reason {
    let message = format!("it is ready, and what ran before is still on data plane {plane}: {why}");
    Reason::new(ReasonCode::BackendUnreachable, message)
        .with_help("deploy again to remove it there")
}
