//! Failed deployments are taken back, so that "failed" is true on the data plane.

use std::collections::HashMap;
use std::time::Duration;

use choreo_deploy::Deployer;
use choreo_deploy::backend::{BackendErrorKind, DeploymentBackend, Intent};
use choreo_deploy::deployment::{Deployment, Phase};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::resolver::ResolveError;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{DeploymentStore, Store};
use choreo_registry::{Credential, Digest, ImageReference, PullSecret};

use crate::plane::{Plane, world};
use crate::world::{World, codes, id, key, reason, register, service};

/// Returns the reference that is deployed for an image of the fake registry.
pub(crate) fn deployed(image: &str) -> ImageReference {
    let reference: ImageReference = format!("registry.example.com/shop/{image}")
        .parse()
        .unwrap();
    let digest = Digest::sha256_of(reference.as_str().as_bytes());
    reference.without_tag().with_digest(digest)
}

/// Makes every following rollout of an image fail.
fn breaks(plane: &Plane, image: &str) {
    let why = reason(ReasonCode::ConfigurationMissing);
    plane.inner.fail_image(deployed(image), why);
}

fn runs(plane: &Plane, deployment: &Deployment) -> Option<ImageReference> {
    let shown = plane.inner.shown(&deployment.target);
    shown.map(|shown| shown.image)
}

async fn works_for(world: &World, seconds: u64) {
    works(&world.deployer, seconds).await;
}

