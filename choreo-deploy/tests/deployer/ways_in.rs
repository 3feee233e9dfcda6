//! Deployments, promotions, rollbacks and runs pass the same check, with the same messages.

use choreo_deploy::catalog::Plan;
use choreo_deploy::deployer::{RollbackRequest, RunRequest};
use choreo_deploy::deployment::{Cause, Deployment, Phase, Provenance, Subject};
use choreo_deploy::intake::{IntakeError, IntakeErrorKind};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::release::ReleaseNumber;
use choreo_deploy::resolver::ResolveError;
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{
    ClaimRequest, DeploymentStore, NewDeployment, NewRegistry, Outcome, RegistryStore,
    SettingsChoice, StoredCredential, TargetQuery,
};
use choreo_deploy::workload::{ComponentType, KeyReference, ManualTask, Value, Workload};
use choreo_deploy::{Deployer, Intake};
use choreo_registry::authentication::AuthenticationType;

use crate::world::{World, component, id, key, reason, service, stages, submission, target, task};

/// Returns a service and a task with two releases that were ready in development.
async fn two_releases() -> World {
    let world = World::new().await;
    for name in ["orders", "report"] {
        for tag in 1..=2 {
            let deployment = world.deploy(name, &format!("{name}:{tag}")).await;
            assert_eq!(deployment.phase, Phase::Ready);
        }
    }
    world
}

/// Registers another registry and binds the components to it.
async fn bound_elsewhere(world: &World) -> Deployer {
    let host = "registry.example.org".parse().unwrap();
    let elsewhere = (id("acme"), id("elsewhere"));
    let new = NewRegistry::new(elsewhere, "Elsewhere", host, AuthenticationType::Public);
    world.store.put_registry(new, None).await.unwrap();
    let bound = |mut plan: Plan| {
        plan.component.registry = id("elsewhere");
        plan
    };
    let plane = ("eu-1", world.backend.clone());
    world.with_plans([plane], [bound(service("orders")), bound(task())])
}

async fn unregister(world: &World) {
    let (organization, images) = (id("acme"), id("images"));
    let removed = world.store.remove_registry(&organization, &images).await;
    assert!(removed.unwrap());
}

/// Returns the errors of all requests for a release.
async fn refusals(deployer: &Deployer) -> Vec<IntakeError> {
    let (orders, dev) = (key("orders"), id("dev"));
    let promoted = deployer.promote(&orders, &dev).await;
    let back = RollbackRequest::new(orders, dev);
    let rolled_back = deployer.rollback(back).await;
    let run = deployer.run_task(RunRequest::new(key("report"))).await;
    vec![
        promoted.unwrap_err(),
        rolled_back.unwrap_err(),
        run.unwrap_err(),
    ]
}

