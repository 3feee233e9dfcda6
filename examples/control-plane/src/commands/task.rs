//! `run`, `run cancel` and `logs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use choreo_deploy::backend::{LogLine, LogQuery};
use choreo_deploy::deployer::RunRequest;
use choreo_deploy::id::RunId;
use choreo_deploy::run::{Run, RunOverrides, RunPhase};
use serde_json::{Value, json};

use super::deploy::LOOK;
use super::view;
use crate::cli::Place;
use crate::control_plane::{ControlPlane, Records};
use crate::data_plane::DataPlanes;
use crate::failure::{self, ExitStatus, Failure};
use crate::output::Output;
use crate::progress::Progress;

/// The number of lines that are shown of the log of a run.
const LAST: u32 = 20;

/// Runs a task, waits for its end, and shows the last lines of its log.
pub(super) async fn run(
    control_plane: &ControlPlane,
    Place {
        component,
        environment,
    }: Place,
    args: Vec<String>,
    output: Output,
) -> Result<ExitStatus, Failure> {
    control_plane.records.component(&component)?;
    control_plane
        .reach(&component, environment.as_ref())
        .await?;
    let mut request = RunRequest::new(control_plane.records.key(&component))
        .with_overrides(RunOverrides::args(args));
    request.environment = environment;
    let run = control_plane.deployer.run_task(request).await?;
    Output::note(format_args!("run {}", run.id));
    let run = control_plane.work_until(wait(control_plane, run)).await?;
    let lines = last_lines(control_plane, &run).await;
    let mut text = words(&run);
    for line in &lines {
        text.push_str(&format!("\n  | {}", line.text));
    }
    let mut value = document(&run);
    value["log"] = lines
        .iter()
        .map(|line| line.text.as_str())
        .collect::<Vec<_>>()
        .into();
    output.say(text, &value);
    Ok(failure::of_run(&run))
}

/// Stops a run, and waits for its end. A run that has ended stays as it is.
pub(super) async fn cancel(
    control_plane: &ControlPlane,
    id: &RunId,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let records = &control_plane.records;
    let organization = &records.configuration.organization;
    let run = records.store.run(organization, id).await?;
    let run = run.ok_or_else(|| {
        Failure::refused(format!(
            "run {id} does not exist: use \"runs COMPONENT\" to list the runs of a component"
        ))
    })?;
    if run.phase.is_final() {
        let text = format!("run {id} has already ended: {}", run.phase);
        output.say(text, &document(&run));
        return Ok(ExitStatus::Ready);
    }
    // The request is stored also if the data plane is not connected: another process may reach it.
    control_plane
        .connect(&BTreeSet::from([run.data_plane.clone()]))
        .await;
    let component = run.target.component_key();
    let run = control_plane.deployer.cancel_run(&component, id).await?;
    let run = control_plane.work_until(wait(control_plane, run)).await?;
    output.say(words(&run), &document(&run));
    Ok(match run.phase {
        RunPhase::Cancelled => ExitStatus::Ready,
        _ => failure::of_run(&run),
    })
}

/// Shows the last lines of the log of a component.
pub(super) async fn logs(
    records: &Records,
    Place {
        component,
        environment,
    }: Place,
    (lines, previous): (u32, bool),
    output: Output,
) -> Result<ExitStatus, Failure> {
    let environment = environment.as_ref();
    records.component(&component)?;
    let data_planes = Arc::<DataPlanes>::default();
    if let Some(stage) = records.stage_of(&component, environment) {
        let id = stage.data_plane.id;
        let mut entries = records.configuration.data_planes.iter();
        if let Some(entry) = entries.find(|entry| entry.data_plane.id == id) {
            data_planes.connect_only(entry).await;
        }
        data_planes.require(&id)?;
    }
    let mut query = LogQuery::last(lines);
    query.previous = previous;
    let lines = records
        .asking(data_planes)?
        .logs(&records.key(&component), environment, &query)
        .await?;
    let one = lines
        .windows(2)
        .all(|pair| pair[0].instance == pair[1].instance);
    let line = |line: &LogLine| match one {
        true => line.text.clone(),
        false => format!("{} | {}", line.instance, line.text),
    };
    let text: Vec<String> = lines.iter().map(line).collect();
    let value = |line: &LogLine| json!({ "instance": line.instance, "text": line.text });
    let values: Vec<Value> = lines.iter().map(value).collect();
    if text.is_empty() {
        Output::note("the log is empty");
    }
    output.say(text.join("\n"), &values);
    Ok(ExitStatus::Ready)
}

async fn wait(control_plane: &ControlPlane, mut run: Run) -> Result<Run, Failure> {
    let component = run.target.component_key();
    let mut progress = Progress::new();
    while !run.phase.is_final() {
        progress.show(run.phase.as_str(), &run.reasons);
        let waited = control_plane
            .deployer
            .wait_run(&component, &run.id, LOOK)
            .await?;
        run = waited.ok_or_else(|| {
            Failure::unavailable(format!("run {} is no longer in the store", run.id))
        })?;
    }
    Ok(run)
}

/// Returns the last lines of the log of a run. A log that cannot be read does not change the outcome.
async fn last_lines(control_plane: &ControlPlane, run: &Run) -> Vec<LogLine> {
    let query = LogQuery::last(LAST).of_run(run.id.clone());
    let (component, environment) = (run.target.component_key(), &run.target.environment);
    let lines = control_plane
        .deployer
        .logs(&component, Some(environment), &query)
        .await;
    lines.unwrap_or_else(|error| {
        tracing::warn!(%error, "the log of the run cannot be read");
        Vec::new()
    })
}

/// Returns the phase, and whether a cancellation is pending.
pub(super) fn phase(run: &Run) -> String {
    match run.cancel_requested && !run.phase.is_final() {
        true => format!("{}, cancellation pending", run.phase),
        false => run.phase.to_string(),
    }
}

fn words(run: &Run) -> String {
    let (component, environment) = (&run.target.component, &run.target.environment);
    match (run.phase, run.exit_code) {
        (RunPhase::Succeeded, _) => {
            format!(
                "{component} succeeded in {environment} (release {})",
                run.release
            )
        }
        (RunPhase::Cancelled, _) => format!("run {} of {component} is cancelled", run.id),
        (phase, Some(code)) => {
            view::explained(&format!("{phase} with exit code {code}"), &run.reasons)
        }
        (phase, None) => view::explained(phase.as_str(), &run.reasons),
    }
}

/// Returns a run as JSON.
pub(super) fn document(run: &Run) -> Value {
    json!({
        "phase": run.phase,
        "final": run.phase.is_final(),
        "id": run.id,
        "component": run.target.component,
        "environment": run.target.environment,
        "release": run.release,
        "exit_code": run.exit_code,
        "cancel_requested": run.cancel_requested,
        "reasons": run.reasons,
        "accepted_at": run.accepted_at,
        "changed_at": run.changed_at,
    })
}
