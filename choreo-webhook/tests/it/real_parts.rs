//! Tests the webhook with the deployer and everything in memory.

use std::collections::HashMap;
use std::sync::Arc;

use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::deployer::{Deployer, DeployerParts, RollbackRequest};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::resolver::NeverResolver;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{InMemoryStore, NewRegistry, RegistryStore as _, TokenStore as _};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, ManualTask};
use choreo_deploy::{DeploymentBackend, InMemoryBackend};
use choreo_registry::authentication::AuthenticationType;
use choreo_webhook::token::Lifetime;
use choreo_webhook::{DeployToken, DeployWebhook};
use http::{Request, request};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{Answer, DIGEST};

struct Platform {
    deployer: Deployer,
    store: Arc<InMemoryStore>,
    webhook: DeployWebhook,
    token: DeployToken,
}

fn report_key() -> ComponentKey {
    ComponentKey::new("acme".parse().unwrap(), "report".parse().unwrap())
}

impl Platform {
    async fn new() -> Self {
        let shop = Project::new("acme".parse().unwrap(), "shop".parse().unwrap());
        let registry = "images".parse().unwrap();
        let kind = ComponentType::ManualTask;
        let report = Component::new("report".parse().unwrap(), shop, kind, registry);
        let plane = || "eu-1".parse().unwrap();
        let development = Environment::new("dev".parse().unwrap(), plane());
        let stage = Stage::new(development, DataPlane::new(plane()));
        let plan = Plan::new(report, ManualTask::new()).then(stage);

        let store = Arc::new(InMemoryStore::new());
        let id = ("acme".parse().unwrap(), "images".parse().unwrap());
        let host = "registry.example.com".parse().unwrap();
        let images = NewRegistry::new(id, "Images", host, AuthenticationType::Vendor);
        store.put_registry(images, None).await.unwrap();
        let backend: Arc<dyn DeploymentBackend> = Arc::new(InMemoryBackend::new());
        let deployer = Deployer::new(DeployerParts {
            store: Arc::<InMemoryStore>::clone(&store),
            catalog: Arc::new(StaticCatalog::new([plan])),
            backends: Arc::new(HashMap::from([(plane(), backend)])),
            resolver: Arc::new(NeverResolver),
            sealer: Arc::new(Sealer::new(SealingKey::new("2026-11", [7; 32]).unwrap())),
        });
        let intake = Arc::new(deployer.clone());
        let webhook = DeployWebhook::new(intake, Arc::<InMemoryStore>::clone(&store));
        let now = Timestamp::now();
        let (token, record) = DeployToken::mint(report_key(), Lifetime::DEFAULT, now);
        store.issue_token(record).await.unwrap();
        Self {
            deployer,
            store,
            webhook,
            token,
        }
    }

    async fn send(&self, request: request::Builder, body: &Value) -> Answer {
        let request = request
            .header("authorization", format!("Bearer {}", self.token.expose()))
            .header("content-type", "application/json")
            .body(body.to_string())
            .unwrap();
        Answer::of(self.webhook.clone().oneshot(request).await.unwrap())
    }

    async fn deploy(&self, image: &str, key: &str) -> Answer {
        let request = Request::post("/v1/deployments").header("idempotency-key", key);
        self.send(request, &json!({ "image": image })).await
    }

    async fn follow(&self, accepted: &Answer) -> Value {
        let path = format!("/v1/{}?wait=25", accepted.header("location"));
        self.send(Request::get(path), &Value::Null).await.json()
    }
}

fn image(tag: u8) -> String {
    format!("registry.example.com/shop/report:{tag}@{DIGEST}")
}

#[tokio::test]
async fn an_image_becomes_ready_while_the_client_waits() {
    let platform = Platform::new().await;
    let accepted = platform.deploy(&image(1), "one").await;
    assert_eq!(accepted.status, 202);
    let work = platform.deployer.work_until_idle();
    let (deployment, worked) = tokio::join!(platform.follow(&accepted), work);
    worked.unwrap();
    assert_eq!(deployment["phase"], "ready");
    assert_eq!(deployment["final"], true);
    assert_eq!(deployment["release"], 1);
    assert_eq!(deployment["digest"], DIGEST);
}

