//! `run` and `logs`.

use choreo_deploy::backend::{LogLine, LogQuery};
use choreo_deploy::deployer::RunRequest;
use choreo_deploy::run::{Run, RunOverrides, RunPhase};
use serde_json::{Value, json};

use super::deploy::{LOOK, Place};
use super::view;
use crate::control_plane::ControlPlane;
use crate::failure::{self, ExitStatus, Failure};
use crate::output::Output;
use crate::progress::Progress;

/// How many of a run's last lines are shown.
const LAST: u32 = 20;

/// Runs a task, follows it to its end, and shows what it wrote last.
pub(super) async fn run(
    control_plane: &ControlPlane,
    (component, environment): Place,
    args: Vec<String>,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let mut request = RunRequest::new(control_plane.records.key(&component))
        .with_overrides(RunOverrides::args(args));
    request.environment = environment;
    let run = control_plane.deployer.run_task(request).await?;
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

/// Shows the last lines that a component wrote.
pub(super) async fn logs(
    control_plane: &ControlPlane,
    (component, environment): Place,
    (lines, previous): (u32, bool),
    output: Output,
) -> Result<ExitStatus, Failure> {
    let mut query = LogQuery::last(lines);
    query.previous = previous;
    let environment = environment.as_ref();
    let lines = control_plane
        .deployer
        .logs(&control_plane.records.key(&component), environment, &query)
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

fn words(run: &Run) -> String {
    let (component, environment) = (&run.target.component, &run.target.environment);
    match (run.phase, run.exit_code) {
        (RunPhase::Succeeded, _) => {
            format!(
                "{component} succeeded in {environment} (release {})",
                run.release
            )
        }
        (phase, Some(code)) => {
            view::explained(&format!("{phase} with exit code {code}"), &run.reasons)
        }
        (phase, None) => view::explained(phase.as_str(), &run.reasons),
    }
}

fn document(run: &Run) -> Value {
    json!({
        "phase": run.phase,
        "final": run.phase.is_final(),
        "id": run.id,
        "component": run.target.component,
        "environment": run.target.environment,
        "release": run.release,
        "exit_code": run.exit_code,
        "reasons": run.reasons,
        "accepted_at": run.accepted_at,
        "changed_at": run.changed_at,
    })
}
