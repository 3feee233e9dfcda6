//! Tests the deployer without faults.

use crate::world::{World, codes, id, key, reason, submission, target};
use choreo_deploy::Intake;
use choreo_deploy::backend::{DeploymentBackend, Intent};
use choreo_deploy::deployer::{RollbackRequest, RunRequest};
use choreo_deploy::deployment::{Cause, Phase, Provenance, RequestedImage};
use choreo_deploy::intake::{IntakeErrorKind, Submission};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::release::{DigestPin, Pinning, ReleaseDraft, ReleaseImage, ReleaseNumber};
use choreo_deploy::resolver::ResolveError;
use choreo_deploy::run::{RunOverrides, RunPhase};
use choreo_deploy::store::{
    ClaimRequest, DeploymentQuery, DeploymentStore, NewRegistry, Progress, Store, TokenStore,
    WorkStage,
};
use choreo_deploy::token::{TokenDigest, TokenRecord};
use choreo_deploy::workload::{Scaling, Workload};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::{Digest, ImageReference};
use jiff::Timestamp;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn an_image_is_resolved_pinned_and_deployed() {
    let world = World::new().await;
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    let release = world.release(&deployment).await;
    let pin = release.image.pin.as_ref().expect("it is pinned");
    assert_eq!(pin.by, Pinning::Resolved);
    let shown = world.backend.shown(&deployment.target).expect("it runs");
    assert_eq!(
        shown.image.digest(),
        Some(pin.digest.as_borrowed()),
        "what runs is what was hashed"
    );
    assert_eq!(
        shown.image.tag().map(|tag| tag.to_string()),
        None,
        "and nothing by tag"
    );
    assert_eq!(shown.pull, "pull secret for registry.example.com");
    assert_eq!(
        *world.registry.credentials.lock().unwrap(),
        ["ada"],
        "asked with the credential"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_without_its_credential_is_not_asked_as_anybody() {
    let world = World::new().await;
    let store: &dyn Store = &*world.store;
    let id_of_it = (id("acme"), id("images"));
    let host = "registry.example.com".parse().unwrap();
    let registry = NewRegistry::new(id_of_it, "Images", host, AuthenticationType::Basic);
    store.put_registry(registry, Some(1)).await.unwrap();
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(codes(&deployment), [ReasonCode::CredentialUnavailable]);
    assert_eq!(
        deployment.reasons[0].to_string(),
        "registry images has the authentication type basic and no credential: enter the registry's \
         credential, or choose the authentication type public"
    );
    assert_eq!(world.registry.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_a_failed_deployment_with_its_reason() {
    let world = World::new().await;
    world
        .registry
        .will_say(ResolveError::Failed(reason(ReasonCode::ImageNotFound)), 1);
    let deployment = world.deploy("orders", "orders:none").await;
    assert_eq!(
        (deployment.phase, codes(&deployment)),
        (Phase::Failed, vec![ReasonCode::ImageNotFound])
    );
    assert_eq!(
        world.backend.shown(&deployment.target),
        None,
        "nothing was applied"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_is_asked_again() {
    let world = World::new().await;
    let down = ResolveError::TryLater {
        reason: reason(ReasonCode::RegistryUnreachable),
        retry_after: Some(Duration::from_secs(7)),
    };
    world.registry.will_say(down, 3);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.deploy("orders", "orders:1").await.phase, Phase::Ready);
    assert_eq!(world.registry.asked.load(Ordering::SeqCst), 4);
    assert!(
        begun.elapsed() >= Duration::from_secs(21),
        "Retry-After is honoured"
    );
}

#[tokio::test(start_paused = true)]
async fn what_never_gets_ready_times_out_and_says_what_was_the_matter() {
    let world = World::new().await;
    let down = ResolveError::TryLater {
        reason: reason(ReasonCode::RegistryUnreachable),
        retry_after: None,
    };
    world.registry.will_say(down, 10_000);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::TimedOut);
    let expected = [
        ReasonCode::ProgressDeadlineExceeded,
        ReasonCode::RegistryUnreachable,
    ];
    assert_eq!(codes(&deployment), expected);
    let took = deployment
        .changed_at
        .duration_since(deployment.accepted_at)
        .as_secs();
    assert!(
        (900..=905).contains(&took),
        "it ended at its deadline, after {took} s"
    );
    let asked = world.registry.asked.load(Ordering::SeqCst);
    assert!(
        (20..200).contains(&asked),
        "asked with growing pauses, {asked} times"
    );
}

#[tokio::test(start_paused = true)]
async fn the_newest_deployment_wins() {
    let world = World::new().await;
    let first = world.submit("orders", "orders:1").await;
    let second = world.submit("orders", "orders:2").await;
    world.deployer.work_until_idle().await.unwrap();
    let (first, second) = (world.read(&first).await, world.read(&second).await);
    assert_eq!(
        (first.phase, second.phase),
        (Phase::Superseded, Phase::Ready)
    );
    assert_eq!(codes(&first), [ReasonCode::NewerDeployment]);
    let shown = world.backend.shown(&second.target).unwrap();
    let pinned = world.release(&second).await.image.deployed();
    assert_eq!(shown.image, pinned);
}

#[tokio::test(start_paused = true)]
async fn promotion_takes_the_same_release_with_other_settings() {
    let world = World::new().await;
    let nothing = world
        .deployer
        .promote(&key("orders"), &id("dev"))
        .await
        .unwrap_err();
    assert_eq!(nothing.kind(), IntakeErrorKind::NotPossible);
    assert_eq!(
        nothing.to_string(),
        "nothing is ready in acme/shop/orders in dev: deploy there first"
    );

    let development = world.deploy("orders", "orders:1").await;
    let promoted = world
        .deployer
        .promote(&key("orders"), &id("dev"))
        .await
        .unwrap()
        .deployment;
    world.deployer.work_until_idle().await.unwrap();
    let production = world.read(&promoted).await;
    assert_eq!(
        (production.phase, production.cause.clone()),
        (Phase::Ready, Cause::Promotion)
    );
    assert_eq!(production.release, development.release);
    assert_eq!(
        world.registry.asked.load(Ordering::SeqCst),
        1,
        "the image is not resolved again"
    );
    let shown = world.backend.shown(&target("orders", "prod")).unwrap();
    let Workload::Service(service) = shown.workload else {
        panic!("it is a Service")
    };
    assert_eq!(service.scaling, Scaling::fixed(3));

    let last = world
        .deployer
        .promote(&key("orders"), &id("prod"))
        .await
        .unwrap_err();
    assert_eq!(
        last.to_string(),
        "environment prod is the last one: nothing can be promoted from it"
    );
}

#[tokio::test(start_paused = true)]
async fn rollback_brings_the_release_before_back_and_holds() {
    let world = World::new().await;
    let first = world.deploy("orders", "orders:1").await;
    world.deploy("orders", "orders:2").await;
    let request = RollbackRequest::new(key("orders"), id("dev"));
    let rollback = world.deployer.rollback(request).await.unwrap().deployment;
    world.deployer.work_until_idle().await.unwrap();
    let rollback = world.read(&rollback).await;
    assert_eq!(
        (rollback.phase, rollback.release),
        (Phase::Ready, first.release)
    );

    let automatic = || submission("orders", "orders:3", Cause::PushEvent);
    let held = world.deployer.accept(automatic()).await.unwrap_err();
    assert_eq!(held.kind(), IntakeErrorKind::Held);
    assert!(
        world
            .deployer
            .release_hold(&key("orders"), &id("dev"))
            .await
            .unwrap()
    );
    world
        .deployer
        .accept(automatic())
        .await
        .expect("accepts again");

    let never =
        RollbackRequest::new(key("orders"), id("dev")).to_release(ReleaseNumber::new(9).unwrap());
    let error = world.deployer.rollback(never).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "release 9 was never ready in acme/shop/orders in dev"
    );
}

#[tokio::test(start_paused = true)]
async fn rollback_after_a_failure_goes_back_to_what_was_ready() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let second = world.deploy("orders", "orders:2").await;
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 1);
    world.deploy("orders", "orders:3").await;
    let request = RollbackRequest::new(key("orders"), id("dev"));
    let rollback = world.deployer.rollback(request).await.unwrap().deployment;
    assert_eq!(rollback.release, second.release);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_by_its_own_component_alone() {
    let world = World::new().await;
    world.deploy("report", "report:1").await;
    let run = world
        .deployer
        .run_task(RunRequest::new(key("report")))
        .await
        .unwrap();
    let error = world
        .deployer
        .cancel_run(&key("orders"), &run.id)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("component orders has no run {}", run.id)
    );
}

#[tokio::test(start_paused = true)]
async fn what_got_ready_while_nobody_looked_is_ready() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    // It is applied, and then no worker runs until long after its deadline.
    let store: &dyn Store = &*world.store;
    let now = deployment.accepted_at;
    let request = ClaimRequest::new("gone", now, now);
    let claimed = store.claim(&request).await.unwrap();
    let claimed = claimed.into_deployment().expect("it is due");
    let image = ReleaseImage::unpinned("registry.example.com/shop/orders:1".parse().unwrap())
        .pinned(DigestPin::new(Digest::sha256_of(b"1"), Pinning::Resolved));
    let workload = claimed.workload.clone().expect("an image was asked for");
    let draft = ReleaseDraft::new(workload, image);
    let release = store
        .record_release(&claimed.claim, draft, now)
        .await
        .unwrap();
    let intent = Intent::new(&deployment.target, deployment.generation, &release);
    world.backend.apply(&intent).await.unwrap();
    let mut progress = Progress::new(Phase::Progressing, now, now);
    progress.stage = WorkStage::Applied;
    store.put_back(&claimed.claim, progress).await.unwrap();
    tokio::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_read_is_pinned_to_what_runs() {
    let world = World::new().await;
    let here = reason(ReasonCode::RegistryUnreachable);
    world.registry.will_say(ResolveError::NotCheckable(here), 1);
    let asked: ImageReference = "registry.example.com/shop/orders:1".parse().unwrap();
    let running = Digest::sha256_of(b"what the data plane pulled");
    world.backend.report_digest(asked.clone(), running);
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    assert_eq!(
        world.backend.shown(&deployment.target).unwrap().image,
        asked.without_tag().with_digest(running),
        "what was seen behind the tag is applied in its place"
    );
    let pin = world
        .release(&deployment)
        .await
        .image
        .pin
        .expect("pinned afterwards");
    assert_eq!((pin.digest, pin.by), (running, Pinning::Observed));
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_ci_claims_is_what_runs() {
    let world = World::new().await;
    let digest = Digest::sha256_of(b"built by ci");
    let mut submission = submission("orders", "orders:1", Cause::Manual);
    submission.image.claimed = Some(digest);
    let accepted = world.deployer.accept(submission).await.unwrap().deployment;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&accepted).await.phase, Phase::Ready);
    let shown = world.backend.shown(&target("orders", "dev")).unwrap();
    assert_eq!(shown.image.digest(), Some(digest.as_borrowed()));
}

