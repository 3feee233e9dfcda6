//! Runs of tasks: their starts, their deadlines, and a catalog or data plane that does not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{BackendErrorKind, DeploymentBackend};
use choreo_deploy::catalog::{Catalog, CatalogError, Plan, StaticCatalog};
use choreo_deploy::clock::SystemEntropy;
use choreo_deploy::deployer::{DeployerOptions, DeployerParts, RunRequest};
use choreo_deploy::deployment::{Cause, Phase};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::rollout::RunStatus;
use choreo_deploy::run::{Run, RunPhase};
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::workload::Workload;
use choreo_deploy::{Deployer, Intake as _};
use tokio::time::Instant;

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

/// Guards that a slow catalog does not count against the data plane.
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
    let deployer = Deployer::new(DeployerParts {
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

/// Guards that a late run does not continue to run because one call failed.
#[tokio::test(start_paused = true)]
async fn a_late_run_is_stopped_once_its_data_plane_answers_again() {
    for kind in [
        BackendErrorKind::Unreachable,
        BackendErrorKind::PermissionDenied,
    ] {
        let (world, plane, run) = running(SystemEntropy).await;
        *plane.run.lock().unwrap() = Some(RunStatus::new(RunPhase::Running));
        plane.fail("cancel", kind, 3);
        let run = ended(&world, &run).await;
        assert_eq!(plane.called("cancel").len(), 4, "{kind:?}");
        assert_eq!(run.phase, RunPhase::Cancelled);
        assert_eq!(reasons(&run), [ReasonCode::ProgressDeadlineExceeded]);
    }
}

/// Guards that the reasons of a failed run mention that it may still run.
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

/// Guards that a refusal to stop a run does not hide its own end.
#[tokio::test(start_paused = true)]
async fn a_run_that_could_not_be_stopped_is_as_it_ended() {
    let (world, plane, run) = running(SystemEntropy).await;
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

/// Guards that a run is stopped although all claims around its deadline are lost.
#[tokio::test(start_paused = true)]
async fn a_run_whose_workers_died_is_stopped_after_its_deadline() {
    let (world, plane, run) = running(SystemEntropy).await;
    *plane.run.lock().unwrap() = Some(RunStatus::new(RunPhase::Running));
    works_for(&world.deployer, 3).await;
    let allowed = run.deadline_at.duration_since(run.accepted_at).as_secs();
    tokio::time::sleep(Duration::from_secs(allowed.unsigned_abs() - 310)).await;
    world.lose_claims(12).await;
    let run = ended(&world, &run).await;
    assert_eq!(plane.called("cancel").len(), 1);
    assert_eq!(run.phase, RunPhase::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_waited_for_by_its_own_component_alone() {
    let (world, _, run) = running(SystemEntropy).await;
    let (deployer, other) = (&world.deployer, key("orders"));
    let waited = deployer.wait_run(&other, &run.id, Duration::ZERO);
    assert_eq!(waited.await.unwrap(), None);
}

/// Guards that an endless run is stopped on the data plane soon after its deadline.
#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_end_is_stopped() {
    let (world, plane, run) = running(SystemEntropy).await;
    *plane.run.lock().unwrap() = Some(RunStatus::new(RunPhase::Running));
    let run = ended(&world, &run).await;
    assert!(!plane.called("cancel").is_empty());
    assert_eq!(run.phase, RunPhase::Cancelled);
    let Workload::ManualTask(task) = task().workload else {
        panic!("it is a Manual Task")
    };
    let allowed = task.limits.deadline() + DeployerOptions::default().run_grace;
    assert_eq!(
        run.reasons[0].message,
        format!("the run did not end within {} seconds", allowed.as_secs())
    );
    let took = run.changed_at.duration_since(run.accepted_at).as_secs();
    let took = u64::try_from(took).unwrap() - allowed.as_secs();
    assert!(took <= 5, "{took} s after its deadline");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stuck_is_taken_away() {
    let (world, plane, run) = running(SystemEntropy).await;
    let missing = Reason::new(ReasonCode::ImageNotFound, "as the test says");
    let stuck = RunStatus::new(RunPhase::Pending).with_reason(missing);
    *plane.run.lock().unwrap() = Some(stuck.stuck());
    let run = ended(&world, &run).await;
    assert_eq!(run.phase, RunPhase::Failed);
    assert_eq!(plane.called("cancel").len(), 1);
}

/// Guards that a refused observation does not end a run.
#[tokio::test(start_paused = true)]
async fn a_refused_look_at_a_run_ends_nothing() {
    for kind in [
        BackendErrorKind::PermissionDenied,
        BackendErrorKind::NotFound,
        BackendErrorKind::Internal,
    ] {
        let (world, plane, run) = running(SystemEntropy).await;
        plane.fail("observe run", kind, 3);
        let run = ended(&world, &run).await;
        assert_eq!(run.phase, RunPhase::Succeeded, "{kind:?}: {run:?}");
        assert_eq!(plane.called("start").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_started_again_after_growing_pauses_that_begin_anew_once_it_runs() {
    let (world, plane, run) = running(Longest::default()).await;
    plane.fail("start", BackendErrorKind::Unreachable, 5);
    plane.fail("observe run", BackendErrorKind::Unreachable, 1);
    let run = ended(&world, &run).await;
    assert_eq!(run.phase, RunPhase::Succeeded);
    let starts = plane.called("start");
    let pauses = |calls: &[Instant]| -> Vec<u64> {
        let pairs = calls.windows(2);
        pairs.map(|two| (two[1] - two[0]).as_secs()).collect()
    };
    assert_eq!(pauses(&starts), [1, 2, 4, 8, 16]);
    assert_eq!(pauses(&plane.called("observe run")), [1]);
}

/// Guards that a run ends although each of its steps panics.
#[tokio::test(start_paused = true)]
async fn a_run_whose_step_panics_ends_with_its_deadline() {
    let (world, plane, run) = running(SystemEntropy).await;
    *plane.panics.lock().unwrap() = Some("observe run");
    let run = ended(&world, &run).await;
    let codes: Vec<_> = run.reasons.iter().map(|reason| reason.code).collect();
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::InternalError,
        ReasonCode::NotTakenBack,
    ];
    assert_eq!(
        (run.phase, codes.as_slice()),
        (RunPhase::Failed, &expected[..])
    );
    assert!(run.changed_at >= run.deadline_at);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_kills_its_worker_ends_with_its_deadline() {
    let (world, plane, run) = running(SystemEntropy).await;
    *plane.start_takes.lock().unwrap() = Duration::from_secs(15);
    let allowed = run.deadline_at.duration_since(run.accepted_at).as_secs();
    for _ in 0..=allowed / 35 {
        let working = world.deployer.run(std::future::pending());
        let _ = tokio::time::timeout(Duration::from_secs(5), working).await;
        tokio::time::sleep(DeployerOptions::default().lease).await;
    }
    let run = ended(&world, &run).await;
    assert_eq!(run.phase, RunPhase::Failed);
    let codes: Vec<_> = run.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes[0], ReasonCode::ProgressDeadlineExceeded);
}

/// Guards that the limit for concurrent changes of a data plane includes the stop of a late or stuck
/// run.
#[tokio::test(start_paused = true)]
async fn a_run_is_stopped_within_the_limit_for_changes() {
    for is_stuck in [false, true] {
        let (mut world, plane, run) = running(SystemEntropy).await;
        let mut options = DeployerOptions::default();
        options.steps_per_data_plane = 1.try_into().unwrap();
        world.deployer = world.deployer.clone().with_options(options);
        let mut status = RunStatus::new(RunPhase::Running);
        *plane.run.lock().unwrap() = Some(status.clone());
        works_for(&world.deployer, 3).await;
        let pause = if is_stuck {
            status.is_stuck = true;
            *plane.run.lock().unwrap() = Some(status);
            // The worker may have died during a step.
            DeployerOptions::default().lease
        } else {
            let allowed = run.deadline_at.duration_since(run.accepted_at).as_secs();
            Duration::from_secs(allowed.unsigned_abs() - 8)
        };
        tokio::time::sleep(pause).await;
        *plane.apply_takes.lock().unwrap() = Duration::from_secs(30);
        world.submit("orders", "orders:1").await;
        works_for(&world.deployer, 60).await;
        let run = ended(&world, &run).await;
        assert!(run.phase.is_final());
        let applied = plane.apply_ended.lock().unwrap().last().copied();
        let stopped = plane.called("cancel");
        assert_eq!(stopped.len(), 1);
        assert!(applied.unwrap() <= stopped[0], "is stuck: {is_stuck}");
    }
}
