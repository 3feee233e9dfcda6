//! A target that is ready and leaves its old places: its history and newer deployments.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::Intake;
use choreo_deploy::backend::BackendErrorKind;
use choreo_deploy::deployer::RollbackRequest;
use choreo_deploy::deployment::Phase;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::resolver::ResolveError;
use choreo_deploy::store::DeploymentStore;

use crate::layer;
use crate::moving::{HalfMoved, accept, orders, plan};
use crate::plane::Plane;
use crate::taken_back::deployed;
use crate::world::{World, codes, id, key, reason};

/// CI hears that its image is ready, also where a newer deployment arrived before the old data plane
/// was left. The newer deployment leaves that data plane.
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

/// A rollback goes back to the release that was ready last, also where a newer deployment arrived
/// before that one had left its old data plane.
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

/// What was superseded half-way on the old data plane is stopped with the next failure, also where
/// a target was ready elsewhere in between and had no time to leave that data plane.
#[tokio::test(start_paused = true)]
async fn what_was_not_left_is_taken_back_with_what_fails_next() {
    let (old, new) = (Arc::new(Plane::default()), Arc::new(Plane::default()));
    let planes = || {
        let planes = [("eu-1", &old), ("eu-2", &new)];
        HashMap::from(planes.map(|(name, plane)| (id(name), layer::backend(plane))))
    };
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