async fn works(deployer: &Deployer, seconds: u64) {
    let run = deployer.run(std::future::pending());
    let _ = tokio::time::timeout(Duration::from_secs(seconds), run).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_ready_runs_after_a_failure() {
    let (world, plane) = world().await;
    breaks(&plane, "orders:2");
    world.deploy("orders", "orders:1").await;
    let failed = world.deploy("orders", "orders:2").await;
    assert_eq!(failed.phase, Phase::Failed);
    assert_eq!(
        codes(&failed),
        [ReasonCode::ConfigurationMissing, ReasonCode::TakenBack]
    );
    assert_eq!(
        failed.reasons[1].message,
        "release 1, which was ready before, runs"
    );
    assert_eq!(runs(&plane, &failed), Some(deployed("orders:1")));
    // The next deployment begins from the release that runs again.
    let failed = world.deploy("orders", "orders:2").await;
    assert_eq!(runs(&plane, &failed), Some(deployed("orders:1")));
    let ready = world.deploy("orders", "orders:3").await;
    assert_eq!(ready.phase, Phase::Ready);
    assert_eq!(runs(&plane, &ready), Some(deployed("orders:3")));
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_after_a_first_failure() {
    let (world, plane) = world().await;
    breaks(&plane, "orders:1");
    let failed = world.deploy("orders", "orders:1").await;
    assert_eq!(failed.phase, Phase::Failed);
    assert_eq!(
        failed.reasons[1].message,
        "no release of acme/shop/orders in dev was ready before, so its workload was stopped"
    );
    assert_eq!(runs(&plane, &failed), None);
    assert_eq!(plane.called("take back"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_timed_out_is_taken_back() {
    let (world, plane) = world().await;
    world.deploy("orders", "orders:1").await;
    plane.fail("observe", BackendErrorKind::PermissionDenied, 10_000);
    let failed = world.deploy("orders", "orders:2").await;
    assert_eq!(failed.phase, Phase::TimedOut);
    assert_eq!(codes(&failed).last(), Some(&ReasonCode::TakenBack));
    assert_eq!(runs(&plane, &failed), Some(deployed("orders:1")));
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_was_refused_half_way_is_taken_back() {
    let (world, plane) = world().await;
    world.deploy("orders", "orders:1").await;
    plane.fail("apply", BackendErrorKind::Refused, 1);
    let failed = world.deploy("orders", "orders:2").await;
    assert_eq!(
        codes(&failed),
        [ReasonCode::AdmissionRefused, ReasonCode::TakenBack]
    );
    assert_eq!(runs(&plane, &failed), Some(deployed("orders:1")));
}

#[tokio::test(start_paused = true)]
async fn what_was_never_applied_is_not_taken_back() {
    let (world, plane) = world().await;
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 1);
    let failed = world.deploy("orders", "orders:1").await;
    assert_eq!(codes(&failed), [ReasonCode::ImageNotFound]);
    assert_eq!(plane.called("take back"), 0);
}

/// Guards that a deployment that was superseded half-way does not become live.
#[tokio::test(start_paused = true)]
async fn what_was_superseded_is_taken_back_with_what_superseded_it() {
    let (world, plane) = world().await;
    world.deploy("orders", "orders:1").await;
    plane.fail("observe", BackendErrorKind::Unreachable, 10_000);
    let second = world.submit("orders", "orders:2").await;
    works_for(&world, 3).await;
    assert_eq!(runs(&plane, &second), Some(deployed("orders:2")));
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 2);
    let third = world.deploy("orders", "orders:3").await;
    assert_eq!(world.read(&second).await.phase, Phase::Superseded);
    assert_eq!(
        codes(&third),
        [ReasonCode::ImageNotFound, ReasonCode::TakenBack]
    );
    assert_eq!(runs(&plane, &third), Some(deployed("orders:1")));
    let fourth = world.deploy("orders", "orders:4").await;
    assert_eq!(codes(&fourth), [ReasonCode::ImageNotFound]);
    assert_eq!(plane.called("take back"), 1, "nothing is left of them");
}

/// The same after many deployments whose state was unknown.
#[tokio::test(start_paused = true)]
async fn what_was_superseded_long_ago_is_taken_back_too() {
    let (world, plane) = world().await;
    world.deploy("orders", "orders:1").await;
    plane.fail("observe", BackendErrorKind::Unreachable, 10_000);
    world.submit("orders", "orders:2").await;
    works_for(&world, 3).await;
    for commit in 0..60 {
        world.submit("orders", &format!("orders:3.{commit}")).await;
    }
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 1);
    let last = world.deploy("orders", "orders:4").await;
    assert_eq!(
        codes(&last),
        [ReasonCode::ImageNotFound, ReasonCode::TakenBack]
    );
    assert_eq!(runs(&plane, &last), Some(deployed("orders:1")));
}

/// Guards that a removed release does not come back with a failure, if the removal took effect but was
/// superseded without confirmation.
#[tokio::test(start_paused = true)]
async fn what_was_removed_is_not_brought_back() {
    let (world, plane) = world().await;
    let removed = world.deploy("orders", "orders:1").await;
    plane.fail("removed", BackendErrorKind::Unreachable, 10_000);
    let removal = world.deployer.remove(&key("orders"), &id("dev")).await;
    let removal = removal.unwrap().deployment;
    works_for(&world, 3).await;
    assert_eq!(runs(&plane, &removed), None);
    let state = world.store.target(&removed.target).await.unwrap();
    assert_eq!(state.unwrap().ready, None, "it is removed from now on");
    breaks(&plane, "orders:2");
    let failed = world.deploy("orders", "orders:2").await;
    assert_eq!(world.read(&removal).await.phase, Phase::Superseded);
    assert_eq!(
        codes(&failed),
        [ReasonCode::ConfigurationMissing, ReasonCode::TakenBack]
    );
    assert_eq!(runs(&plane, &failed), None);
}

/// The same with a removal without effect and a newer deployment that failed before its apply.
#[tokio::test(start_paused = true)]
async fn what_is_half_removed_is_stopped_with_what_fails_after_it() {
    let (world, plane) = world().await;
    let removed = world.deploy("orders", "orders:1").await;
    plane.fail("remove", BackendErrorKind::Unreachable, 10_000);
    let removal = world.deployer.remove(&key("orders"), &id("dev")).await;
    works_for(&world, 3).await;
    assert!(runs(&plane, &removed).is_some(), "it is not removed yet");
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 1);
    let failed = world.deploy("orders", "orders:2").await;
    let removal = world.read(&removal.unwrap().deployment).await;
    assert_eq!(removal.phase, Phase::Superseded);
    assert_eq!(
        codes(&failed),
        [ReasonCode::ImageNotFound, ReasonCode::TakenBack]
    );
    assert_eq!(runs(&plane, &removed), None);
}

/// Guards that a removal that did nothing stops nothing.
#[tokio::test(start_paused = true)]
async fn what_was_not_removed_yet_runs_on_after_a_failure() {
    let (world, plane) = world().await;
    world.deploy("orders", "orders:1").await;
    let removal = world.deployer.remove(&key("orders"), &id("dev")).await;
    breaks(&plane, "orders:2");
    let failed = world.deploy("orders", "orders:2").await;
    let removal = world.read(&removal.unwrap().deployment).await;
    assert_eq!(removal.phase, Phase::Superseded);
    assert_eq!(runs(&plane, &failed), Some(deployed("orders:1")));
}

/// Guards that another worker continues after the first one died between verdict and take-back.
#[tokio::test(start_paused = true)]
async fn a_verdict_survives_the_worker_that_made_it() {
    let (world, plane) = world().await;
    breaks(&plane, "orders:2");
    world.deploy("orders", "orders:1").await;
    plane.fail("take back", BackendErrorKind::Unreachable, 8);
    let failed = world.submit("orders", "orders:2").await;
    works_for(&world, 20).await;
    let meanwhile = world.read(&failed).await;
    assert_eq!(meanwhile.phase, Phase::Progressing, "it is not true yet");
    assert_eq!(
        codes(&meanwhile),
        [ReasonCode::ConfigurationMissing, ReasonCode::NotTakenBack]
    );
    assert_eq!(runs(&plane, &failed), Some(deployed("orders:2")));
    let applies = plane.called("apply");
    world.deployer.work_until_idle().await.unwrap();
    let failed = world.read(&failed).await;
    assert_eq!(failed.phase, Phase::Failed);
    assert_eq!(
        codes(&failed),
        [ReasonCode::ConfigurationMissing, ReasonCode::TakenBack]
    );
    assert_eq!(runs(&plane, &failed), Some(deployed("orders:1")));
    assert_eq!(plane.called("apply"), applies, "the verdict stays");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_back_ends_and_says_so() {
    for kind in [
        BackendErrorKind::Unreachable,
        BackendErrorKind::PermissionDenied,
    ] {
        let (world, plane) = world().await;
        breaks(&plane, "orders:1");
        plane.fail("take back", kind, 10_000);
        let failed = world.deploy("orders", "orders:1").await;
        assert_eq!(failed.phase, Phase::Failed, "{kind:?}");
        assert_eq!(
            codes(&failed),
            [ReasonCode::ConfigurationMissing, ReasonCode::NotTakenBack]
        );
    }
}

/// Guards that a refusal to take a deployment back is retried, because it can be corrected.
#[tokio::test(start_paused = true)]
async fn what_is_refused_is_taken_back_once_it_is_allowed() {
    for kind in [
        BackendErrorKind::PermissionDenied,
        BackendErrorKind::Unauthenticated,
        BackendErrorKind::Refused,
        BackendErrorKind::NotFound,
    ] {
        let (world, plane) = world().await;
        breaks(&plane, "orders:2");
        world.deploy("orders", "orders:1").await;
        plane.fail("take back", kind, 5);
        let failed = world.deploy("orders", "orders:2").await;
        assert_eq!(failed.phase, Phase::Failed, "{kind:?}");
        assert_eq!(
            codes(&failed),
            [ReasonCode::ConfigurationMissing, ReasonCode::TakenBack]
        );
        assert_eq!(runs(&plane, &failed), Some(deployed("orders:1")));
    }
}

/// The pods of the earlier release pull nothing, so its credential must not be needed. The failed
/// release would run until the registry is registered again.
#[tokio::test(start_paused = true)]
async fn a_deployment_is_taken_back_without_the_credential_of_the_earlier_release() {
    for (is_removed, why) in [
        (true, "registry images"),
        (false, "the credential of registry images cannot be opened"),
    ] {
        let (world, plane) = world().await;
        breaks(&plane, "orders:2");
        world.deploy("orders", "orders:1").await;
        plane.fail("observe", BackendErrorKind::Unreachable, 6);
        let failed = world.submit("orders", "orders:2").await;
        works_for(&world, 1).await;
        assert_eq!(plane.called("take back"), 0);
        let store: &dyn Store = &*world.store;
        let removed = store.remove_registry(&id("acme"), &id("images")).await;
        assert!(removed.unwrap());
        if !is_removed {
            let other = Sealer::new(SealingKey::new("other", [8; 32]).unwrap());
            register(store, &other, "images").await;
        }
        works_for(&world, 200).await;
        let failed = world.read(&failed).await;
        assert_eq!(failed.phase, Phase::Failed);
        let last = failed.reasons.last().unwrap();
        assert_eq!(last.code, ReasonCode::TakenBack, "{last}");
        assert!(last.message.contains(why), "{last}");
        let limits = "may be missing or contain the credential of the failed deployment";
        assert!(last.message.contains(limits), "{last}");
        assert_eq!(runs(&plane, &failed), Some(deployed("orders:1")));
        let secret = plane.inner.pulls_with(&failed.target, &pull_secret());
        assert!(secret, "the pull secret stays as it is");
    }
}

/// The pull secret of the registry that [`world`] registers.
fn pull_secret() -> PullSecret {
    let credential = Credential::new("ada", "correct horse").unwrap();
    PullSecret::new(&"registry.example.com".parse().unwrap(), &credential)
}

#[tokio::test(start_paused = true)]
async fn a_newer_deployment_takes_the_place_of_what_is_taken_back() {
    let (world, plane) = world().await;
    breaks(&plane, "orders:1");
    plane.fail("take back", BackendErrorKind::Unreachable, 10_000);
    let failed = world.submit("orders", "orders:1").await;
    works_for(&world, 10).await;
    let ready = world.deploy("orders", "orders:2").await;
    assert_eq!(ready.phase, Phase::Ready);
    assert_eq!(world.read(&failed).await.phase, Phase::Superseded);
    assert_eq!(runs(&plane, &ready), Some(deployed("orders:2")));
}

/// Guards that the release of a dead worker is taken back, also if the next worker did nothing.
#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_has_applied_is_taken_back() {
    let (world, plane) = world().await;
    plane.hang();
    let deployment = world.submit("orders", "orders:1").await;
    works_for(&world, 3).await;
    assert_eq!(runs(&plane, &deployment), Some(deployed("orders:1")));
    assert_eq!(world.read(&deployment).await.phase, Phase::Accepted);

    let unconnected = world.over(HashMap::new(), [service("orders")]);
    works(&unconnected, 120).await;
    let meanwhile = world.read(&deployment).await;
    assert_eq!(codes(&meanwhile), [ReasonCode::BackendUnreachable]);
    assert_eq!(meanwhile.phase, Phase::Progressing, "it may be there");
    works(&unconnected, 779).await;

    // Without this the deployment is found to be ready.
    plane.fail("observe", BackendErrorKind::Unreachable, 10_000);
    world.deployer.work_until_idle().await.unwrap();
    let ended = world.read(&deployment).await;
    assert_eq!(ended.phase, Phase::TimedOut);
    assert_eq!(codes(&ended).last(), Some(&ReasonCode::TakenBack));
    assert_eq!(runs(&plane, &ended), None);
}

/// Guards that a release is taken back that a worker applied after it lost its claim.
#[tokio::test(start_paused = true)]
async fn what_a_worker_applies_after_it_lost_its_claim_is_taken_back() {
    let (world, plane) = world().await;
    let ready = world.deploy("orders", "orders:1").await;
    let release = world.release(&ready).await;
    let promoted = world.deployer.promote(&key("orders"), &id("dev")).await;
    let deployment = promoted.unwrap().deployment;
    let unconnected = world.over(HashMap::new(), [service("orders")]);
    works(&unconnected, 899).await;
    let intent = Intent::new(&deployment.target, deployment.generation, &release);
    plane.inner.apply(&intent).await.unwrap();
    assert_eq!(runs(&plane, &deployment), Some(deployed("orders:1")));

    // After the deadline, because it would become ready in the second before.
    tokio::time::sleep(Duration::from_secs(2)).await;
    plane.fail("observe", BackendErrorKind::Unreachable, 10_000);
    world.deployer.work_until_idle().await.unwrap();
    let ended = world.read(&deployment).await;
    assert_eq!(ended.phase, Phase::TimedOut);
    assert_eq!(runs(&plane, &ended), None);
}
