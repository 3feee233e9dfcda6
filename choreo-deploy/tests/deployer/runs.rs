//! Runs of tasks beside a catalog and a data plane that do not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{BackendErrorKind, DeploymentBackend};
use choreo_deploy::catalog::{Catalog, CatalogError, Plan, StaticCatalog};
use choreo_deploy::clock::SystemChance;
use choreo_deploy::deployer::{DeployerOptions, Parts, RunRequest};
use choreo_deploy::deployment::{Cause, Phase};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::rollout::RunStatus;
use choreo_deploy::run::{Run, RunPhase};
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::{Deployer, Intake as _};

use crate::running::{Longest, ended, running};
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

/// A run past its deadline must not continue to run because one call failed.
#[tokio::test(start_paused = true)]
async fn a_late_run_is_stopped_once_its_data_plane_answers_again() {
    for kind in [
        BackendErrorKind::Unreachable,
        BackendErrorKind::PermissionDenied,
    ] {
        let (world, plane, run) = running(SystemChance).await;
        *plane.run.lock().unwrap() = Some(RunStatus::new(RunPhase::Running));
        plane.fail("cancel", kind, 3);
        let run = ended(&world, &run).await;
        assert_eq!(plane.called("cancel").len(), 4, "{kind:?}");
        assert_eq!(run.phase, RunPhase::Cancelled);
        assert_eq!(reasons(&run), [ReasonCode::ProgressDeadlineExceeded]);
    }
}

/// A person who reads that the run failed must not believe that it no longer runs.
#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_stopped_ends_and_says_that_it_may_still_run() {
    for (kind, code) in [
        (
            BackendErrorKind::Unreachable,
            ReasonCode::BackendUnreachable,
        ),
        (
            BackendErrorKind::PermissionDenied,
            ReasonCode::PermissionMissing,
        ),
    ] {
        let (world, plane, run) = running(Longest::default()).await;
        *plane.run.lock().unwrap() = Some(RunStatus::new(RunPhase::Running));
        plane.fail("cancel", kind, 10_000);
        let run = ended(&world, &run).await;
        assert_eq!(run.phase, RunPhase::Failed);
        assert_eq!(
            reasons(&run),
            [
                ReasonCode::ProgressDeadlineExceeded,
                code,
                ReasonCode::NotTakenBack,
            ]
        );
        assert_eq!(
            run.reasons[2].message,
            "the run could not be stopped and may still be running on data plane eu-1"
        );
        let grace = DeployerOptions::default().take_back_grace;
        assert!(run.changed_at >= run.deadline_at + grace);
        assert!(
            plane.called("cancel").len() < 13,
            "the retries are spaced out"
        );
    }
}

/// That a run cannot be stopped hides nothing of how it ends by itself.
#[tokio::test(start_paused = true)]
async fn a_run_that_could_not_be_stopped_is_as_it_ended() {
    let (world, plane, run) = running(SystemChance).await;
    *plane.run.lock().unwrap() = Some(RunStatus::new(RunPhase::Running));
    plane.fail("cancel", BackendErrorKind::PermissionDenied, 10_000);
    works_for(&world.deployer, 3).await;
    let cancelled = world.deployer.cancel_run(&key("report"), &run.id).await;
    cancelled.unwrap();
    works_for(&world.deployer, 60).await;
    let run = read(&world, &run).await;
    assert_eq!(run.phase, RunPhase::Running);
    assert_eq!(reasons(&run), [ReasonCode::PermissionMissing]);
    *plane.run.lock().unwrap() = Some(RunStatus::new(RunPhase::Succeeded));
    let run = ended(&world, &run).await;
    assert_eq!(run.phase, RunPhase::Succeeded);
}

/// Claims are lost over the deadline, and nothing of that says that the run has ended.
#[tokio::test(start_paused = true)]
async fn a_run_whose_workers_died_is_stopped_after_its_deadline() {
    let (world, plane, run) = running(SystemChance).await;
    *plane.run.lock().unwrap() = Some(RunStatus::new(RunPhase::Running));
    works_for(&world.deployer, 3).await;
    let allowed = run.deadline_at.duration_since(run.accepted_at).as_secs();
    tokio::time::sleep(Duration::from_secs(allowed.unsigned_abs() - 310)).await;
    world.lose_claims(12).await;
    let run = ended(&world, &run).await;
    assert_eq!(plane.called("cancel").len(), 1);
    assert_eq!(run.phase, RunPhase::Cancelled);
}
