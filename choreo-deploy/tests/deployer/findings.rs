//! Findings about accepted deployments.

use choreo_deploy::catalog::Plan;
use choreo_deploy::deployer::RollbackRequest;
use choreo_deploy::deployment::{Cause, RequestedImage};
use choreo_deploy::finding::Finding;
use choreo_deploy::intake::Submission;
use choreo_deploy::store::{Accepted, NewRegistry, RegistryStore};
use choreo_deploy::target::DataPlane;
use choreo_deploy::{Deployer, Intake};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::vendor_table::Cloud;

use crate::world::{World, id, key, service, submission};

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn codes(accepted: &Accepted) -> Vec<&'static str> {
    let codes = accepted.findings.iter();
    codes.map(|finding| finding.code.as_str()).collect()
}

async fn deploy(deployer: &Deployer, image: &str) -> Accepted {
    deployer
        .accept(submission("orders", image, Cause::Manual))
        .await
        .unwrap()
}

fn on_unknown_platforms(mut plan: Plan) -> Plan {
    for stage in &mut plan.stages {
        stage.data_plane.platforms.clear();
    }
    plan
}

#[tokio::test(start_paused = true)]
async fn a_registry_of_one_cloud_and_a_data_plane_of_another_are_told() {
    let world = World::new().await;
    let host = "acme.azurecr.io".parse().unwrap();
    let new = NewRegistry::new(
        (id("acme"), id("acr")),
        "ACR",
        host,
        AuthenticationType::Vendor,
    );
    world.store.put_registry(new, None).await.unwrap();
    let mut plan = service("orders");
    plan.component.registry = id("acr");
    let clouds = [Cloud::Azure, Cloud::Aws];
    for (stage, cloud) in plan.stages.iter_mut().zip(clouds) {
        let plane = DataPlane::new(id("eu-1")).on(cloud);
        stage.data_plane = plane.with_platform("linux/amd64".parse().unwrap());
    }
    let deployer = world.with_plans([("eu-1", world.backend.clone())], [plan]);
    let image = |text: String| {
        let image = RequestedImage::new(text.parse().unwrap());
        Submission::new(key("orders"), image, Cause::Manual)
    };
    let by_tag = image("acme.azurecr.io/shop/orders:1".to_owned());
    let accepted = deployer.accept(by_tag.clone()).await.unwrap();
    assert_eq!(codes(&accepted), ["registry-not-checkable"]);
    let by_digest = image(format!("acme.azurecr.io/shop/orders@{DIGEST}"));
    assert_eq!(codes(&deployer.accept(by_digest).await.unwrap()), [""; 0]);
    deployer.work_until_idle().await.unwrap();

    let promoted = deployer.promote(&key("orders"), &id("dev")).await.unwrap();
    deployer.work_until_idle().await.unwrap();
    let said: Vec<_> = promoted.findings.iter().map(Finding::to_string).collect();
    assert_eq!(
        said,
        [
            "warning: data plane eu-1: Azure Container Registry gives access to nodes of azure, and the \
             data plane is of aws: choose basic or docker-config, unless its nodes have a credential \
             provider for azure (data-plane-of-another-cloud)"
        ]
    );
    let to_production = by_tag.to_environment(id("prod"));
    let accepted = deployer.accept(to_production).await.unwrap();
    assert_eq!(
        codes(&accepted),
        ["registry-not-checkable", "data-plane-of-another-cloud"]
    );
    deployer.work_until_idle().await.unwrap();
    let back = RollbackRequest::new(key("orders"), id("prod"));
    let back = deployer.rollback(back).await.unwrap();
    assert_eq!(codes(&back), ["data-plane-of-another-cloud"]);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_and_platforms_that_are_not_known_are_told() {
    let world = World::new().await;
    assert_eq!(codes(&deploy(&world.deployer, "orders:1").await), [""; 0]);
    let latest = deploy(&world.deployer, "orders:latest").await;
    assert_eq!(codes(&latest), ["latest-tag"]);
    let implied = deploy(&world.deployer, "orders").await;
    assert_eq!(codes(&implied), ["latest-implied"]);
    let mut claimed = submission("orders", "orders:latest", Cause::Manual);
    claimed.image.claimed = Some(DIGEST.parse().unwrap());
    let claimed = world.deployer.accept(claimed).await.unwrap();
    assert_eq!(codes(&claimed), [""; 0], "the digest says which");

    let plan = on_unknown_platforms(service("orders"));
    let deployer = world.with_plans([("eu-1", world.backend.clone())], [plan]);
    assert_eq!(
        codes(&deploy(&deployer, "orders:2").await),
        ["platform-unknown"]
    );
}

/// Guards that a duplicate request after a change of the catalog has a finding.
#[tokio::test(start_paused = true)]
async fn the_same_key_after_the_catalog_has_changed_is_told() {
    let world = World::new().await;
    let keyed = || submission("orders", "orders:1", Cause::PushEvent).with_idempotency_key("run-7");
    let first = world.deployer.accept(keyed()).await.unwrap();
    world.deployer.work_until_idle().await.unwrap();
    let again = world.deployer.accept(keyed()).await.unwrap();
    assert_eq!((again.replayed, codes(&again)), (true, vec![]));

    let mut scaled = service("orders");
    scaled.stages[0].settings = scaled.stages[1].settings.clone();
    let mut other = service("orders");
    if let choreo_deploy::Workload::Service(service) = &mut other.workload {
        service.container.args.push("serve".to_owned());
    }
    let mut moved = service("orders");
    moved.stages[0].data_plane.id = id("eu-2");
    for changed in [scaled, other, moved] {
        let deployer = world.with_plans([("eu-1", world.backend.clone())], [changed]);
        let again = deployer.accept(keyed()).await.unwrap();
        assert_eq!(
            again.deployment.id, first.deployment.id,
            "nothing is deployed twice"
        );
        assert_eq!(codes(&again), ["catalog-changed"]);
        assert_eq!(deployer.successor(&again.deployment).await.unwrap(), None);
    }
}
