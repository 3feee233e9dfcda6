//! `check`.

mod clusters;
mod connections;
mod doubt;
mod exposure;
mod permissions;
mod stored;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use self::doubt::Doubt;
use crate::config::{Configuration, DataPlaneEntry, OpenRegistry, Problem, Problems, Secrets};
use crate::data_plane::{self, Link};
use crate::failure::ExitStatus;
use crate::output::Output;

pub(super) use self::exposure::note as exposure_note;

/// The maximum number of doubts of one kind in the text.
const SHOWN: usize = 20;

/// The reason why `--connect` shows nothing.
const NOT_ASKED: &str = "no data plane or registry was checked: this needs a readable configuration, a \
                         sealing key and a valid [egress]; fix the problems above first";

/// Reads the configuration and everything that it names, and reports every problem and every doubt.
/// With `connect`, it also queries data planes and registries.
pub(super) async fn check(path: &Path, connect: bool, output: Output) -> ExitStatus {
    let (looked, mut problems) = look(path);
    let (mut doubts, mut connections) = (Vec::new(), Vec::new());
    let mut links = Vec::new();
    if let Some((configuration, secrets)) = &looked {
        links = link(configuration, &mut problems).await;
        let sealer = secrets.as_ref().map(|secrets| &*secrets.sealer);
        let (found, doubted) = stored::look(configuration, sealer).await;
        problems.extend(found);
        doubts = findings(configuration, secrets.as_ref());
        doubts.extend(doubted);
        doubts.extend(exposure::doubts(configuration));
    }
    let counts = looked
        .as_ref()
        .map(|(configuration, _)| counts(configuration));
    let mut is_asked = true;
    if connect {
        match looked {
            Some((configuration, Some(secrets))) => {
                connections = connections::try_all(&Arc::new(configuration), secrets, links).await;
            }
            _ => is_asked = false,
        }
    }
    let failed = connections.iter().filter(|tried| tried.is_failed()).count();
    let mut value = json!({
        "ok": problems.is_empty() && failed == 0,
        "problems": problems,
        "findings": doubts,
    });
    if connect {
        value["connections"] = json!(connections);
    }
    let mut text = told(&doubts) + &connections::told(&connections);
    if problems.is_empty() {
        let counts = counts.unwrap_or_default();
        let _ = write!(text, "configuration {path:?} is valid ({counts})");
    } else {
        text.push_str(&bad(path, &problems));
    }
    if !is_asked {
        text.push('\n');
        text.push_str(NOT_ASKED);
        value["not_asked"] = json!(NOT_ASKED);
    }
    if failed > 0 {
        let _ = write!(text, "\n{failed} of {} checks failed", connections.len());
    }
    output.say(text, &value);
    match (problems.is_empty(), failed) {
        (false, _) => ExitStatus::WrongUse,
        (true, 0) => ExitStatus::Ready,
        (true, _) => ExitStatus::Failed,
    }
}

/// Connects each data plane, and adds a problem for each that fails.
async fn link(configuration: &Configuration, problems: &mut Vec<Problem>) -> Vec<Option<Link>> {
    let linked = data_plane::connect_each(configuration).await;
    let each = configuration.data_planes.iter().zip(linked);
    let link = |(entry, linked): (&DataPlaneEntry, Result<Link, String>)| {
        let failed = |why| format!("cannot be connected: {why}");
        linked
            .map_err(|why| problems.push(Problem::new(entry.path_of_access(), failed(why))))
            .ok()
    };
    each.map(link).collect()
}

/// Returns as much of the configuration as can be read, and its problems.
fn look(path: &Path) -> (Option<(Configuration, Option<Secrets>)>, Vec<Problem>) {
    let problems = Problems::default();
    let looked = Configuration::look(path, &problems);
    (looked, problems.into_result().err().unwrap_or_default())
}

/// Returns the findings about the registries.
fn findings(configuration: &Configuration, secrets: Option<&Secrets>) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    for entry in &configuration.registries {
        let open = secrets.and_then(|secrets| secrets.registries.get(&entry.id));
        if let Some(OpenRegistry::Known(registry)) = open {
            let findings = registry.findings().iter();
            doubts.extend(findings.map(|finding| Doubt::of_registry(entry, finding)));
        }
    }
    doubts
}

/// Returns the doubts as text, with a limited number of each kind.
fn told(doubts: &[Doubt]) -> String {
    let mut text = String::new();
    for (index, doubt) in doubts.iter().enumerate() {
        let alike = |doubts: &[Doubt]| {
            let alike = doubts.iter().filter(|other| other.code == doubt.code);
            alike.count()
        };
        match alike(&doubts[..index]) {
            SHOWN => {
                let more = alike(&doubts[index..]);
                let _ = writeln!(text, "{}: {more} more like these", doubt.severity);
            }
            before if before > SHOWN => {}
            _ => {
                let _ = writeln!(text, "{doubt}");
            }
        }
    }
    text
}

fn counts(configuration: &Configuration) -> String {
    let counts = [
        (configuration.registries.len(), "registries"),
        (configuration.data_planes.len(), "data planes"),
        (configuration.environments.len(), "environments"),
        (configuration.components.len(), "components"),
    ];
    counts
        .map(|(count, what)| format!("{what}: {count}"))
        .join(", ")
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
