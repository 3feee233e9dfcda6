//! Duplicate requests, and the content of requests.

use std::sync::atomic::Ordering;
use std::time::Duration;

use choreo_deploy::Intake;
use choreo_deploy::catalog::Plan;
use choreo_deploy::deployer::{DeployerOptions, RollbackRequest, RunRequest};
use choreo_deploy::deployment::{Cause, Phase, Provenance, RequestedImage};
use choreo_deploy::intake::{IntakeErrorKind, Submission};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::release::Pinning;
use choreo_deploy::resolver::ResolveError;
use choreo_deploy::run::RunPhase;
use choreo_deploy::store::{NewRegistry, RegistryStore, StoredCredential};
use choreo_deploy::workload::{
    ComponentType, ManualTask, ProgressDeadline, RunAs, Scaling, Workload,
};
use choreo_registry::Digest;
use choreo_registry::authentication::AuthenticationType;

use crate::world::{World, component, id, key, reason, service, stages, submission, target};

fn built(commit: &str) -> Submission {
    submission("orders", "orders:1", Cause::PushEvent).with_provenance(of_commit(commit))
}

fn of_commit(commit: &str) -> Provenance {
    Provenance::new(Some(commit.to_owned()), None)
}

fn claiming(mut submission: Submission, bytes: &[u8]) -> Submission {
    submission.image.claimed = Some(Digest::sha256_of(bytes));
    submission
}

