//! `remove`.

use std::collections::BTreeSet;

use choreo_deploy::deployment::Deployment;
use choreo_deploy::id::{ComponentId, DataPlaneId, EnvironmentId};
use choreo_deploy::store::TargetState;
use serde_json::{Value, json};

use super::{deploy, view};
use crate::control_plane::ControlPlane;
use crate::failure::{self, ExitStatus, Failure};
use crate::output::Output;

/// The places that a component is removed from.
pub(super) struct Choice {
    /// Only this environment.
    pub(super) environment: Option<EnvironmentId>,
    /// All environments.
    pub(super) all: bool,
    /// Forget data planes that the configuration does not contain.
    pub(super) forget: bool,
}

/// Removes a component from one environment or from all, and waits for the outcome. The configuration
/// need not contain the component. A failure in one place does not affect the others.
pub(super) async fn remove(
    control_plane: &ControlPlane,
    component: &ComponentId,
    choice: Choice,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let states = places(control_plane, component, &choice).await?;
    let needed = states.iter().flat_map(|state| state.planes.clone());
    control_plane.connect(&needed.collect()).await;
    let (mut accepted, mut failed) = (Vec::new(), Vec::new());
    for state in &states {
        match begin(control_plane, state, choice.forget).await {
            Ok(removal) => accepted.extend(removal),
            Err(failure) => failed.push((state.target.environment.clone(), failure)),
        }
    }
    let mut ended = Vec::new();
    let follow = async {
        for deployment in accepted {
            let environment = deployment.target.environment.clone();
            match deploy::wait(control_plane, deployment).await {
                Ok(deployment) => ended.push(deployment),
                Err(failure) => failed.push((environment, failure)),
            }
        }
    };
    control_plane.work_until(follow).await;
    let lines: Vec<String> = ended.iter().map(|end| view::outcome(end, None)).collect();
    let mut values: Vec<Value> = ended.iter().map(|end| view::document(end, None)).collect();
    for (environment, failure) in &failed {
        Output::note(format_args!(
            "error: {component} is not removed from {environment}: {failure}"
        ));
        let mut value = failure.document();
        value["component"] = json!(component);
        value["environment"] = json!(environment);
        values.push(value);
    }
    output.say(lines.join("\n"), &values);
    let statuses = ended.iter().map(|end| failure::of_phase(end.phase));
    let statuses = statuses.chain(failed.iter().map(|(_, failure)| failure.status()));
    let bad = { statuses }.find(|status| *status != ExitStatus::Ready);
    Ok(bad.unwrap_or(ExitStatus::Ready))
}

/// Forgets the data planes that the configuration does not contain, if that is chosen, and starts the
/// removal from the others. Returns `None` if there are no others.
async fn begin(
    control_plane: &ControlPlane,
    state: &TargetState,
    forget: bool,
) -> Result<Option<Deployment>, Failure> {
    let (deployer, target) = (&control_plane.deployer, &state.target);
    let (component, environment) = (&target.component, &target.environment);
    let gone = gone(control_plane, state);
    if !gone.is_empty() && !forget {
        return Err(Failure::refused(format!(
            "{component} is on data plane {}, which the configuration does not contain: add the data \
             plane again to remove the component there, or use --forget to leave it there",
            list(&gone)
        )));
    }
    for plane in state.planes.difference(&gone) {
        control_plane.data_planes.require(plane)?;
    }
    if !gone.is_empty() {
        deployer.forget_data_planes(target, &gone).await?;
        Output::note(format_args!(
            "data plane {} is forgotten: what {component} has there in {environment} keeps running",
            list(&gone)
        ));
    }
    if gone.len() == state.planes.len() {
        return Ok(None);
    }
    let removal = deployer.remove_target(target).await?;
    deploy::say_accepted(&removal);
    Ok(Some(removal.deployment))
}

/// Returns the places to remove from, at least one.
async fn places(
    control_plane: &ControlPlane,
    component: &ComponentId,
    choice: &Choice,
) -> Result<Vec<TargetState>, Failure> {
    let environment = choice.environment.as_ref();
    let wanted = |state: &TargetState| {
        !state.planes.is_empty() && environment.is_none_or(|name| state.target.environment == *name)
    };
    let states = control_plane.records.targets(component).await?;
    let states: Vec<_> = states.into_iter().filter(wanted).collect();
    if states.is_empty() {
        let place = match environment {
            Some(environment) => format!("in {environment}"),
            None => "in any environment".to_owned(),
        };
        let message = format!("{component} is not {place}: there is nothing to remove");
        return Err(Failure::refused(message));
    }
    if states.len() > 1 && environment.is_none() && !choice.all {
        let names = states.iter().map(|state| state.target.environment.as_str());
        let names: Vec<_> = names.collect();
        return Err(Failure::wrong_use(format!(
            "{component} is in {}: choose one with --environment, or use --all",
            names.join(" and ")
        )));
    }
    Ok(states)
}

/// Returns the data planes of a target that the configuration does not contain.
fn gone(control_plane: &ControlPlane, state: &TargetState) -> BTreeSet<DataPlaneId> {
    let known = &control_plane.records.configuration.data_planes;
    let is_gone = |plane: &&DataPlaneId| known.iter().all(|entry| entry.data_plane.id != **plane);
    state.planes.iter().filter(is_gone).cloned().collect()
}

fn list(planes: &BTreeSet<DataPlaneId>) -> String {
    let names: Vec<_> = planes.iter().map(DataPlaneId::as_str).collect();
    names.join(", ")
}
