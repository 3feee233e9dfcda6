use super::Deployer;
use super::plans::stage;
use crate::backend::{LogLine, LogQuery};
use crate::id::{ComponentKey, EnvironmentId};
use crate::intake::{IntakeError, IntakeErrorKind};

impl Deployer {
    /// Returns the last log lines of a component in an environment.
    ///
    /// # Errors
    ///
    /// Returns [`NotPossible`](IntakeErrorKind::NotPossible) if the data plane has no logs, and
    /// [`Unavailable`](IntakeErrorKind::Unavailable) if it does not answer.
    pub async fn logs(
        &self,
        component: &ComponentKey,
        environment: Option<&EnvironmentId>,
        query: &LogQuery,
    ) -> Result<Vec<LogLine>, IntakeError> {
        let plan = self.plan(component).await?;
        let stage = stage(&plan, environment)?;
        let backend = self.parts.backends.get(&stage.data_plane.id);
        let Some(reader) = backend.as_ref().and_then(|backend| backend.logs()) else {
            let message = format!("data plane {} shows no logs", stage.data_plane.id);
            return Err(IntakeError::new(IntakeErrorKind::NotPossible, message));
        };
        let target = plan.component.target(stage.environment.id.clone());
        let unavailable = || {
            let message = format!(
                "data plane {} does not show its logs now",
                stage.data_plane.id
            );
            IntakeError::new(IntakeErrorKind::Unavailable, message)
        };
        match tokio::time::timeout(self.options.call_timeout, reader.tail(&target, query)).await {
            Ok(lines) => lines.map_err(|error| unavailable().with_source(error)),
            Err(_) => Err(unavailable()),
        }
    }
}