/// Guards that an old image is not deployed with the new registry's secret.
#[tokio::test(start_paused = true)]
async fn a_release_of_a_registry_that_is_gone_is_refused_at_once() {
    let world = two_releases().await;
    let deployer = bound_elsewhere(&world).await;
    unregister(&world).await;
    let said = "is from \"registry.example.com\", but the component's registry is now \
                registry.example.org: deploy an image from registry.example.org, or register \
                \"registry.example.com\" again";
    for (error, release) in refusals(&deployer).await.iter().zip([2, 1, 2]) {
        assert_eq!(error.kind(), IntakeErrorKind::ImageNotInRegistry);
        assert_eq!(error.to_string(), format!("release {release} {said}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_keeps_its_registry_while_that_is_registered() {
    let world = two_releases().await;
    let deployer = bound_elsewhere(&world).await;
    let accepted = deployer.promote(&key("orders"), &id("dev")).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    let promoted = world.read(&accepted.deployment).await;
    assert_eq!(promoted.phase, Phase::Ready, "{:?}", promoted.reasons);
    let release = world.release(&promoted).await;
    assert_eq!(release.registry, Some(id("images")));
    let shown = world.backend.shown(&promoted.target).expect("it runs");
    let pull = format!("{:?}", shown.pull);
    assert!(pull.contains("registry.example.com"), "{pull}");
    // A new image must come from the component's present registry.
    let old = submission("orders", "orders:3", Cause::Manual);
    let error = deployer.accept(old).await.unwrap_err();
    assert_eq!(error.kind(), IntakeErrorKind::ImageNotInRegistry);
}

#[tokio::test(start_paused = true)]
async fn without_any_registry_all_ways_in_say_the_same() {
    let world = two_releases().await;
    unregister(&world).await;
    let image = submission("orders", "orders:3", Cause::Manual);
    let deployed = world.deployer.accept(image).await.unwrap_err();
    let said = "registry images of the component is not registered: register it";
    assert_eq!(deployed.to_string(), said);
    for error in refusals(&world.deployer).await {
        assert_eq!(error.to_string(), said);
        assert_eq!(error.kind(), IntakeErrorKind::NotPossible);
    }
}

/// Guards that the release of a Service is not promoted after the component became a Manual Task.
#[tokio::test(start_paused = true)]
async fn a_release_of_another_type_is_refused() {
    let world = two_releases().await;
    let now_a_task = stages(Plan::new(
        component("orders", ComponentType::ManualTask),
        ManualTask::new(),
    ));
    let deployer = world.with_plans([("eu-1", world.backend.clone())], [now_a_task]);
    let (orders, dev) = (key("orders"), id("dev"));
    let promoted = deployer.promote(&orders, &dev).await.unwrap_err();
    let said = "component orders is a Manual Task but release 2 is for a Service: deploy a new one";
    assert_eq!(promoted.to_string(), said);
    let run = deployer.run_task(RunRequest::new(orders.clone())).await;
    assert_eq!(run.unwrap_err().to_string(), said);
    let back = deployer.rollback(RollbackRequest::new(orders, dev)).await;
    assert_eq!(
        back.unwrap_err().to_string(),
        said.replace("release 2", "release 1")
    );
}

/// Guards that no workload continues to run on the old data plane.
#[tokio::test(start_paused = true)]
async fn a_target_that_moves_leaves_its_old_data_plane() {
    let world = two_releases().await;
    let moved = |mut plan: Plan| {
        for stage in &mut plan.stages {
            stage.data_plane.id = id("eu-2");
        }
        plan
    };
    let new_plane = std::sync::Arc::new(choreo_deploy::InMemoryBackend::new());
    let planes = [("eu-1", world.backend.clone()), ("eu-2", new_plane.clone())];
    let deployer = world.with_plans(planes, [moved(service("orders"))]);
    let target = target("orders", "dev");
    assert!(world.backend.shown(&target).is_some());
    let image = submission("orders", "orders:3", Cause::Manual);
    let accepted = deployer.accept(image).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&accepted.deployment).await.phase, Phase::Ready);
    assert!(
        new_plane.shown(&target).is_some(),
        "it runs where it should"
    );
    assert!(world.backend.shown(&target).is_none(), "and nowhere else");
    let state = world.store.target(&target).await.unwrap().unwrap();
    assert_eq!(state.planes, [id("eu-2")].into());
    let moved = world.read(&accepted.deployment).await;
    assert_eq!(
        crate::world::codes(&moved),
        [ReasonCode::Moved],
        "and it says so"
    );
}

/// Guards that a target that left the catalog can be removed.
#[tokio::test(start_paused = true)]
async fn what_left_the_catalog_is_listed_and_removed() {
    let world = two_releases().await;
    let deployer = world.with_plans([("eu-1", world.backend.clone())], []);
    let query = TargetQuery::of_organization(id("acme"));
    let left = world.store.targets(&query).await.unwrap();
    assert_eq!(left.len(), 2);
    for state in left {
        deployer.remove_target(&state.target).await.unwrap();
        deployer.work_until_idle().await.unwrap();
        assert!(world.backend.shown(&state.target).is_none());
        let again = deployer.remove_target(&state.target).await.unwrap_err();
        assert_eq!(again.kind(), IntakeErrorKind::NotPossible);
    }
}

/// Guards that the keys of CI and of people are independent.
#[tokio::test(start_paused = true)]
async fn keys_of_machines_and_people_are_apart() {
    let world = World::new().await;
    let keyed = |image: &str, cause| submission("orders", image, cause).with_idempotency_key("one");
    let theirs = keyed("orders:1", Cause::PushEvent);
    let ours = keyed("orders:2", Cause::Manual);
    world.deployer.accept(theirs).await.unwrap();
    let accepted = world.deployer.accept(ours.clone()).await.unwrap();
    assert!(!accepted.replayed);
    assert!(world.deployer.accept(ours).await.unwrap().replayed);
}

/// Guards that a request after a change of the settings is not a duplicate.
#[tokio::test(start_paused = true)]
async fn the_same_image_with_other_settings_is_no_replay() {
    let world = World::new().await;
    let built = || {
        let commit = Provenance::new(Some("4b825dc".to_owned()), None);
        submission("orders", "orders:1", Cause::PushEvent).with_provenance(commit)
    };
    world.deployer.accept(built()).await.unwrap();
    assert!(world.deployer.accept(built()).await.unwrap().replayed);
    let mut scaled = service("orders");
    scaled.stages[0].settings = scaled.stages[1].settings.clone();
    let deployer = world.with_plans([("eu-1", world.backend.clone())], [scaled]);
    assert!(!deployer.accept(built()).await.unwrap().replayed);
}

/// Guards that a component cannot read the pull secret of another one.
#[tokio::test(start_paused = true)]
async fn no_way_in_shows_a_pull_secret_to_a_component() {
    let world = two_releases().await;
    let pull_secret = || {
        Value::From(KeyReference::Secret {
            name: "billing-b13ce667c30b-pull".to_owned(),
            key: ".dockerconfigjson".to_owned(),
        })
    };
    let login = || "LOGIN".parse().unwrap();
    let said = "variable LOGIN: Secret \"billing-b13ce667c30b-pull\" has the name of a pull secret, \
                which no component may read: make a Secret of another name";
    let mut spying = service("orders");
    for stage in &mut spying.stages {
        stage.settings = stage.settings.clone().with_variable(login(), pull_secret());
    }
    let mut of_workload = task();
    if let Workload::ManualTask(task) = &mut of_workload.workload {
        let variables = &mut task.container.variables;
        variables.insert(login(), pull_secret());
    }
    let planes = [("eu-1", world.backend.clone())];
    let deployer = world.with_plans(planes, [spying, of_workload]);
    let (orders, dev) = (key("orders"), id("dev"));
    for image in ["orders:3", "report:3"] {
        let name = image.split(':').next().unwrap();
        let deployed = deployer
            .accept(submission(name, image, Cause::Manual))
            .await;
        let error = deployed.unwrap_err();
        assert_eq!(error.kind(), IntakeErrorKind::NotPossible);
        assert_eq!(error.to_string(), said);
    }
    let promoted = deployer.promote(&orders, &dev).await.unwrap_err();
    assert_eq!(promoted.to_string(), said);
    // A release from before this rule is rejected too.
    let spied = Settings::default().with_variable(login(), pull_secret());
    let at = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let place = (target("orders", "prod"), id("eu-1"));
    let subject = Subject::Release(ReleaseNumber::FIRST);
    let mut before = NewDeployment::new(id("d-before"), place, subject, (at, at));
    before.settings = SettingsChoice::Now(spied);
    world.store.accept(before).await.unwrap();
    let request = ClaimRequest::new("w", at, at);
    let claimed = world.store.claim(&request).await.unwrap();
    let claimed = claimed.into_deployment().unwrap();
    let outcome = Outcome::new(Phase::Ready, vec![], at);
    world.store.finish(&claimed.claim, outcome).await.unwrap();
    let back = RollbackRequest::new(orders, id("prod")).to_release(ReleaseNumber::FIRST);
    let error = world.deployer.rollback(back).await.unwrap_err();
    assert_eq!(error.to_string(), said);
}

/// The same with a registry that names the Secret.
#[tokio::test(start_paused = true)]
async fn nobody_pulls_with_the_secret_of_another_target() {
    let world = two_releases().await;
    unregister(&world).await;
    let host = "registry.example.com".parse().unwrap();
    let images = (id("acme"), id("images"));
    let secret = StoredCredential::ExistingSecret("billing-b13ce667c30b-pull".to_owned());
    let new = NewRegistry::new(images, "Images", host, AuthenticationType::DockerConfig);
    let stored = world.store.put_registry(new.with_credential(secret), None);
    stored.await.unwrap();
    let said = "registry images: Secret \"billing-b13ce667c30b-pull\" has the name of a pull secret, \
                which no component may read: make a Secret of another name";
    let image = submission("orders", "orders:3", Cause::Manual);
    let deployed = world.deployer.accept(image).await.unwrap_err();
    assert_eq!(deployed.to_string(), said);
    for error in refusals(&world.deployer).await {
        assert_eq!(error.kind(), IntakeErrorKind::NotPossible);
        assert_eq!(error.to_string(), said);
    }
}

/// Guards that a duplicate request does not return `ready` for a deployment that no longer runs.
#[tokio::test(start_paused = true)]
async fn what_is_ready_has_a_successor_once_it_does_not_run() {
    let world = World::new().await;
    let successor = async |deployment: &Deployment| {
        let now = world.read(deployment).await;
        world.deployer.successor(&now).await.unwrap()
    };
    let first = world.deploy("orders", "orders:1").await;
    assert_eq!(successor(&first).await, None);
    let second = world.submit("orders", "orders:2").await;
    assert_eq!(
        successor(&first).await,
        None,
        "it runs until the newer is ready"
    );
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(successor(&first).await, Some(second.id.clone()));
    assert_eq!(successor(&second).await, None);

    world
        .registry
        .will_say(ResolveError::Failed(reason(ReasonCode::ImageNotFound)), 1);
    let failed = world.deploy("orders", "orders:3").await;
    assert_eq!(failed.phase, Phase::Failed);
    assert_eq!(successor(&second).await, None, "nothing took its place");
    assert_eq!(successor(&failed).await, None, "it was never ready");

    let removal = world.deployer.remove(&key("orders"), &id("dev")).await;
    let removal = removal.unwrap().deployment;
    assert_eq!(
        successor(&second).await,
        Some(removal.id.clone()),
        "it is being removed"
    );
    world.deployer.work_until_idle().await.unwrap();
    assert_eq!(successor(&second).await, Some(removal.id.clone()));
    assert_eq!(successor(&removal).await, None, "it is what is");
    world
        .registry
        .will_say(ResolveError::Failed(reason(ReasonCode::ImageNotFound)), 1);
    world.deploy("orders", "orders:3").await;
    assert_eq!(
        successor(&second).await,
        Some(removal.id.clone()),
        "not what failed after it"
    );
    let fourth = world.deploy("orders", "orders:4").await;
    for before in [&first, &second, &removal] {
        assert_eq!(successor(before).await, Some(fourth.id.clone()));
    }
}

/// Guards that a request after a move to another place is not a duplicate.
#[tokio::test(start_paused = true)]
async fn the_same_image_at_another_place_is_no_replay() {
    let world = World::new().await;
    let built = || {
        let commit = Provenance::new(Some("4b825dc".to_owned()), None);
        submission("orders", "orders:1", Cause::PushEvent).with_provenance(commit)
    };
    world.deployer.accept(built()).await.unwrap();
    let mut on_another = service("orders");
    on_another.stages[0].data_plane.id = id("eu-2");
    let mut of_another = service("orders");
    of_another.component.project.id = id("web");
    for moved in [on_another, of_another] {
        let deployer = world.with_plans([("eu-1", world.backend.clone())], [moved]);
        assert!(!deployer.accept(built()).await.unwrap().replayed);
    }
    assert!(world.deployer.accept(built()).await.unwrap().replayed);
}
