//! A target that is ready and leaves its old places: its history, its room, and newer deployments.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::backend::{BackendError, BackendErrorKind, DeploymentBackend as _, Intent};
use choreo_deploy::catalog::Plan;
use choreo_deploy::deployer::{DeployerOptions, RollbackRequest};
use choreo_deploy::deployment::{Cause, Generation, Phase};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::resolver::ResolveError;
use choreo_deploy::store::DeploymentStore;
use choreo_deploy::{Deployer, InMemoryBackend, Intake, Target};

use crate::layer::{self, Layer};
use crate::moving::{HalfMoved, accept, orders, plan};
use crate::plane::Plane;
use crate::taken_back::deployed;
use crate::world::{World, codes, id, key, reason, service, submission};

/// Guards that CI receives `ready` also if a newer deployment arrived before the target left the old
/// data plane. The newer deployment leaves that data plane.
#[tokio::test(start_paused = true)]
async fn a_newer_deployment_does_not_supersede_what_is_ready() {
    let half = HalfMoved::new().await;
    let (world, process) = (&half.world, half.process());
    let newer = accept(&process, "orders:3").await;
    let component = key("orders");
    let heard = process.wait(&component, &half.moved.id, Duration::ZERO);
    let heard = heard.await.unwrap().unwrap();
    assert_eq!(
        (heard.phase, codes(&heard)),
        (Phase::Ready, vec![ReasonCode::NewerDeployment])
    );
    assert_eq!(
        heard.reasons[0].to_string(),
        format!(
            "it is ready, and deployment {} arrived before what ran elsewhere was removed: if \
             that deployment fails, deploy again to remove it there",
            newer.id
        )
    );
    assert_eq!(process.successor(&heard).await.unwrap(), None, "it runs");

    process.work_until_idle().await.unwrap();
    let successor = process.successor(&heard).await.unwrap();
    assert_eq!(successor, Some(newer.id.clone()), "the newer one runs");
    assert_eq!(codes(&world.read(&newer).await), [ReasonCode::Moved]);
    assert!(world.backend.shown(&orders("shop")).is_none());
    let state = world.store.target(&orders("shop")).await.unwrap().unwrap();
    assert_eq!(state.planes, [id("eu-2")].into());
}

/// Guards that a rollback selects the release that was ready last, also if a newer deployment arrived
/// before that one left its old data plane.
#[tokio::test(start_paused = true)]
async fn a_rollback_finds_what_was_ready_and_leaving() {
    let half = HalfMoved::new().await;
    let process = half.process();
    accept(&process, "orders:3").await;
    process.work_until_idle().await.unwrap();
    let release = half.moved.release.unwrap();
    let back = RollbackRequest::new(key("orders"), id("dev"));
    for request in [back.clone(), back.to_release(release)] {
        let rollback = process.rollback(request).await.unwrap().deployment;
        process.work_until_idle().await.unwrap();
        let rollback = half.world.read(&rollback).await;
        assert_eq!(
            (rollback.phase, rollback.release),
            (Phase::Ready, Some(release))
        );
        let shown = half.new.shown(&orders("shop")).unwrap();
        assert_eq!(shown.image, deployed("orders:2"));
    }
}

/// Guards that a deployment that was superseded half-way on the old data plane is stopped with the
/// next failure, also if the target was ready elsewhere and had no time to leave that data plane.
#[tokio::test(start_paused = true)]
async fn what_was_not_left_is_taken_back_with_what_fails_next() {
    let (old, new) = (Arc::new(Plane::default()), Arc::new(Plane::default()));
    let planes = || layer::two(&old, &new);
    let world = World::of(old.inner.clone(), planes(), [plan("shop", "eu-1")]).await;
    old.fail("observe", BackendErrorKind::Unreachable, 10_000);
    accept(&world.deployer, "orders:1").await;
    let work = world.deployer.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(3), work).await;
    assert!(old.inner.shown(&orders("shop")).is_some(), "half-way");

    let moved = world.over(planes(), [plan("shop", "eu-2")]);
    let ready = accept(&moved, "orders:2").await;
    old.hang_at_removal();
    let work = moved.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(3), work).await;
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 1);
    let failed = accept(&moved, "orders:3").await;
    moved.work_until_idle().await.unwrap();
    assert_eq!(world.read(&ready).await.phase, Phase::Ready);
    assert_eq!(
        codes(&world.read(&failed).await),
        [ReasonCode::ImageNotFound, ReasonCode::TakenBack]
    );
    assert!(old.inner.shown(&orders("shop")).is_none(), "stopped");
    let shown = new.inner.shown(&orders("shop")).unwrap();
    assert_eq!(shown.image, deployed("orders:2"));
}

