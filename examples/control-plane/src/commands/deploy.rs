//! `deploy`, `promote`, `rollback` and `release-hold`.

use std::time::Duration;

use choreo_deploy::Intake as _;
use choreo_deploy::deployer::RollbackRequest;
use choreo_deploy::deployment::{Cause, Deployment, Phase, RequestedImage};
use choreo_deploy::id::{ComponentId, EnvironmentId};
use choreo_deploy::intake::Submission;
use choreo_deploy::release::{Release, ReleaseNumber};
use choreo_deploy::store::Accepted;
use serde_json::json;

use super::address::{self, Address};
use super::check::exposure_note;
use super::view;
use crate::cli::{Image, Place};
use crate::control_plane::{ControlPlane, Records};
use crate::failure::{self, ExitStatus, Failure};
use crate::output::Output;
use crate::progress::Progress;

/// The time between two looks at a deployment or a run.
pub(super) const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn deploy(
    control_plane: &ControlPlane,
    Image {
        component,
        image,
        environment,
    }: Image,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let entry = control_plane.records.component(&component)?;
    if let Some(note) = exposure_note(&entry) {
        Output::note(note);
    }
    control_plane
        .reach(&component, environment.as_ref())
        .await?;
    let image = RequestedImage::new(image);
    let component = control_plane.records.key(&component);
    let mut submission = Submission::new(component, image, Cause::Manual);
    submission.environment = environment;
    let accepted = control_plane.deployer.accept(submission).await?;
    follow(control_plane, accepted, output).await
}

pub(super) async fn promote(
    control_plane: &ControlPlane,
    place: (ComponentId, Option<EnvironmentId>),
    output: Output,
) -> Result<ExitStatus, Failure> {
    let (component, from) = whole(control_plane, place)?;
    if let Some(next) = next(&control_plane.records, &component, &from) {
        control_plane.reach(&component, Some(&next)).await?;
    }
    let accepted = control_plane
        .deployer
        .promote(&control_plane.records.key(&component), &from)
        .await?;
    follow(control_plane, accepted, output).await
}

pub(super) async fn rollback(
    control_plane: &ControlPlane,
    place: Place,
    to: Option<ReleaseNumber>,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let place = (place.component, place.environment);
    let (component, environment) = whole(control_plane, place)?;
    control_plane.reach(&component, Some(&environment)).await?;
    let key = control_plane.records.key(&component);
    let request = RollbackRequest::new(key, environment.clone());
    let request = match to {
        Some(release) => request.to_release(release),
        None => request,
    };
    let accepted = control_plane.deployer.rollback(request).await?;
    Output::note(format_args!(
        "{environment} is held: CI cannot deploy to it until you run \"release-hold {component} \
         --environment {environment}\""
    ));
    follow(control_plane, accepted, output).await
}

pub(super) async fn release_hold(
    control_plane: &ControlPlane,
    place: Place,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let place = (place.component, place.environment);
    let (component, environment) = whole(control_plane, place)?;
    let was_held = control_plane
        .deployer
        .release_hold(&control_plane.records.key(&component), &environment)
        .await?;
    let text = match was_held {
        true => format!("CI can deploy {component} to {environment} again"),
        false => format!("{component} is not held in {environment}"),
    };
    let value = json!({ "component": component, "environment": environment, "was_held": was_held });
    output.say(text, &value);
    Ok(ExitStatus::Ready)
}

/// Waits for the end of a deployment, and reports it. Any process may do the work.
async fn follow(
    control_plane: &ControlPlane,
    accepted: Accepted,
    output: Output,
) -> Result<ExitStatus, Failure> {
    say_accepted(&accepted);
    let deployment = control_plane
        .work_until(wait(control_plane, accepted.deployment))
        .await?;
    let release = release(&control_plane.records, &deployment).await?;
    let mut text = view::outcome(&deployment, release.as_ref());
    let mut value = view::document(&deployment, release.as_ref());
    value["findings"] = json!(accepted.findings);
    if let Some(release) = release.filter(|_| deployment.phase == Phase::Ready) {
        let configuration = &control_plane.records.configuration;
        let addresses = address::of(configuration, &deployment.target, &release);
        for Address { endpoint, address } in &addresses {
            text.push_str(&format!("\n  {endpoint}: {address} inside the cluster"));
        }
        value["addresses"] = json!(addresses);
    }
    output.say(text, &value);
    Ok(failure::of_phase(deployment.phase))
}

/// Reports the id at once, so that it is known also if the command is interrupted.
pub(super) fn say_accepted(accepted: &Accepted) {
    Output::note(format_args!("deployment {}", accepted.deployment.id));
    for finding in &accepted.findings {
        Output::note(finding);
    }
    if let Some(superseded) = &accepted.superseded {
        Output::note(format_args!("supersedes deployment {superseded}"));
    }
}

pub(super) async fn wait(
    control_plane: &ControlPlane,
    mut deployment: Deployment,
) -> Result<Deployment, Failure> {
    let component = deployment.target.component_key();
    let mut progress = Progress::new();
    while !deployment.phase.is_final() {
        progress.show(deployment.phase.as_str(), &deployment.reasons);
        // Each wait is short, because a change by another process is not announced here.
        let waited = control_plane
            .deployer
            .wait(&component, &deployment.id, LOOK)
            .await?;
        deployment = waited.ok_or_else(|| {
            Failure::unavailable(format!(
                "deployment {} is no longer in the store",
                deployment.id
            ))
        })?;
    }
    Ok(deployment)
}

pub(super) async fn release(
    records: &Records,
    deployment: &Deployment,
) -> Result<Option<Release>, Failure> {
    match deployment.release {
        Some(number) => Ok(records
            .store
            .release(&deployment.target.component_key(), number)
            .await?),
        None => Ok(None),
    }
}

/// Returns the environment that a component is promoted to from another one.
fn next(records: &Records, component: &ComponentId, from: &EnvironmentId) -> Option<EnvironmentId> {
    let stages = records.configuration.plan(component)?.stages;
    let mut after = { stages.into_iter() }.skip_while(|stage| stage.environment.id != *from);
    Some(after.nth(1)?.environment.id)
}

/// Returns the place with the first environment if none is named.
fn whole(
    control_plane: &ControlPlane,
    (component, environment): (ComponentId, Option<EnvironmentId>),
) -> Result<(ComponentId, EnvironmentId), Failure> {
    let records = &control_plane.records;
    records.component(&component)?;
    let first = || Some(records.configuration.environments.first()?.id.clone());
    match environment.or_else(first) {
        Some(environment) => Ok((component, environment)),
        None => Err(Failure::refused("the configuration has no environment")),
    }
}
