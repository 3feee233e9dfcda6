//! `[[components]]`: the components, their registries, and their settings in each environment.

use std::collections::{BTreeMap, HashSet};

use choreo_deploy::Workload;
use choreo_deploy::document::DocumentProblem;
use choreo_deploy::id::{ComponentId, EnvironmentId, OrganizationId};
use choreo_deploy::settings::Settings;
use choreo_deploy::target::{Component, Project};
use choreo_deploy::workload::{Check, ComponentType};
use serde::Serialize;
use toml::Value;

use super::names::{Names, used_twice};
use super::problem::Problems;
use super::section::{Section, join};
use crate::nearest;

/// The components. Each is read once for its problems and kept as JSON, because few of thousands are
/// used at a time.
#[derive(Clone, Debug)]
pub(crate) struct Components {
    organization: OrganizationId,
    /// The position in the list, and the JSON.
    documents: BTreeMap<ComponentId, (usize, Box<str>)>,
}

impl Components {
    pub(super) fn of(
        documents: Vec<Box<str>>,
        (organization, names): (OrganizationId, &Names),
        problems: &Problems,
    ) -> Self {
        if !documents.is_empty() && !names.has_environments() {
            problems.add(
                "environments",
                "is missing: components need an environment to run in",
            );
        }
        let (mut used, mut read) = (HashSet::new(), BTreeMap::new());
        for (index, document) in documents.into_iter().enumerate() {
            let path = format!("components[{index}]");
            let Ok(Value::Table(table)) = serde_json::from_str(&document) else {
                problems.add(path, "is not a table");
                continue;
            };
            if let Some(id) = table.get("id").and_then(Value::as_str)
                && !used.insert(id.to_owned())
            {
                problems.add(format!("{path}.id"), used_twice(id));
            }
            names.check((&path, &table), problems);
            let section = Section::new(path, table, problems);
            if let Some(entry) = ComponentEntry::of(section, &organization, problems) {
                read.insert(entry.component.id, (index, document));
            }
        }
        Self {
            organization,
            documents: read,
        }
    }

    /// Returns the number of components.
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }

    /// Returns all ids in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ComponentId> {
        self.documents.keys()
    }

    /// Returns every component in the order of the ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ComponentEntry> {
        self.with_paths().map(|(_, entry)| entry)
    }

    /// Returns every component in the order of the ids, with its path in the configuration.
    pub(crate) fn with_paths(&self) -> impl Iterator<Item = (String, ComponentEntry)> {
        self.documents.values().filter_map(|(index, text)| {
            let path = format!("components[{index}]");
            Some((path, self.read(text)?))
        })
    }

    pub(crate) fn get(&self, id: &ComponentId) -> Option<ComponentEntry> {
        self.read(&self.documents.get(id)?.1)
    }

    fn read(&self, document: &str) -> Option<ComponentEntry> {
        let table = serde_json::from_str(document).ok()?;
        // There were none when it was read the first time.
        let problems = Problems::default();
        let section = Section::new(String::new(), table, &problems);
        ComponentEntry::of(section, &self.organization, &problems)
    }
}

/// A component with its workload, and its settings in each environment.
#[derive(Clone, Debug)]
pub(crate) struct ComponentEntry {
    pub(crate) component: Component,
    pub(crate) workload: Workload,
    pub(crate) settings: BTreeMap<EnvironmentId, Settings>,
}

impl ComponentEntry {
    fn of(
        mut section: Section<'_>,
        organization: &OrganizationId,
        problems: &Problems,
    ) -> Option<Self> {
        let id = section.required("id");
        let name: Option<String> = section.optional("name");
        let project = section.required("project");
        let component_type = section.required("type");
        let registry = section.required("registry");
        let workload = workload(&mut section, component_type, problems);
        let settings = settings(section.table_or_empty("settings"), problems);
        section.finish();
        let project = Project::new(organization.clone(), project?);
        let component = Component::new(id?, project, component_type?, registry?);
        let component = match name {
            Some(name) => component.with_name(name),
            None => component,
        };
        Some(Self {
            component,
            workload: workload?,
            settings,
        })
    }
}

/// Reads the workload by the rules of the component's type. If the type is not known, only the parts
/// that all types share are read.
fn workload(
    section: &mut Section<'_>,
    component_type: Option<ComponentType>,
    problems: &Problems,
) -> Option<Workload> {
    let path = section.at("workload");
    let mut table = section.written("workload").unwrap_or_default();
    if table.contains_key("type") {
        problems.add(
            format!("{path}.type"),
            "belongs to the component: remove it here",
        );
    }
    let known = component_type.unwrap_or(ComponentType::ManualTask);
    table.insert("type".to_owned(), known.as_str().into());
    let found = match document(&table, Workload::from_json) {
        Ok(workload) => {
            check_probes(&workload, &path, problems);
            return component_type.map(|_| workload);
        }
        Err(found) => found,
    };
    for problem in found {
        if component_type.is_some() || problem.path.starts_with("container") {
            // The type is a member of the component, not of the workload.
            let message = problem.message.replace("use one of type, ", "use one of ");
            problems.add(join(&path, &problem.path), message);
        }
    }
    None
}

/// Reports a probe of a port that no endpoint has: it would not check what clients use.
fn check_probes(workload: &Workload, path: &str, problems: &Problems) {
    let probes = match workload {
        Workload::Service(service) => &service.probes,
        Workload::WebApplication(web) => &web.probes,
        Workload::ScheduledTask(_) | Workload::ManualTask(_) => return,
    };
    let ports: Vec<_> = { workload.endpoints().iter() }
        .map(|endpoint| endpoint.port)
        .collect();
    for (name, probe) in [
        ("readiness", &probes.readiness),
        ("liveness", &probes.liveness),
        ("startup", &probes.startup),
    ] {
        let (kind, port) = match probe.as_ref().map(|probe| &probe.check) {
            Some(Check::Http { port, .. }) => ("http", port),
            Some(Check::Tcp { port }) => ("tcp", port),
            _ => continue,
        };
        if !ports.contains(port) {
            let instead = nearest::instead("", &ports);
            problems.add(
                format!("{path}.probes.{name}.{kind}.port"),
                format!("{port} is not the port of an endpoint: {instead}"),
            );
        }
    }
}

/// Reads the settings of each environment.
fn settings(section: Section<'_>, problems: &Problems) -> BTreeMap<EnvironmentId, Settings> {
    let mut settings = BTreeMap::new();
    let path = section.path();
    for (environment, value) in section.rest() {
        let path = format!("{path}.{environment}");
        let read = document(&value, Settings::from_json);
        for problem in read.as_ref().err().into_iter().flatten() {
            problems.add(join(&path, &problem.path), problem.message.as_str());
        }
        match environment.parse() {
            Ok(environment) => settings.extend(read.ok().map(|read| (environment, read))),
            Err(error) => problems.add(path, format!("{error}")),
        }
    }
    settings
}

/// Reads a part of the file as a document.
fn document<T>(
    part: &impl Serialize,
    read: impl Fn(&str) -> Result<T, Vec<DocumentProblem>>,
) -> Result<T, Vec<DocumentProblem>> {
    // Dates, which JSON does not have, are tables here and rejected as such.
    read(&serde_json::to_string(part).unwrap_or_default())
}