#[tokio::test(start_paused = true)]
async fn an_image_for_another_processor_fails_before_anything_is_applied() {
    let world = World::new().await;
    world
        .registry
        .platforms
        .lock()
        .unwrap()
        .push("linux/arm64".to_owned());
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(codes(&deployment), [ReasonCode::ImagePlatformMismatch]);
    assert_eq!(
        deployment.reasons[0].message,
        "the image is built for linux/arm64 but data plane eu-1 runs linux/amd64"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_rollout_is_a_failed_deployment() {
    let world = World::new().await;
    let reference: ImageReference = "registry.example.com/shop/orders:1".parse().unwrap();
    let digest = Digest::sha256_of(reference.as_str().as_bytes());
    let deployed = reference.without_tag().with_digest(digest);
    world
        .backend
        .fail_image(deployed, reason(ReasonCode::ContainerCrashed));
    let deployment = world.deploy("orders", "orders:1").await;
    assert_eq!(
        (deployment.phase, codes(&deployment)),
        (
            Phase::Failed,
            vec![ReasonCode::ContainerCrashed, ReasonCode::TakenBack]
        )
    );
}

#[tokio::test(start_paused = true)]
async fn refusals_say_what_to_do() {
    let world = World::new().await;
    let refused = async |submission: Submission| {
        let error = world.deployer.accept(submission).await.unwrap_err();
        (error.kind(), error.to_string())
    };
    let elsewhere = RequestedImage::new("ghcr.io/shop/orders:1".parse().unwrap());
    let unknown = submission("orders", "orders:1", Cause::Manual).to_environment(id("staging"));
    let production = submission("orders", "orders:1", Cause::PushEvent).to_environment(id("prod"));
    for (submission, kind, text) in [
        (
            submission("nothing", "orders:1", Cause::Manual),
            IntakeErrorKind::UnknownComponent,
            "component nothing does not exist",
        ),
        (
            Submission::new(key("orders"), elsewhere, Cause::Manual),
            IntakeErrorKind::ImageNotInRegistry,
            "image \"ghcr.io/shop/orders:1\" is not in the component's registry registry.example.com: push it there, or register \"ghcr.io\" and bind the component to it",
        ),
        (
            unknown,
            IntakeErrorKind::UnknownEnvironment,
            "component orders has no environment staging: it has dev, prod",
        ),
        (
            production,
            IntakeErrorKind::NotPossible,
            "environment prod accepts only promotions: deploy to dev and promote from there",
        ),
    ] {
        assert_eq!(refused(submission).await, (kind, text.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_commit_from_ci_deploys_once_and_again_after_a_failure() {
    let world = World::new().await;
    let (now, later) = (
        Timestamp::from_second(1_700_000_000).unwrap(),
        Timestamp::from_second(1_800_000_000).unwrap(),
    );
    let record = TokenRecord::new(
        id("t-1"),
        key("orders"),
        TokenDigest::new([0; 32]),
        (now, later),
    );
    world.store.issue_token(record).await.unwrap();
    let provenance = || Provenance::new(Some("abc123".to_owned()), None);
    let ci =
        || submission("orders", "orders:1", Cause::Ci(id("t-1"))).with_provenance(provenance());
    world
        .registry
        .will_say(ResolveError::Failed(reason(ReasonCode::ImageNotFound)), 1);

    let first = world.deployer.accept(ci()).await.unwrap();
    let again = world.deployer.accept(ci()).await.unwrap();
    assert!(again.replayed && again.deployment.id == first.deployment.id);
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&first.deployment).await.phase, Phase::Failed);

    let retried = world.deployer.accept(ci()).await.unwrap();
    assert!(
        !retried.replayed,
        "a pipeline that is run again wants another attempt"
    );
    let same = world.deployer.accept(ci()).await.unwrap();
    assert_eq!(same.deployment.id, retried.deployment.id);
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&retried.deployment).await.phase, Phase::Ready);
    assert!(world.deployer.accept(ci()).await.unwrap().replayed);

    let moving = || submission("orders", "orders:latest", Cause::Ci(id("t-1")));
    let one = world.deployer.accept(moving()).await.unwrap().deployment.id;
    let other = world.deployer.accept(moving()).await.unwrap().deployment.id;
    assert_ne!(one, other, "a tag without a commit may have moved");
}

#[tokio::test(start_paused = true)]
async fn tasks_are_run_with_what_is_ready() {
    let world = World::new().await;
    let run = || RunRequest::new(key("report"));
    let error = world.deployer.run_task(run()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "target has no ready release: deploy one first"
    );
    world.deploy("report", "report:1").await;
    let overrides = RunOverrides::args(vec!["--all".to_owned()]);
    let good = world
        .deployer
        .run_task(run().with_overrides(overrides))
        .await
        .unwrap();
    world.deployer.work_until_idle().await.unwrap();
    let wait = async |run: &choreo_deploy::run::Run| {
        let waited = world
            .deployer
            .wait_run(&key("report"), &run.id, Duration::from_secs(1))
            .await;
        waited.unwrap().unwrap()
    };
    assert_eq!(
        (wait(&good).await.phase, wait(&good).await.exit_code),
        (RunPhase::Succeeded, Some(0))
    );
    world.backend.fail_run(3);
    let bad = world.deployer.run_task(run()).await.unwrap();
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(
        (wait(&bad).await.phase, wait(&bad).await.exit_code),
        (RunPhase::Failed, Some(3))
    );

    let cancelled = world.deployer.run_task(run()).await.unwrap();
    world
        .deployer
        .cancel_run(&key("report"), &cancelled.id)
        .await
        .unwrap();
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(wait(&cancelled).await.phase, RunPhase::Cancelled);

    let error = world
        .deployer
        .run_task(RunRequest::new(key("orders")))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "component orders is a Service: only tasks can be run"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_runs_next_goes_on() {
    let world = World::new().await;
    let deployment = world.submit("orders", "orders:1").await;
    // The process ends repeatedly at some point.
    for millis in 0..40 {
        let run = world.deployer.run(std::future::pending());
        let _ = tokio::time::timeout(Duration::from_millis(millis), run).await;
    }
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_deployed_is_not_removed() {
    let world = World::new().await;
    let (component, environment) = (key("orders"), id("dev"));
    let removal = world.deployer.remove(&component, &environment);
    let error = removal.await.unwrap_err();
    assert_eq!(error.kind(), IntakeErrorKind::NotPossible);
    assert!(
        error
            .to_string()
            .starts_with("nothing was ever deployed to "),
        "{error}"
    );
    let query = DeploymentQuery::default();
    assert_eq!(world.store.deployments(&query).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn removal_is_a_deployment_too() {
    let world = World::new().await;
    let deployment = world.deploy("orders", "orders:1").await;
    let removal = world
        .deployer
        .remove(&key("orders"), &id("dev"))
        .await
        .unwrap()
        .deployment;
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&removal).await.phase, Phase::Ready);
    assert_eq!(world.backend.shown(&deployment.target), None);
    assert!(
        world
            .deployer
            .promote(&key("orders"), &id("dev"))
            .await
            .is_err(),
        "nothing is ready"
    );
}