/// Guards that a key is rejected for a request that differs in any part.
#[tokio::test(start_paused = true)]
async fn a_key_is_of_one_image_digest_commit_and_environment() {
    let world = World::new().await;
    let keyed = |submission: Submission| submission.with_idempotency_key("run-7");
    let request = || {
        let request = submission("orders", "orders:1", Cause::Manual);
        keyed(claiming(request.with_provenance(of_commit("a")), b"1"))
    };
    let first = world.deployer.accept(request()).await.unwrap();
    let again = world.deployer.accept(request()).await.unwrap();
    assert_eq!(again.deployment.id, first.deployment.id);
    let mut image = request();
    image.image = RequestedImage::new("registry.example.com/shop/orders:2".parse().unwrap());
    for (what, other) in [
        ("image", claiming(image, b"1")),
        ("digest", claiming(request(), b"2")),
        ("commit", request().with_provenance(of_commit("b"))),
        ("environment", request().to_environment(id("prod"))),
    ] {
        let error = world.deployer.accept(other).await.unwrap_err();
        assert_eq!(error.kind(), IntakeErrorKind::KeyReused, "another {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_key_another_digest_or_commit_is_another_request() {
    let world = World::new().await;
    let accept = async |submission| world.deployer.accept(submission).await.unwrap();
    let first = accept(claiming(built("a"), b"1")).await;
    assert!(accept(claiming(built("a"), b"1")).await.replayed);
    assert!(!accept(claiming(built("a"), b"2")).await.replayed);
    assert!(!accept(claiming(built("b"), b"1")).await.replayed);
    let replayed = accept(claiming(built("a"), b"1")).await;
    assert_eq!(replayed.deployment.id, first.deployment.id);
    // A person who repeats a request wants another deployment.
    let by_hand = || submission("orders", "orders:1", Cause::Manual);
    let by_hand = || claiming(by_hand().with_provenance(of_commit("a")), b"1");
    accept(by_hand()).await;
    assert!(!accept(by_hand()).await.replayed);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_counts_for_ten_minutes_and_a_key_for_a_day() {
    let world = World::new().await;
    let accept = async |submission| world.deployer.accept(submission).await.unwrap();
    let keyed = || built("a").with_idempotency_key("run-7");
    let minutes = |minutes: u64| tokio::time::sleep(Duration::from_secs(60 * minutes));
    accept(built("a")).await;
    accept(keyed()).await;
    minutes(9).await;
    assert!(accept(built("a")).await.replayed);
    minutes(2).await;
    assert!(!accept(built("a")).await.replayed);
    minutes(23 * 60).await;
    assert!(accept(keyed()).await.replayed);
    minutes(60).await;
    assert!(!accept(keyed()).await.replayed);
}

/// Guards that a pipeline without a key gets another attempt after a failure, and one with a key the
/// old answer.
#[tokio::test(start_paused = true)]
async fn with_a_key_a_failure_is_the_answer_and_without_one_a_time_out_is_tried_again() {
    let world = World::new().await;
    let keyed = || built("a").with_idempotency_key("run-7");
    let missing = ResolveError::Failed(reason(ReasonCode::ImageNotFound));
    world.registry.will_say(missing, 1);
    let failed = world.deployer.accept(keyed()).await.unwrap().deployment;
    world.deployer.work_until_idle().await.unwrap();
    let again = world.deployer.accept(keyed()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(
        (again.deployment.id, again.deployment.phase),
        (failed.id, Phase::Failed)
    );

    let options = DeployerOptions::default();
    let mut quick = options.clone();
    quick.deployment_deadline = Duration::ZERO;
    quick.repeat_window = options.key_lifetime;
    let deployer = world.deployer.clone().with_options(quick);
    let down = ResolveError::TryLater {
        reason: reason(ReasonCode::RegistryUnreachable),
        retry_after: None,
    };
    world.registry.will_say(down, 10_000);
    let timed_out = deployer.accept(built("b")).await.unwrap().deployment;
    deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&timed_out).await.phase, Phase::TimedOut);
    assert!(!deployer.accept(built("b")).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_brings_the_settings_of_its_time_back() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let mut scaled = service("orders");
    scaled.stages[0].settings = scaled.stages[1].settings.clone();
    let deployer = world.with_plans([("eu-1", world.backend.clone())], [scaled]);
    let copies = || {
        let shown = world.backend.shown(&target("orders", "dev")).unwrap();
        let Workload::Service(service) = shown.workload else {
            panic!("it is a Service")
        };
        service.scaling
    };
    let second = submission("orders", "orders:2", Cause::Manual);
    deployer.accept(second).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    assert_eq!(copies(), Scaling::fixed(3));
    let back = RollbackRequest::new(key("orders"), id("dev"));
    deployer.rollback(back).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    assert_eq!(copies(), Scaling::fixed(1));
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_nothing_to_go_back_to() {
    let world = World::new().await;
    world.deploy("orders", "orders:1").await;
    let image = "registry.example.com/shop/orders:2";
    let deployed = format!(
        "registry.example.com/shop/orders@{}",
        Digest::sha256_of(image.as_bytes())
    );
    let crashed = reason(ReasonCode::ContainerCrashed);
    world.backend.fail_image(deployed.parse().unwrap(), crashed);
    let failed = world.deploy("orders", "orders:2").await;
    assert_eq!(failed.phase, Phase::Failed);
    world.deploy("orders", "orders:3").await;
    let back = RollbackRequest::new(key("orders"), id("dev"));
    let named = back.clone().to_release(failed.release.unwrap());
    let error = world.deployer.rollback(named).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "release 2 was never ready in acme/shop/orders in dev"
    );
    let rollback = world.deployer.rollback(back).await.unwrap().deployment;
    assert_eq!(rollback.release.unwrap().get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_outlasts_the_progress_deadline_of_its_workload() {
    let world = World::new().await;
    let allowed = async |seconds: u32| {
        let mut plan = service("orders");
        let Workload::Service(service) = &mut plan.workload else {
            panic!("it is a Service")
        };
        service.progress_deadline = ProgressDeadline::from_seconds(seconds);
        let deployer = world.with_plans([("eu-1", world.backend.clone())], [plan]);
        let image = submission("orders", "orders:1", Cause::Manual);
        let deployment = deployer.accept(image).await.unwrap().deployment;
        let allowed = deployment.deadline_at;
        allowed.duration_since(deployment.accepted_at).as_secs()
    };
    assert_eq!(allowed(300).await, 15 * 60);
    assert_eq!(allowed(3600).await, 3600 + 5 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_workload_of_another_type_than_its_component_is_refused() {
    let world = World::new().await;
    let wrong = stages(Plan::new(
        component("orders", ComponentType::Service),
        ManualTask::new(),
    ));
    let deployer = world.with_plans([("eu-1", world.backend.clone())], [wrong]);
    let image = submission("orders", "orders:1", Cause::Manual);
    let error = deployer.accept(image).await.unwrap_err();
    assert_eq!(error.kind(), IntakeErrorKind::NotPossible);
    assert_eq!(
        error.to_string(),
        "component orders is a Service but its workload is for a Manual Task: correct the catalog"
    );
}

/// Guards that kubelets find the pull secret by the name of the image.
#[tokio::test(start_paused = true)]
async fn an_image_is_deployed_under_the_name_that_its_registry_has_on_nodes() {
    let world = World::new().await;
    let hub = (id("acme"), id("hub"));
    let host = "docker.io".parse().unwrap();
    let new = NewRegistry::new(hub, "Docker Hub", host, AuthenticationType::Public);
    world.store.put_registry(new, None).await.unwrap();
    let mut plan = service("orders");
    plan.component.registry = id("hub");
    let deployer = world.with_plans([("eu-1", world.backend.clone())], [plan]);
    let written = "registry-1.docker.io/shop/orders:1".parse().unwrap();
    let image = Submission::new(key("orders"), RequestedImage::new(written), Cause::Manual);
    let accepted = deployer.accept(image).await.unwrap().deployment;
    deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&accepted).await.phase, Phase::Ready);
    let shown = world.backend.shown(&accepted.target).unwrap();
    assert_eq!(shown.image.domain(), "docker.io");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_gone_is_told_from_a_request_that_does_not_fit() {
    let world = World::new().await;
    let unknown = submission("orders", "orders:1", Cause::Ci(id("t-gone")));
    let error = world.deployer.accept(unknown).await.unwrap_err();
    assert_eq!(error.kind(), IntakeErrorKind::TokenRefused);
}

/// Guards that an image of a registry that only the data plane can read is deployed as requested.
#[tokio::test(start_paused = true)]
async fn a_registry_that_only_the_data_plane_may_read_is_pulled_from_as_it_is_registered() {
    let existing = StoredCredential::ExistingSecret("team-pull".to_owned());
    let external = StoredCredential::ExternalSecret("vault/team".to_owned());
    for (chosen, credential, pull) in [
        (
            AuthenticationType::Basic,
            existing,
            "existing secret team-pull",
        ),
        (
            AuthenticationType::Basic,
            external,
            "external secret vault/team",
        ),
        (
            AuthenticationType::Vendor,
            StoredCredential::None,
            "node identity",
        ),
        (
            AuthenticationType::Public,
            StoredCredential::None,
            "anonymous",
        ),
    ] {
        let world = World::new().await;
        let host = "registry.example.com".parse().unwrap();
        let registry = NewRegistry::new((id("acme"), id("images")), "Images", host, chosen);
        let registry = registry.with_credential(credential);
        world.store.put_registry(registry, Some(1)).await.unwrap();
        let accepted = world
            .deployer
            .accept(claiming(built("a"), b"1"))
            .await
            .unwrap();
        world.deployer.work_until_idle().await.unwrap();
        let deployment = world.read(&accepted.deployment).await;
        assert_eq!(deployment.phase, Phase::Ready, "{:?}", deployment.reasons);
        let shown = world.backend.shown(&deployment.target).unwrap();
        assert_eq!(shown.pull, pull);
        let pin = world.release(&deployment).await.image.pin.unwrap();
        let public = chosen == AuthenticationType::Public;
        let by = if public {
            Pinning::Resolved
        } else {
            Pinning::Claimed
        };
        assert_eq!((pin.digest, pin.by), (Digest::sha256_of(b"1"), by));
        assert_eq!(
            world.registry.asked.load(Ordering::SeqCst),
            usize::from(public),
            "{pull}: the control plane has no credential of its own"
        );
    }
}

/// Guards that the failure is reported before the kubelet would report it.
#[tokio::test(start_paused = true)]
async fn an_image_whose_user_is_forbidden_fails_before_anything_is_applied() {
    let by_default = |_: &mut Plan| {};
    let without_root = |plan: &mut Plan| plan.stages[0].data_plane.forbids_root = true;
    let with_user = |plan: &mut Plan| {
        plan.stages[0].data_plane.forbids_root = true;
        let Workload::Service(service) = &mut plan.workload else {
            panic!("it is a Service")
        };
        service.container.run_as = Some(RunAs::user(10001.try_into().unwrap()));
    };
    let root = "the image runs as root, which data plane eu-1 forbids";
    let named =
        "the image runs as user \"app\", and data plane eu-1 cannot verify that it is not root";
    type Change = fn(&mut Plan);
    let cases = [
        (Some("0"), without_root as Change, Some(root)),
        (Some(""), without_root, Some(root)),
        (Some("app"), without_root, Some(named)),
        (Some("10001"), without_root, None),
        // The configuration was not read.
        (None, without_root, None),
        (Some("0"), with_user, None),
        (Some("app"), with_user, None),
        (Some("0"), by_default, None),
    ];
    for (user, change, said) in cases {
        let world = World::new().await;
        *world.registry.user.lock().unwrap() = user.map(str::to_owned);
        let mut plan = service("orders");
        change(&mut plan);
        let deployer = world.with_plans([("eu-1", world.backend.clone())], [plan]);
        let image = submission("orders", "orders:1", Cause::Manual);
        let accepted = deployer.accept(image).await.unwrap().deployment;
        deployer.work_until_idle().await.unwrap();
        let deployment = world.read(&accepted).await;
        let reasons = deployment.reasons.iter().map(|reason| &*reason.message);
        assert_eq!(
            reasons.collect::<Vec<_>>(),
            Vec::from_iter(said),
            "{user:?}"
        );
        let runs = world.backend.shown(&deployment.target).is_some();
        assert_eq!(runs, said.is_none(), "{user:?}");
        for reason in &deployment.reasons {
            assert_eq!(reason.code, ReasonCode::RunAsRoot);
        }
    }
}

/// Guards against a panic with a limit that is disabled by a time that never arrives.
#[tokio::test(start_paused = true)]
async fn limits_may_be_as_long_as_time() {
    let mut options = DeployerOptions::default();
    for limit in [
        &mut options.deployment_deadline,
        &mut options.run_grace,
        &mut options.key_lifetime,
        &mut options.repeat_window,
        &mut options.call_timeout,
        &mut options.lease,
        &mut options.poll,
        &mut options.retry_first,
        &mut options.retry_longest,
        &mut options.retry_after_longest,
        &mut options.slow_step,
    ] {
        *limit = Duration::MAX;
    }
    let mut world = World::new().await;
    world.deployer = world.deployer.clone().with_options(options);
    let deployment = world.deploy("report", "report:1").await;
    assert_eq!(deployment.phase, Phase::Ready);
    let request = RunRequest::new(key("report"));
    let run = world.deployer.run_task(request).await.unwrap();
    world.deployer.work_until_idle().await.unwrap();
    let (deployer, owner) = (&world.deployer, key("report"));
    let run = deployer.wait_run(&owner, &run.id, Duration::MAX).await;
    assert_eq!(run.unwrap().unwrap().phase, RunPhase::Succeeded);
    for accepted in [built("a"), built("a").with_idempotency_key("run-7")] {
        deployer.accept(accepted).await.unwrap();
    }
    let removed = deployer.remove_target(&target("report", "dev")).await;
    removed.unwrap();
    deployer.work_until_idle().await.unwrap();
}
