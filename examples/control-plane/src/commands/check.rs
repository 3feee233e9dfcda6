//! `check`.

use std::fmt::Write;
use std::path::Path;

use choreo_registry::finding::Finding;
use serde_json::json;

use crate::config::{Configuration, OpenRegistry, Problem, Problems, Secrets};
use crate::data_plane;
use crate::failure::ExitStatus;
use crate::output::Output;

/// Reads the configuration and all that it names, and says every problem and every doubt.
pub(super) async fn check(path: &Path, output: Output) -> ExitStatus {
    match open(path).await {
        Ok((configuration, secrets)) => {
            let findings = findings(&configuration, &secrets);
            let value = findings.iter().map(|(place, finding)| {
                json!({
                    "path": place,
                    "code": finding.code().as_str(),
                    "severity": finding.severity().as_str(),
                    "message": finding.message(),
                    "help": finding.help(),
                })
            });
            let value: Vec<_> = value.collect();
            let value = json!({ "ok": true, "problems": [], "findings": value });
            output.say(good(path, &configuration, &findings), &value);
            ExitStatus::Ready
        }
        Err(problems) => {
            let value = json!({ "ok": false, "problems": problems, "findings": [] });
            output.say(bad(path, &problems), &value);
            ExitStatus::WrongUse
        }
    }
}

/// Opens what `serve` would. There, a data plane that cannot be connected stops only itself.
async fn open(path: &Path) -> Result<(Configuration, Secrets), Vec<Problem>> {
    let opened = Configuration::open(path);
    let problems = Problems::default();
    // Also when it is a secret that is missing.
    let data_planes = Configuration::read(path).map(|read| read.data_planes);
    for entry in data_planes.unwrap_or_default() {
        if let Err(why) = data_plane::connect(&entry).await {
            problems.add(entry.path, format!("cannot be connected: {why}"));
        }
    }
    match (opened, problems.into_result()) {
        (Ok(opened), Ok(())) => Ok(opened),
        (opened, found) => {
            let all = opened.err().into_iter().chain(found.err());
            Err(all.flatten().collect())
        }
    }
}

/// What is doubtful about the registries, and where it stands.
fn findings<'a>(
    configuration: &'a Configuration,
    secrets: &'a Secrets,
) -> Vec<(&'a str, &'a Finding)> {
    let mut all = Vec::new();
    for entry in &configuration.registries {
        if let Some(OpenRegistry::Known(registry)) = secrets.registries.get(&entry.id) {
            let path = entry.path.as_str();
            all.extend(registry.findings().iter().map(|finding| (path, finding)));
        }
    }
    all
}

fn good(path: &Path, configuration: &Configuration, findings: &[(&str, &Finding)]) -> String {
    let mut text = String::new();
    for (place, finding) in findings {
        let (severity, message) = (finding.severity(), finding.message());
        let _ = writeln!(text, "{severity}: {place}: {message}; {}", finding.help());
    }
    let counts = [
        (configuration.registries.len(), "registries"),
        (configuration.data_planes.len(), "data planes"),
        (configuration.environments.len(), "environments"),
        (configuration.components.len(), "components"),
    ];
    let counts = counts
        .map(|(count, what)| format!("{what}: {count}"))
        .join(", ");
    let _ = write!(text, "configuration {path:?} is valid ({counts})");
    text
}

fn bad(path: &Path, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("  {problem}"))
        .collect();
    let what = if problems.len() == 1 {
        "problem"
    } else {
        "problems"
    };
    format!(
        "configuration {path:?} has {} {what}:\n{}",
        problems.len(),
        lines.join("\n")
    )
}
