//! The inventory, which changes and sometimes does not answer.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use choreo_deploy::catalog::{Catalog, CatalogError, Plan, Stage};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::settings::Settings;
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{
    ComponentType, Endpoint, ManualTask, ProgressDeadline, Protocol, RunLimits, Scaling, Service,
    Value,
};
use choreo_deploy::{Target, Workload};

use crate::process::Process;
use crate::world::{PLANES, World, id};

/// The organizations and names of the components. Several organizations use the same name.
pub(crate) const COMPONENTS: [(&str, &str); 6] = [
    ("acme", "orders"),
    ("acme", "billing"),
    ("acme", "report"),
    ("globex", "orders"),
    ("globex", "report"),
    // Its registry never answers.
    ("globex", "stuck"),
];

pub(crate) fn key((organization, component): (&str, &str)) -> ComponentKey {
    ComponentKey::new(id(organization), id(component))
}

#[derive(Debug)]
pub(crate) struct Inventory(Mutex<BTreeMap<ComponentKey, Plan>>);

impl Inventory {
    pub(crate) fn new() -> Self {
        let plans = COMPONENTS.map(|component| (key(component), plan(component)));
        Self(Mutex::new(plans.into_iter().collect()))
    }

    pub(crate) fn plan(&self, component: &ComponentKey) -> Plan {
        self.plans()[component].clone()
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        let plans = self.plans();
        let targets = plans.values().flat_map(|plan| {
            let stages = plan.stages.iter();
            stages.map(|stage| plan.component.target(stage.environment.id.clone()))
        });
        targets.collect()
    }

    pub(crate) fn change(&self, component: &ComponentKey, change: impl FnOnce(&mut Plan)) {
        if let Some(plan) = self.plans().get_mut(component) {
            change(plan);
        }
    }

    fn plans(&self) -> MutexGuard<'_, BTreeMap<ComponentKey, Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn plane(name: &str) -> DataPlane {
    let (_, platform) = PLANES
        .iter()
        .find(|(plane, _)| *plane == name)
        .expect("a plane");
    DataPlane::new(id(name)).with_platform(platform.parse().expect("a platform"))
}

pub(crate) fn settings(number: u64) -> Settings {
    let value = Value::Literal(number.to_string());
    Settings::default()
        .with_scaling(Scaling::fixed(if number.is_multiple_of(2) { 1 } else { 3 }))
        .with_variable("NUMBER".parse().expect("a name"), value)
}

fn plan((organization, name): (&str, &str)) -> Plan {
    let is_task = name == "report";
    let (component_type, workload) = if is_task {
        let mut task = ManualTask::new();
        task.limits = RunLimits::new(NonZeroU32::MIN.saturating_add(119), 0);
        (ComponentType::ManualTask, Workload::from(task))
    } else {
        let port = 8080.try_into().expect("a port");
        let endpoint = Endpoint::new("http".parse().expect("a name"), port, Protocol::Http);
        let mut service = Service::new(endpoint.into());
        service.progress_deadline = ProgressDeadline::from_seconds(10);
        (ComponentType::Service, Workload::from(service))
    };
    let registry = if name == "stuck" { "dead" } else { "images" };
    let project = Project::new(id(organization), id("shop"));
    let component = Component::new(id(name), project, component_type, id(registry));
    let stage = |environment: &str, on: &str, number| {
        let environment = Environment::new(id(environment), id(on));
        let settings = if is_task {
            Settings::default()
        } else {
            settings(number)
        };
        Stage::new(environment, plane(on)).with_settings(settings)
    };
    Plan::new(component, workload)
        .then(stage("dev", "eu-1", 0))
        .then(stage("prod", "us-1", 1))
}

#[derive(Debug)]
pub(crate) struct SeenInventory {
    process: Arc<Process>,
    world: Arc<World>,
}

impl SeenInventory {
    pub(crate) fn new(process: Arc<Process>, world: Arc<World>) -> Self {
        Self { process, world }
    }
}

#[async_trait]
impl Catalog for SeenInventory {
    async fn plan(&self, component: &ComponentKey) -> Result<Option<Plan>, CatalogError> {
        self.process.thawed().await;
        if self.world.dice.percent(self.world.weather.catalog()) {
            return Err(CatalogError::new("the simulated inventory does not answer"));
        }
        Ok(Some(self.world.inventory.plan(component)))
    }
}
