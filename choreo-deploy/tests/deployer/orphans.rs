//! Orphans: targets that left the catalog or do not match it are listed and can be removed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use choreo_deploy::catalog::{Catalog, CatalogError, Plan, StaticCatalog};
use choreo_deploy::deployer::{DeployerParts, Orphan};
use choreo_deploy::deployment::Phase;
use choreo_deploy::id::ComponentKey;
use choreo_deploy::store::{DeploymentStore, TargetQuery};
use choreo_deploy::target::Project;
use choreo_deploy::workload::{ComponentType, ManualTask};
use choreo_deploy::{Deployer, InMemoryBackend, Intake};

use crate::world::{World, component, id, key, service, stages, target, task};

/// Deploys orders in development and production, and billing and report in development.
async fn world() -> World {
    let world = World::new().await;
    for name in ["billing", "orders", "report"] {
        let deployment = world.deploy(name, &format!("{name}:1")).await;
        assert_eq!(deployment.phase, Phase::Ready);
    }
    let promoted = world.deployer.promote(&key("orders"), &id("dev")).await;
    promoted.unwrap();
    world.deployer.work_until_idle().await.unwrap();
    world
}

fn of(world: &World, plans: impl IntoIterator<Item = Plan>) -> Deployer {
    world.with_plans([("eu-1", world.backend.clone())], plans)
}

async fn orphans(deployer: &Deployer) -> Vec<Orphan> {
    let query = TargetQuery::of_organization(id("acme"));
    let page = deployer.orphans(&query).await.unwrap();
    assert_eq!(page.next, None);
    page.found
}

async fn shown(deployer: &Deployer) -> Vec<String> {
    let found = orphans(deployer).await.into_iter();
    found
        .map(|orphan| format!("{}: {}", orphan.target, orphan.why.as_str()))
        .collect()
}

fn all() -> [Plan; 3] {
    [service("orders"), service("billing"), task()]
}

#[tokio::test(start_paused = true)]
async fn what_is_as_the_catalog_says_is_no_orphan() {
    let world = world().await;
    assert_eq!(orphans(&world.deployer).await, []);
}

