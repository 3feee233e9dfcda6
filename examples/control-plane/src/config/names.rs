//! Ids and references to them: each id is unique, and each reference has an id.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::problem::Problems;
use crate::nearest;

/// The ids that components refer to.
#[derive(Debug)]
pub(super) struct Names {
    registries: BTreeSet<String>,
    environments: BTreeSet<String>,
}

impl Names {
    /// Checks the ids of a document without its components. It uses the tables as written, so that an
    /// entry with another problem still has its id.
    pub(super) fn of(document: &Table, problems: &Problems) -> Self {
        let registries = unique(document, "registries", problems);
        let data_planes = unique(document, "data_planes", problems);
        let environments = unique(document, "environments", problems);
        for (path, environment) in entries(document, "environments") {
            refers((&path, environment), "data_plane", &data_planes, problems);
        }
        Self {
            registries,
            environments,
        }
    }

    /// Checks the references of a component.
    pub(super) fn check(&self, (path, component): (&str, &Table), problems: &Problems) {
        refers((path, component), "registry", &self.registries, problems);
        let settings = component.get("settings").and_then(Value::as_table);
        for environment in settings.into_iter().flat_map(Table::keys) {
            if !self.environments.contains(environment.as_str()) {
                let message = unknown("environment", environment, &self.environments);
                problems.add(format!("{path}.settings.{environment}"), message);
            }
        }
    }

    /// Returns `true` if there is an environment.
    pub(super) fn has_environments(&self) -> bool {
        !self.environments.is_empty()
    }
}

/// Returns the ids of a list. A duplicate is a problem.
fn unique(document: &Table, list: &str, problems: &Problems) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for (path, entry) in entries(document, list) {
        if let Some(id) = entry.get("id").and_then(Value::as_str)
            && !ids.insert(id.to_owned())
        {
            problems.add(format!("{path}.id"), used_twice(id));
        }
    }
    ids
}

pub(super) fn used_twice(id: &str) -> String {
    format!("{id:?} is a duplicate: choose another id")
}

/// Checks that a field of an entry contains one of these ids.
fn refers((path, entry): (&str, &Table), field: &str, ids: &BTreeSet<String>, problems: &Problems) {
    match entry.get(field).and_then(Value::as_str) {
        Some(id) if !ids.contains(id) => {
            let message = unknown(&field.replace('_', " "), id, ids);
            problems.add(format!("{path}.{field}"), message);
        }
        _ => {}
    }
}

fn unknown(kind: &str, id: &str, ids: &BTreeSet<String>) -> String {
    let id: String = id.chars().take(64).collect();
    let instead = nearest::instead(&id, ids);
    format!("{kind} {id:?} does not exist: {instead}")
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
