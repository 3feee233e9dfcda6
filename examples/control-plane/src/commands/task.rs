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

/// How many of a run's last lines are shown.
const LAST: u32 = 20;

/// Runs a task, follows it to its end, and shows what it wrote last.
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

/// Stops a run, and follows it to its end. One that has ended stays as it ended.
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
            "run {id} does not exist: `runs COMPONENT` lists those of a component"
        ))
    })?;
    if run.phase.is_final() {
        let text = format!("run {id} had ended already: {}", run.phase);
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

/// Shows the last lines that a component wrote.
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
    if let Some(id) = records.data_plane_of(&component, environment) {
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
        Output::note("nothing was written");
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
            Failure::unavailable(format!("run {} is not stored any more", run.id))
        })?;
    }
    Ok(run)
}

/// What it wrote last. That this cannot be read changes nothing of the outcome.
async fn last_lines(control_plane: &ControlPlane, run: &Run) -> Vec<LogLine> {
    let query = LogQuery::last(LAST).of_run(run.id.clone());
    let (component, environment) = (run.target.component_key(), &run.target.environment);
    let lines = control_plane
        .deployer
        .logs(&component, Some(environment), &query)
        .await;
    lines.unwrap_or_else(|error| {
        tracing::warn!(%error, "the run's log cannot be read");
        Vec::new()
    })
}

/// The phase, and whether it is to change.
pub(super) fn phase(run: &Run) -> String {
    match run.cancel_requested && !run.phase.is_final() {
        true => format!("{}, to be cancelled", run.phase),
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

/// A run for machines.
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
