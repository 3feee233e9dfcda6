//! Ids and who refers to them: each is used once, and nobody refers to one that is not there.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::problem::Problems;

/// Checks the whole document. It looks at what is written, so that an entry that is wrong
/// elsewhere still has its id.
pub(super) fn check(document: &Table, problems: &Problems) {
    let registries = unique(document, "registries", problems);
    let data_planes = unique(document, "data_planes", problems);
    let environments = unique(document, "environments", problems);
    unique(document, "components", problems);
    refers(
        document,
        ("environments", "data_plane"),
        &data_planes,
        problems,
    );
    refers(document, ("components", "registry"), &registries, problems);
    for (path, component) in entries(document, "components") {
        let settings = component.get("settings").and_then(Value::as_table);
        for environment in settings.into_iter().flat_map(Table::keys) {
            if !environments.contains(environment.as_str()) {
                let message = unknown("environment", environment, &environments);
                problems.add(format!("{path}.settings.{environment}"), message);
            }
        }
    }
    if document.contains_key("components") && environments.is_empty() {
        problems.add(
            "environments",
            "is missing: components need an environment to run in",
        );
    }
}

/// The ids of a list. One that is used twice is a problem.
fn unique<'a>(document: &'a Table, list: &str, problems: &Problems) -> BTreeSet<&'a str> {
    let mut ids = BTreeSet::new();
    for (path, entry) in entries(document, list) {
        if let Some(id) = entry.get("id").and_then(Value::as_str)
            && !ids.insert(id)
        {
            problems.add(
                format!("{path}.id"),
                format!("{id:?} is used twice: choose another"),
            );
        }
    }
    ids
}

/// A field of each entry of a list names one of these ids.
fn refers(
    document: &Table,
    (list, field): (&str, &str),
    ids: &BTreeSet<&str>,
    problems: &Problems,
) {
    for (path, entry) in entries(document, list) {
        match entry.get(field).and_then(Value::as_str) {
            Some(id) if !ids.contains(id) => {
                let message = unknown(&field.replace('_', " "), id, ids);
                problems.add(format!("{path}.{field}"), message);
            }
            _ => {}
        }
    }
}

fn unknown(kind: &str, id: &str, ids: &BTreeSet<&str>) -> String {
    let id: String = id.chars().take(64).collect();
    if ids.is_empty() {
        return format!("{kind} {id:?} does not exist: there is none");
    }
    let known: Vec<&str> = ids.iter().copied().collect();
    format!(
        "{kind} {id:?} does not exist: use one of {}",
        known.join(", ")
    )
}

fn entries<'a>(document: &'a Table, list: &str) -> Vec<(String, &'a Table)> {
    let entries = document
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let entry =
        |(index, entry): (usize, &'a Value)| Some((format!("{list}[{index}]"), entry.as_table()?));
    entries.enumerate().filter_map(entry).collect()
}
