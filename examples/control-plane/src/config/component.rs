//! `[[components]]`: what is deployed, from which registry, and how it runs where.

use std::collections::BTreeMap;

use choreo_deploy::Workload;
use choreo_deploy::id::{EnvironmentId, OrganizationId};
use choreo_deploy::settings::Settings;
use choreo_deploy::target::{Component, Project};
use choreo_deploy::workload::{ComponentType, ManualTask, ScheduledTask, Service, WebApplication};
use toml::Table;

use super::problem::Problems;
use super::section::{Section, read};

/// A component with its workload and its settings by environment.
#[derive(Clone, Debug)]
pub(crate) struct ComponentEntry {
    pub(crate) component: Component,
    pub(crate) workload: Workload,
    pub(crate) settings: BTreeMap<EnvironmentId, Settings>,
}

impl ComponentEntry {
    pub(super) fn of(
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

/// The workload, by the rules of the component's type.
fn workload(
    section: &mut Section<'_>,
    component_type: Option<ComponentType>,
    problems: &Problems,
) -> Option<Workload> {
    let path = section.at("workload");
    let table: Table = section.optional("workload").unwrap_or_default();
    let value = table.into();
    match component_type? {
        ComponentType::Service => read::<Service>(&path, value, problems).map(Into::into),
        ComponentType::WebApplication => {
            read::<WebApplication>(&path, value, problems).map(Into::into)
        }
        ComponentType::ScheduledTask => {
            read::<ScheduledTask>(&path, value, problems).map(Into::into)
        }
        ComponentType::ManualTask => read::<ManualTask>(&path, value, problems).map(Into::into),
    }
}

/// The settings, by environment.
fn settings(section: Section<'_>, problems: &Problems) -> BTreeMap<EnvironmentId, Settings> {
    let mut settings = BTreeMap::new();
    let path = section.path();
    for (environment, value) in section.rest() {
        let path = format!("{path}.{environment}");
        let read = read(&path, value, problems);
        match environment.parse() {
            Ok(environment) => settings.extend(read.map(|read| (environment, read))),
            Err(error) => problems.add(path, format!("{error}")),
        }
    }
    settings
}
