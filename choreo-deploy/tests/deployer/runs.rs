//! Runs of tasks beside a catalog and a data plane that do not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::DeploymentBackend;
use choreo_deploy::catalog::{Catalog, CatalogError, Plan, StaticCatalog};
use choreo_deploy::deployer::{Parts, RunRequest};
use choreo_deploy::deployment::{Cause, Phase};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::run::Run;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::{Deployer, Intake as _};

use crate::world::{World, id, key, service, submission, task};

/// A catalog that answers for every component but `report`.
#[derive(Debug)]
struct HangsForReport(StaticCatalog);

#[async_trait]
impl Catalog for HangsForReport {
    async fn plan(&self, component: &ComponentKey) -> Result<Option<Plan>, CatalogError> {
        if *component == key("report") {
            std::future::pending::<()>().await;
        }
        self.0.plan(component).await
    }
}

fn reasons(run: &Run) -> Vec<ReasonCode> {
    run.reasons.iter().map(|reason| reason.code).collect()
}

async fn read(world: &World, run: &Run) -> Run {
    let (deployer, owner) = (&world.deployer, key("report"));
    let run = deployer.wait_run(&owner, &run.id, Duration::ZERO).await;
    run.unwrap().unwrap()
}

async fn works_for(deployer: &Deployer, seconds: u64) {
    let work = deployer.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(seconds), work).await;
}

/// The time that the catalog takes says nothing about the data plane.
#[tokio::test(start_paused = true)]
async fn a_catalog_that_hangs_makes_no_data_plane_silent() {
    let world = World::new().await;
    world.deploy("report", "report:1").await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        let run = world.deployer.run_task(RunRequest::new(key("report")));
        runs.push(run.await.unwrap());
    }
    let plane: Arc<dyn DeploymentBackend> = world.backend.clone();
    let plans = StaticCatalog::new([service("orders"), task()]);
    let deployer = Deployer::new(Parts {
        store: world.store.clone(),
        catalog: Arc::new(HangsForReport(plans)),
        backends: Arc::new(HashMap::from([(id("eu-1"), plane)])),
        resolver: world.registry.clone(),
        sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
    })
    .with_clock(world.clock);
    works_for(&deployer, 90).await;
    for run in &runs {
        let run = read(&world, run).await;
        assert_eq!(reasons(&run), [ReasonCode::Waiting]);
        assert_eq!(
            run.reasons[0].message,
            "the catalog did not answer within 10s"
        );
    }
    let image = submission("orders", "orders:1", Cause::Manual);
    let orders = deployer.accept(image).await.unwrap().deployment;
    works_for(&deployer, 2).await;
    assert_eq!(world.read(&orders).await.phase, Phase::Ready);
}