/// A data plane whose changes take a second, and that counts those at once.
#[derive(Debug, Default)]
struct Counting {
    inner: Arc<InMemoryBackend>,
    now: AtomicUsize,
    most: AtomicUsize,
    /// The additional duration of a removal.
    slower: Duration,
}

/// A change that ends or is dropped.
struct Change<'c>(&'c AtomicUsize);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Counting {
    async fn change(&self, slower: Duration) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let _change = Change(&self.now);
        tokio::time::sleep(Duration::from_secs(1) + slower).await;
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Layer for Counting {
    fn inner(&self) -> &InMemoryBackend {
        &self.inner
    }

    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        self.change(Duration::ZERO).await;
        self.inner.apply(intent).await
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.change(self.slower).await;
        self.inner.remove(target, generation).await
    }
}

fn on(component: &str, plane: &str) -> Plan {
    let mut plan = service(component);
    for stage in &mut plan.stages {
        stage.data_plane.id = id(plane);
    }
    plan
}

fn options(per_plane: usize) -> DeployerOptions {
    let mut options = DeployerOptions::default();
    options.steps_per_data_plane = per_plane.try_into().unwrap();
    options
}

/// Guards that removals count on the data plane that they change. A data plane never has more
/// concurrent changes than allowed, whether a target leaves it, is removed, or is deployed to it.
#[tokio::test(start_paused = true)]
async fn removals_count_on_the_data_plane_that_they_change() {
    let (old, new) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
    let planes = || layer::two(&old, &new);
    let names = ["a", "b", "c", "d", "e", "f"];
    let plans = names.map(|name| on(name, "eu-1"));
    let world = World::of(old.inner.clone(), planes(), plans).await;
    for name in names {
        world.submit(name, "app:1").await;
    }
    world.deployer.work_until_idle().await.unwrap();

    let plans = names.map(|name| on(name, if name < "d" { "eu-2" } else { "eu-1" }));
    let deployer = world.over(planes(), plans).with_options(options(1));
    for plane in [&old, &new] {
        plane.most.store(0, Ordering::SeqCst);
    }
    let mut all = Vec::new();
    for name in names {
        let image = submission(name, "app:2", Cause::Manual);
        all.push(deployer.accept(image).await.unwrap().deployment);
    }
    deployer.work_until_idle().await.unwrap();
    for deployment in &all {
        assert_eq!(world.read(deployment).await.phase, Phase::Ready);
    }
    assert_eq!([old.most(), new.most()], [1, 1]);

    // A target that may be on both data planes is removed from both.
    let plans = names.map(|name| on(name, if name < "d" { "eu-1" } else { "eu-2" }));
    let back = world.over(planes(), plans).with_options(options(1));
    let mut all = Vec::new();
    for name in names {
        let image = submission(name, "app:3", Cause::Manual);
        back.accept(image).await.unwrap();
        all.push(
            back.remove(&key(name), &id("dev"))
                .await
                .unwrap()
                .deployment,
        );
    }
    back.work_until_idle().await.unwrap();
    for deployment in &all {
        assert_eq!(world.read(deployment).await.phase, Phase::Ready);
        for plane in [&old, &new] {
            assert!(plane.inner.shown(&deployment.target).is_none());
        }
    }
    assert_eq!([old.most(), new.most()], [1, 1]);
}

/// Works, deploys `billing` after some seconds, and returns its phase after some more.
async fn phase_of_billing(
    (world, deployer): (&World, &Deployer),
    [wait, within]: [u64; 2],
) -> Phase {
    let other = async {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let image = submission("billing", "billing:1", Cause::Manual);
        let billing = deployer.accept(image).await.unwrap().deployment;
        tokio::time::sleep(Duration::from_secs(within)).await;
        world.read(&billing).await.phase
    };
    tokio::select! {
        () = deployer.run(std::future::pending()) => panic!("it works until it is stopped"),
        phase = other => phase,
    }
}

