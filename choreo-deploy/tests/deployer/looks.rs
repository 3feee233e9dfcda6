//! The reactions of a deployer to observations of a data plane.

use choreo_deploy::backend::BackendErrorKind;
use choreo_deploy::deployment::{Generation, Phase};
use choreo_deploy::reason::ReasonCode;

use crate::plane::world;
use crate::world::codes;

#[tokio::test(start_paused = true)]
async fn a_refused_look_ends_nothing() {
    use BackendErrorKind as Kind;
    for kind in [
        Kind::PermissionDenied,
        Kind::Unauthenticated,
        Kind::NotFound,
        Kind::Internal,
        Kind::Refused,
        Kind::Unsupported,
    ] {
        let (world, plane) = world().await;
        plane.fail("observe", kind, 3);
        let deployment = world.deploy("orders", "orders:1").await;
        assert_eq!(deployment.phase, Phase::Ready, "{kind:?}: {deployment:?}");
        assert_eq!(plane.called("apply"), 1, "{kind:?}: it was applied already");
    }
}

#[tokio::test(start_paused = true)]
async fn looks_that_are_refused_to_the_deadline_time_out() {
    let (world, plane) = world().await;
    plane.fail("observe", BackendErrorKind::PermissionDenied, 10_000);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::TimedOut);
    assert_eq!(
        deployment.reasons[1].message,
        "observe failed: as the test says"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_apply_fails_and_an_unknown_credential_is_tried_again() {
    let (world, plane) = world().await;
    plane.fail("apply", BackendErrorKind::PermissionDenied, 1);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Failed);
    assert_eq!(codes(&deployment)[0], ReasonCode::PermissionMissing);
    assert!(deployment.reasons[0].help.is_some());
    assert_eq!(
        deployment.reasons[0].evidence, None,
        "the message is not said twice"
    );

    plane.fail("apply", BackendErrorKind::Unauthenticated, 2);
    let deployment = world.deploy("orders", "orders:2").await;
    assert_eq!(deployment.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_applied_again() {
    let (world, plane) = world().await;
    plane.lose(2);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(plane.called("apply"), 3, "twice more");
}

/// Guards the case that the data plane lost its objects together with the record of the generation.
#[tokio::test(start_paused = true)]
async fn what_a_data_plane_knows_nothing_of_is_applied_again() {
    let (world, plane) = world().await;
    plane.forget(2);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(plane.called("apply"), 3, "twice more");
}

#[tokio::test(start_paused = true)]
async fn what_is_newer_on_the_data_plane_is_neither_written_over_nor_taken_back() {
    let (world, plane) = world().await;
    plane.be_ahead(Generation::new(7, 1));
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(
        (deployment.phase, codes(&deployment)),
        (Phase::Failed, vec![ReasonCode::NewerDeployment])
    );
    let calls = ["apply", "settle", "take back"].map(|call| plane.called(call));
    assert_eq!(calls, [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_for_good_times_out() {
    let (world, plane) = world().await;
    plane.lose(usize::MAX);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::TimedOut);
    let took = deployment.changed_at.duration_since(deployment.accepted_at);
    assert!(took >= jiff::SignedDuration::from_mins(15), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_is_settled_once() {
    let (world, plane) = world().await;
    world.deploy("orders", "orders:1").await;
    assert_eq!(plane.called("settle"), 1);
    plane.fail("settle", BackendErrorKind::Unreachable, 2);
    let deployment = world.deploy("orders", "orders:2").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(plane.called("settle"), 4, "it is tried until it works");
    assert_eq!(plane.called("apply"), 2, "what was applied is remembered");
}

/// Guards that a deployment is not ready while its Service still has the old ports.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_is_not_ready() {
    use BackendErrorKind as Kind;
    for kind in [Kind::Unreachable, Kind::Refused, Kind::PermissionDenied] {
        let (world, plane) = world().await;
        plane.fail("settle", kind, 2);
        let deployment = world.deploy("orders", "orders:1").await;
        assert_eq!(deployment.phase, Phase::Ready, "{kind:?}");
        assert_eq!(deployment.reasons, [], "{kind:?}");
        assert_eq!(plane.called("settle"), 3, "{kind:?}: until it works");

        plane.fail("settle", kind, 10_000);
        let deployment = world.deploy("orders", "orders:2").await;
        assert_eq!(deployment.phase, Phase::TimedOut, "{kind:?}");
        assert_eq!(
            deployment.reasons[1].message, "settle failed: as the test says",
            "{kind:?}"
        );
        assert_eq!(codes(&deployment)[2], ReasonCode::TakenBack, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_is_ready_though_old_objects_cannot_be_removed() {
    let (world, plane) = world().await;
    plane.fail("clear", BackendErrorKind::PermissionDenied, 1);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(codes(&deployment), [ReasonCode::PermissionMissing]);
    assert_eq!(plane.called("settle"), 1, "at once");

    plane.fail("clear", BackendErrorKind::Unreachable, 10_000);
    let deployment = world.deploy("orders", "orders:2").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(codes(&deployment), [ReasonCode::BackendUnreachable]);
    let took = deployment.changed_at.duration_since(deployment.accepted_at);
    assert!(took >= jiff::SignedDuration::from_secs(890), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_newer_generation_that_is_found_while_old_objects_are_removed_fails_it() {
    let (world, plane) = world().await;
    plane.fail("clear", BackendErrorKind::Stale, 1);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(codes(&deployment), [ReasonCode::NewerDeployment]);
    assert_eq!(deployment.phase, Phase::Failed);
}