#[tokio::test]
async fn the_same_key_is_the_same_deployment() {
    let platform = Platform::new().await;
    let first = platform.deploy(&image(1), "run-7").await;
    let again = platform.deploy(&image(1), "\"run-7\"").await;
    assert_eq!(again.status, 202);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    let other = platform.deploy(&image(2), "run-7").await;
    other.is_problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn a_newer_image_supersedes() {
    let platform = Platform::new().await;
    let older = platform.deploy(&image(1), "one").await;
    let newer = platform.deploy(&image(2), "two").await;
    platform.deployer.work_until_idle().await.unwrap();
    let older = platform.follow(&older).await;
    assert_eq!(older["phase"], "superseded");
    assert_eq!(older["reasons"][0]["code"], "newer-deployment");
    assert_eq!(platform.follow(&newer).await["phase"], "ready");
}

#[tokio::test]
async fn a_rollback_holds_the_target_against_ci() {
    let platform = Platform::new().await;
    for tag in [1, 2] {
        platform.deploy(&image(tag), &format!("key-{tag}")).await;
        platform.deployer.work_until_idle().await.unwrap();
    }
    let back = RollbackRequest::new(report_key(), "dev".parse().unwrap());
    platform.deployer.rollback(back).await.unwrap();
    platform
        .deploy(&image(3), "key-3")
        .await
        .is_problem(409, "held");
}

#[tokio::test]
async fn what_can_be_judged_at_once_is() {
    let platform = Platform::new().await;
    let foreign = platform.deploy("ghcr.io/shop/report:1", "one").await;
    foreign.is_problem(422, "image-not-in-registry");
    // The component of this token is not in the catalog.
    let gone = ComponentKey::new("acme".parse().unwrap(), "gone".parse().unwrap());
    let (token, record) = DeployToken::mint(gone, Lifetime::DEFAULT, Timestamp::now());
    platform.store.issue_token(record).await.unwrap();
    let platform = Platform { token, ..platform };
    platform
        .deploy(&image(1), "one")
        .await
        .is_problem(404, "unknown-component");
}

#[tokio::test]
async fn a_revoked_token_deploys_nothing_from_that_moment_on() {
    let platform = Platform::new().await;
    assert_eq!(platform.deploy(&image(1), "one").await.status, 202);
    platform
        .store
        .revoke_token(&report_key(), platform.token.id(), Timestamp::now())
        .await
        .unwrap();
    platform
        .deploy(&image(2), "two")
        .await
        .is_problem(401, "invalid-token");
}

/// Guards that CI does not receive `ready` for a deployment that no longer runs.
#[tokio::test]
async fn a_replay_says_what_became_of_it_since() {
    let platform = Platform::new().await;
    let work = async || platform.deployer.work_until_idle().await.unwrap();
    let first = platform.deploy(&image(1), "one").await;
    work().await;
    let replayed = async |location: &Answer| {
        let again = platform.deploy(&image(1), "one").await;
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(again.header("location"), location.header("location"));
        let (said, followed) = (again.json(), platform.follow(location).await);
        for member in ["phase", "final", "superseded_by", "reasons"] {
            assert_eq!(said[member], followed[member], "both ways say the same");
        }
        said
    };
    let ready = replayed(&first).await;
    assert_eq!(
        (&ready["phase"], &ready["superseded_by"]),
        (&json!("ready"), &Value::Null)
    );

    let newer = platform.deploy(&image(2), "two").await.json();
    assert_eq!(
        replayed(&first).await["phase"],
        "ready",
        "the newer is on its way"
    );
    work().await;
    let replaced = replayed(&first).await;
    assert_eq!(replaced["phase"], "superseded");
    assert_eq!(replaced["final"], true);
    assert_eq!(replaced["superseded_by"], newer["id"]);
    assert_eq!(replaced["reasons"][0]["code"], "newer-deployment");

    let dev = "dev".parse().unwrap();
    let removal = platform.deployer.remove(&report_key(), &dev).await.unwrap();
    let removal = json!(removal.deployment.id);
    let again = platform.deploy(&image(2), "two").await.json();
    assert_eq!(again["superseded_by"], removal, "it is being removed");
    work().await;
    for (image, key) in [(image(1), "one"), (image(2), "two")] {
        let again = platform.deploy(&image, key).await.json();
        assert_eq!(again["phase"], "superseded");
        assert_eq!(again["superseded_by"], removal);
    }
}

#[tokio::test]
async fn without_a_key_the_answer_is_as_true() {
    let platform = Platform::new().await;
    let body = json!({ "image": image(1), "commit": "4b825dc" });
    let deploy = async || {
        let request = Request::post("/v1/deployments");
        platform.send(request, &body).await
    };
    deploy().await;
    platform.deployer.work_until_idle().await.unwrap();
    assert_eq!(deploy().await.json()["phase"], "ready");
    let dev = "dev".parse().unwrap();
    platform.deployer.remove(&report_key(), &dev).await.unwrap();
    platform.deployer.work_until_idle().await.unwrap();
    let again = deploy().await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json()["phase"], "superseded");
}

#[tokio::test]
async fn doubts_are_in_the_answer() {
    let platform = Platform::new().await;
    let by_digest = platform.deploy(&image(1), "one").await.json();
    let plane = "data plane eu-1 does not declare the platforms of its nodes, so the platforms of the \
                 image are not checked";
    assert_eq!(
        by_digest["findings"],
        json!([{
            "code": "platform-unknown",
            "severity": "info",
            "message": plane,
            "help": "add the platforms to the catalog, such as \"linux/amd64\"",
        }])
    );
    let latest = "registry.example.com/shop/report:latest";
    let latest = platform.deploy(latest, "two").await.json();
    let codes: Vec<_> = latest["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["code"])
        .collect();
    assert_eq!(
        codes,
        ["latest-tag", "registry-not-checkable", "platform-unknown"]
    );
}