/// Guards that a data plane that does not answer removals delays no change on the data plane that
/// targets move to.
#[tokio::test(start_paused = true)]
async fn a_removal_that_hangs_holds_up_only_the_data_plane_that_it_leaves() {
    let (old, new) = (Arc::new(Plane::default()), Arc::new(Plane::default()));
    let planes = || layer::two(&old, &new);
    let world = World::of(old.inner.clone(), planes(), [plan("shop", "eu-1")]).await;
    world.deploy("orders", "orders:1").await;
    let plans = [plan("shop", "eu-2"), on("billing", "eu-2")];
    let moved = world.over(planes(), plans).with_options(options(1));
    old.hang_at_removal();
    accept(&moved, "orders:2").await;
    let phase = phase_of_billing((&world, &moved), [5, 5]).await;
    assert_eq!(old.called("remove"), 1, "it hangs");
    assert_eq!(phase, Phase::Ready);
}

/// Guards that many targets which leave a slow data plane do not delay others, and that each of them
/// leaves it in the end.
#[tokio::test(start_paused = true)]
async fn a_crowd_that_leaves_a_slow_data_plane_delays_no_other_target() {
    let old = Arc::new(Counting {
        slower: Duration::from_secs(19),
        ..Counting::default()
    });
    let new = Arc::new(Plane::default());
    let planes = || layer::two(&old, &new);
    let names: Vec<String> = (0..80).map(|number| format!("crowd-{number}")).collect();
    let all_on = |plane| names.iter().map(move |name| on(name, plane));
    let world = World::of(old.inner.clone(), planes(), all_on("eu-1")).await;
    for name in &names {
        world.submit(name, "app:1").await;
    }
    world.deployer.work_until_idle().await.unwrap();

    let mut options = options(1);
    options.steps = 1.try_into().unwrap();
    let plans = all_on("eu-2").chain([on("billing", "eu-2")]);
    let moved = world.over(planes(), plans).with_options(options);
    old.most.store(0, Ordering::SeqCst);
    let mut crowd = Vec::new();
    for name in &names {
        let image = submission(name, "app:2", Cause::Manual);
        crowd.push(moved.accept(image).await.unwrap().deployment);
    }
    let phase = phase_of_billing((&world, &moved), [60, 10]).await;
    assert_eq!(phase, Phase::Ready);

    moved.work_until_idle().await.unwrap();
    for deployment in &crowd {
        let ended = world.read(deployment).await;
        assert_eq!(
            (ended.phase, codes(&ended)),
            (Phase::Ready, vec![ReasonCode::Moved])
        );
        assert!(old.inner.shown(&deployment.target).is_none());
    }
    assert_eq!(old.most(), 1);
}

/// Guards that the reasons of a target that waits for room on its old data plane contain the removal
/// from its previous project once, also if that removal ends first.
#[tokio::test(start_paused = true)]
async fn a_target_that_waits_for_room_reports_each_place_that_it_leaves_once() {
    let old = Arc::new(Counting {
        slower: Duration::from_secs(19),
        ..Counting::default()
    });
    let new = Arc::new(Plane::default());
    let planes = || layer::two(&old, &new);
    let plans = [plan("shop", "eu-1"), on("billing", "eu-1")];
    let world = World::of(old.inner.clone(), planes(), plans).await;
    world.deploy("orders", "orders:1").await;
    world.deploy("billing", "billing:1").await;
    // It may be on the old data plane, because a deployment there was accepted and superseded.
    accept(&world.over(planes(), [plan("web", "eu-1")]), "orders:2").await;

    let plans = [plan("web", "eu-2"), on("billing", "eu-1")];
    let moved = world.over(planes(), plans).with_options(options(1));
    moved.remove(&key("billing"), &id("dev")).await.unwrap();
    let ready = accept(&moved, "orders:3").await;
    let work = moved.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(15), work).await;
    let waiting = world.read(&ready).await;
    assert_eq!(codes(&waiting), [ReasonCode::Moved], "it waits");
    moved.work_until_idle().await.unwrap();
    let ended = world.read(&ready).await;
    assert_eq!(ended.phase, Phase::Ready);
    assert_eq!(codes(&ended), [ReasonCode::Moved, ReasonCode::Moved]);
    for project in ["shop", "web"] {
        assert!(old.inner.shown(&orders(project)).is_none());
    }
}