#[tokio::test(start_paused = true)]
async fn each_way_to_leave_the_catalog_is_told_apart() {
    let world = world().await;
    let orders = |change: fn(&mut Plan)| {
        let mut plan = service("orders");
        change(&mut plan);
        [plan, service("billing"), task()]
    };
    let gone = of(&world, [service("orders"), task()]);
    let found = shown(&gone).await;
    assert_eq!(found, ["acme/shop/billing in dev: component-gone"]);

    let without_production = of(&world, orders(|plan| _ = plan.stages.pop()));
    let found = shown(&without_production).await;
    assert_eq!(found, ["acme/shop/orders in prod: environment-gone"]);

    let moved = orders(|plan| plan.component.project = Project::new(id("acme"), id("web")));
    let found = shown(&of(&world, moved)).await;
    assert_eq!(
        found,
        [
            "acme/shop/orders in dev: project-changed",
            "acme/shop/orders in prod: project-changed",
        ]
    );

    let elsewhere = orders(|plan| plan.stages[1].data_plane.id = id("eu-2"));
    let found = shown(&of(&world, elsewhere)).await;
    assert_eq!(found, ["acme/shop/orders in prod: data-plane-changed"]);

    let a_task = stages(Plan::new(
        component("orders", ComponentType::ManualTask),
        ManualTask::new(),
    ));
    let found = orphans(&of(&world, [a_task, service("billing"), task()])).await;
    let said: Vec<_> = found.iter().map(|orphan| orphan.why.to_string()).collect();
    assert_eq!(
        said,
        ["a Service is ready, but the component is now a Manual Task"; 2]
    );
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_is_no_more_is_told_and_forgotten() {
    let world = world().await;
    let none: [(&'static str, Arc<InMemoryBackend>); 0] = [];
    let deployer = world.with_plans(none, all());
    let found = orphans(&deployer).await;
    assert_eq!(found.len(), 4);
    let eu_1 = BTreeSet::from([id("eu-1")]);
    for orphan in found {
        assert_eq!(orphan.why.as_str(), "data-plane-gone");
        assert_eq!((&orphan.planes, &orphan.disconnected), (&eu_1, &eu_1));
        let forget = || deployer.forget_data_planes(&orphan.target, &eu_1);
        assert!(forget().await.unwrap());
        assert!(!forget().await.unwrap());
    }
    assert_eq!(orphans(&deployer).await, []);
}

/// Guards that a data plane that does not answer does not prevent the removal from the others.
#[tokio::test(start_paused = true)]
async fn an_orphan_is_removed_wherever_it_can_be_reached() {
    let world = world().await;
    let there = Arc::new(InMemoryBackend::new());
    let mut moved = service("orders");
    moved.stages[0].data_plane.id = id("eu-2");
    let planes = [("eu-1", world.backend.clone()), ("eu-2", there.clone())];
    let image = crate::world::submission(
        "orders",
        "orders:2",
        choreo_deploy::deployment::Cause::Manual,
    );
    // It is on both: the new data plane has it, and the old one is not connected.
    let deployer = world.with_plans([planes[1].clone()], [moved.clone()]);
    deployer.accept(image).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    let target = target("orders", "dev");
    assert!(there.shown(&target).is_some() && world.backend.shown(&target).is_some());

    let deployer = world.with_plans([planes[1].clone()], []);
    let found = orphans(&deployer).await;
    let orders = found.iter().find(|orphan| orphan.target == target).unwrap();
    assert_eq!(orders.planes, [id("eu-1"), id("eu-2")].into());
    assert_eq!(orders.disconnected, [id("eu-1")].into());
    let removal = deployer.remove_target(&target).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    assert!(there.shown(&target).is_none(), "it is gone where it can be");
    let removal = world.read(&removal.deployment).await;
    assert_eq!(removal.phase, Phase::TimedOut);
    let help = removal.reasons[1].help.as_deref().unwrap();
    assert!(help.contains("`Deployer::forget_data_planes`"), "{help}");

    let gone = [id("eu-1")].into();
    assert!(deployer.forget_data_planes(&target, &gone).await.unwrap());
    let again = deployer.remove_target(&target).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&again.deployment).await.phase, Phase::Ready);
    let state = world.store.target(&target).await.unwrap().unwrap();
    assert_eq!(state.planes, [].into());
}

#[derive(Debug)]
pub(crate) struct Counting {
    pub(crate) plans: StaticCatalog,
    pub(crate) asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Catalog for Counting {
    async fn plan(&self, component: &ComponentKey) -> Result<Option<Plan>, CatalogError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.plans.plan(component).await
    }
}

#[tokio::test(start_paused = true)]
async fn pages_go_through_all_and_ask_once_for_each_component() {
    let world = world().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let deployer = Deployer::new(DeployerParts {
        store: world.store.clone(),
        catalog: Arc::new(Counting {
            plans: StaticCatalog::new([service("billing"), task()]),
            asked: asked.clone(),
        }),
        backends: Arc::new(std::collections::HashMap::new()),
        resolver: world.registry.clone(),
        sealer: Arc::new(choreo_deploy::sealer::Sealer::new(
            choreo_deploy::sealer::SealingKey::new("test", [7; 32]).unwrap(),
        )),
    });
    let query = TargetQuery::of_organization(id("acme"));
    let whole = deployer.orphans(&query).await.unwrap();
    assert_eq!(whole.found.len(), 4);
    assert_eq!(
        asked.load(Ordering::SeqCst),
        3,
        "orders is in two environments"
    );

    let (mut query, mut found) = (query.limit(1), Vec::new());
    loop {
        let page = deployer.orphans(&query).await.unwrap();
        found.extend(page.found);
        let Some(last) = page.next else { break };
        query = query.after(last);
    }
    assert_eq!(found, whole.found);
}
