//! `remove`.

use choreo_deploy::Target;
use choreo_deploy::id::{ComponentId, DataPlaneId, EnvironmentId};
use choreo_deploy::store::TargetState;
use serde_json::Value;

use super::{deploy, view};
use crate::control_plane::ControlPlane;
use crate::failure::{self, ExitStatus, Failure};
use crate::output::Output;

/// Removes a component from an environment, or from all, and follows that to its end. It needs no
/// configuration of the component, which may have left.
pub(super) async fn remove(
    control_plane: &ControlPlane,
    component: &ComponentId,
    (environment, all): (Option<EnvironmentId>, bool),
    output: Output,
) -> Result<ExitStatus, Failure> {
    let targets = places(control_plane, component, environment.as_ref()).await?;
    if let [_, _, ..] = &targets[..]
        && !all
    {
        let names: Vec<_> = targets
            .iter()
            .map(|target| target.environment.as_str())
            .collect();
        return Err(Failure::wrong_use(format!(
            "{component} is in {}: name one with --environment, or take --all",
            names.join(" and ")
        )));
    }
    let mut accepted = Vec::new();
    for target in &targets {
        let removal = control_plane.deployer.remove_target(target).await?;
        deploy::say_accepted(&removal);
        accepted.push(removal.deployment);
    }
    let ended = async {
        let mut ended = Vec::new();
        for deployment in accepted {
            ended.push(deploy::wait(control_plane, deployment).await?);
        }
        Ok::<_, Failure>(ended)
    };
    let ended = control_plane.work_until(ended).await?;
    let lines: Vec<String> = ended.iter().map(|end| view::outcome(end, None)).collect();
    let values: Vec<Value> = ended.iter().map(|end| view::document(end, None)).collect();
    output.say(lines.join("\n"), &values);
    let statuses = ended.iter().map(|end| failure::of_phase(end.phase));
    let bad = { statuses }.find(|status| *status != ExitStatus::Ready);
    Ok(bad.unwrap_or(ExitStatus::Ready))
}

/// Where it is to be removed, which is somewhere.
async fn places(
    control_plane: &ControlPlane,
    component: &ComponentId,
    environment: Option<&EnvironmentId>,
) -> Result<Vec<Target>, Failure> {
    let records = &control_plane.records;
    let wanted = |state: &TargetState| {
        !state.planes.is_empty() && environment.is_none_or(|name| state.target.environment == *name)
    };
    let states = records.targets(component).await?;
    let states: Vec<_> = states.into_iter().filter(wanted).collect();
    if states.is_empty() {
        let place = match environment {
            Some(environment) => format!("not in {environment}"),
            None => "in no environment".to_owned(),
        };
        let message = format!("{component} is {place}: there is nothing to remove");
        return Err(Failure::refused(message));
    }
    let known = |plane: &DataPlaneId| {
        let planes = &records.configuration.data_planes;
        planes.iter().any(|entry| entry.data_plane.id == *plane)
    };
    if let Some(plane) = { states.iter() }
        .flat_map(|state| &state.planes)
        .find(|plane| !known(plane))
    {
        return Err(Failure::refused(format!(
            "{component} is on data plane {plane}, which the configuration does not have: add it \
             again to remove what is there"
        )));
    }
    Ok(states.into_iter().map(|state| state.target).collect())
}
