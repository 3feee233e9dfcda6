//! A tour of the product on this machine: from registering a registry to a rollback with a hold.
//!
//! Starts a container registry with a password on loopback, and around it the parts of a control
//! plane: a durable store, a data plane (in memory here), the deployer and the webhook. Then it acts as
//! a developer, a CI system and an operator, and prints the result of each step.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! The last line is `quickstart: ok`. If a step has an unexpected result, the exit status is 1.
#![expect(
    clippy::print_stdout,
    reason = "the tour is printed to standard output"
)]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::deployer::{DeployerParts, RollbackRequest};
use choreo_deploy::deployment::Phase;
use choreo_deploy::id::ComponentKey;
use choreo_deploy::release::ReleaseNumber;
use choreo_deploy::resolver::ClientResolver;
use choreo_deploy::sealer::{Sealer, SealingContext, SealingKey};
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{
    DeploymentQuery, DeploymentStore, NewRegistry, RegistryStore, StoredCredential, TokenStore,
};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, Endpoint, Protocol, Scaling, Service};
use choreo_deploy::{Deployer, DeploymentBackend, InMemoryBackend, Intake, Target};
use choreo_deploy_sqlite::SqliteStore;
use choreo_registry::pull_secret::SecretMetadata;
use choreo_registry::{Authentication, ContainerRegistry, Credential, PullSecret, RegistryHost};
use choreo_registry_client::{
    AccessClass, RegistryClient,
    egress::Egress,
    transport::{HttpTransport, ReqwestTransport},
};
use choreo_test_registry::{Image, TestRegistry, User};
use choreo_webhook::token::Lifetime;
use choreo_webhook::{DeployToken, DeployWebhook};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The registry's password. It appears in neither the output nor the log.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Prints a line of the tour. Logs it too, because a test searches the log for secrets.
macro_rules! say {
    ($($line:tt)*) => {
        say(format_args!($($line)*))
    };
}

#[tokio::main]
async fn main() -> Result {
    tour().await
}

/// Runs the complete tour.
pub(crate) async fn tour() -> Result {
    step("Start a container registry with a password");
    let registry = start_registry().await?;
    let host: RegistryHost = registry.host().parse()?;

    step("Register the registry");
    let registered = register(&host)?;

    step("Verify the registry");
    let transport = transport(&host)?;
    verify(&host, &transport).await?;

    step("Start a control plane");
    let directory = tempfile::tempdir()?;
    let plane = ControlPlane::start(directory.path(), &registered, transport).await?;

    step("Create a deploy token for CI");
    let ci = plane.mint_token().await?;

    step("CI deploys the first image");
    let first = ci.deploy(&format!("{host}/shop/orders:1.0")).await?;
    expect(first["phase"] == "ready", "the first image is ready")?;
    show_target(&plane, "development")?;
    show_pull_secret(&registered)?;

    step("CI deploys the second image");
    let second = ci.deploy(&format!("{host}/shop/orders:1.1")).await?;
    expect(second["phase"] == "ready", "the second image is ready")?;

    step("Failures say why");
    mistakes(&ci, &host).await?;

    step("Promote to production");
    plane.promote().await?;

    step("Roll back and hold the target");
    plane.roll_back_and_hold(&ci, &host).await?;

    step("Stop");
    plane.stop().await?;
    registry.shutdown().await;

    say!("\nquickstart: ok");
    Ok(())
}

/// Starts a registry on loopback, with one user and one small image under two tags.
async fn start_registry() -> Result<TestRegistry> {
    let registry = TestRegistry::builder()
        .basic()
        .user(User::new("ada", PASSWORD))
        .start()
        .await?;
    for version in ["1.0", "1.1"] {
        let image = Image::builder()
            .user("10001")
            .label("version", version)
            .build();
        let digest = registry.push("shop/orders", version, &image)?;
        say!("  pushed {}/shop/orders:{version}", registry.host());
        say!("         {digest}");
    }
    Ok(registry)
}

/// Checks the input of a user before anything is stored.
fn register(host: &RegistryHost) -> Result<ContainerRegistry> {
    let leaked = "https://ada:secret@registry.example.com".parse::<RegistryHost>();
    say!("  rejected: {}", rejection(leaked)?);
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com".parse()?;
    let wrong_user = ContainerRegistry::new("ECR", ecr, Authentication::basic("ada", "x")?);
    say!("  rejected: {}", rejection(wrong_user)?);

    let authentication = Authentication::basic("ada", PASSWORD)?;
    let registry = ContainerRegistry::new("Images of the shop", host.clone(), authentication)?;
    say!(
        "  registered {:?} at {}, authentication type {}",
        registry.display_name(),
        registry.host(),
        registry.authentication_type(),
    );
    for finding in registry.findings() {
        say!(
            "  {} {}: {}",
            finding.severity(),
            finding.code(),
            finding.message()
        );
    }
    Ok(registry)
}

/// Creates the transport to registries. By default it connects to public addresses only, and only over
/// `https`; here the operator allows the registry on loopback.
fn transport(host: &RegistryHost) -> Result<Arc<dyn HttpTransport>> {
    let egress = Egress::operator()
        .allow_network("127.0.0.0/8".parse()?)
        .allow_plain_http(host.clone());
    Ok(Arc::new(ReqwestTransport::new(egress)?))
}

/// Checks three logins against the real registry: a wrong password, a missing tag, and a valid pull.
async fn verify(host: &RegistryHost, transport: &Arc<dyn HttpTransport>) -> Result {
    for (password, tag, expected) in [
        ("guessed", "1.0", AccessClass::CredentialRefused),
        (PASSWORD, "9.9", AccessClass::MissingOrHidden),
        (PASSWORD, "1.0", AccessClass::PullAllowed),
    ] {
        let credential = Credential::new("ada", password)?;
        let client = RegistryClient::new(host.clone(), Some(credential), Arc::clone(transport));
        let access = client
            .verify(Some(&format!("{host}/shop/orders:{tag}").parse()?))
            .await;
        say!("  {}", access.message());
        if let Some(help) = access.help() {
            say!("      {help}");
        }
        expect(
            access.class() == expected,
            "the registry gives the expected answer",
        )?;
    }
    Ok(())
}

/// The parts that a platform team runs.
struct ControlPlane {
    deployer: Deployer,
    backend: Arc<InMemoryBackend>,
    store: Arc<SqliteStore>,
    address: SocketAddr,
    working: tokio::task::JoinHandle<()>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl ControlPlane {
    async fn start(
        directory: &Path,
        registered: &ContainerRegistry,
        transport: Arc<dyn HttpTransport>,
    ) -> Result<Self> {
        let file = directory.join("choreo.db");
        let store = Arc::new(SqliteStore::open(&file).await?);
        say!("  store: SQLite, in a temporary directory");

        // The credential is sealed for its organization, registry and host before it is stored.
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let sealer = Sealer::new(SealingKey::new("quickstart", key)?);
        store
            .put_registry(sealed(&sealer, registered)?, None)
            .await?;
        say!("  registry's credential: stored sealed (XChaCha20-Poly1305)");

        let backend = Arc::new(InMemoryBackend::new());
        let data_plane: Arc<dyn DeploymentBackend> = Arc::<InMemoryBackend>::clone(&backend);
        say!("  data plane: in memory; choreo-deploy-kubernetes is the backend for clusters");
        let deployer = Deployer::new(DeployerParts {
            store: Arc::<SqliteStore>::clone(&store),
            catalog: Arc::new(StaticCatalog::new([plan()?])),
            backends: Arc::new(HashMap::from([("eu-1".parse()?, data_plane)])),
            resolver: Arc::new(ClientResolver::new(transport)),
            sealer: Arc::new(sealer),
        });

        let (stop, stopped) = tokio::sync::oneshot::channel();
        let worker = deployer.clone();
        let working = tokio::spawn(async move {
            worker
                .run(async { stopped.await.unwrap_or_default() })
                .await;
        });
        let tokens: Arc<dyn TokenStore> = Arc::<SqliteStore>::clone(&store);
        let webhook = DeployWebhook::new(Arc::new(deployer.clone()), tokens);
        let address = serve(webhook).await?;
        say!("  webhook: http://{address}/v1/deployments");
        Ok(Self {
            deployer,
            backend,
            store,
            address,
            working,
            stop,
        })
    }

    /// Creates a token that can deploy one component only. The store contains just its digest.
    async fn mint_token(&self) -> Result<Ci> {
        let now = jiff::Timestamp::now();
        let (token, record) = DeployToken::mint(orders()?, Lifetime::DEFAULT, now);
        self.store.issue_token(record).await?;
        say!(
            "  token {} for the component orders, valid for 90 days; its text is shown once",
            token.id()
        );
        Ok(Ci {
            address: self.address,
            token: token.expose().to_owned(),
        })
    }

    async fn promote(&self) -> Result {
        let accepted = self
            .deployer
            .promote(&orders()?, &"development".parse()?)
            .await?;
        let deployment = self.follow(&accepted.deployment.id).await?;
        expect(deployment.phase == Phase::Ready, "the promotion is ready")?;
        say!("  the same release, with production's settings:");
        show_target(self, "production")
    }

    async fn roll_back_and_hold(&self, ci: &Ci, host: &RegistryHost) -> Result {
        let (component, environment) = (orders()?, "development".parse()?);
        let request = RollbackRequest::new(orders()?, "development".parse()?)
            .to_release(ReleaseNumber::FIRST);
        let accepted = self.deployer.rollback(request).await?;
        let deployment = self.follow(&accepted.deployment.id).await?;
        expect(deployment.phase == Phase::Ready, "the rollback is ready")?;
        show_target(self, "development")?;

        let (status, problem) = ci
            .post(&json!({"image": format!("{host}/shop/orders:1.1")}))
            .await?;
        say!("  CI tries again: {status}, {}", text(&problem["detail"]));
        expect(
            status == StatusCode::CONFLICT,
            "CI cannot deploy to a held target",
        )?;

        self.deployer.release_hold(&component, &environment).await?;
        say!("  an operator releases the hold");
        let deployment = ci.deploy(&format!("{host}/shop/orders:1.1")).await?;
        expect(deployment["phase"] == "ready", "CI deploys again")
    }

    /// Waits until a deployment has ended, and returns it.
    async fn follow(
        &self,
        id: &choreo_deploy::id::DeploymentId,
    ) -> Result<choreo_deploy::deployment::Deployment> {
        let patience = std::time::Duration::from_secs(30);
        let ended = self.deployer.wait(&orders()?, id, patience).await?;
        let deployment = ended.ok_or("the deployment is stored")?;
        say!(
            "  {} ({}): {}",
            deployment.id,
            deployment.cause,
            deployment.phase
        );
        Ok(deployment)
    }

    /// Stops the worker, and shows that the history is stored.
    async fn stop(self) -> Result {
        let _ = self.stop.send(());
        self.working.await?;
        let deployments = self.store.deployments(&DeploymentQuery::default()).await?;
        say!(
            "  the worker has stopped; the store contains {} deployments, newest first:",
            deployments.len()
        );
        for deployment in &deployments {
            let environment = &deployment.target.environment;
            say!(
                "    {} {environment}: {}",
                deployment.cause,
                deployment.phase
            );
        }
        expect(deployments.len() == 6, "each deployment is stored")
    }
}

/// Returns the key of the component `orders`.
fn orders() -> Result<ComponentKey> {
    Ok(ComponentKey::new("acme".parse()?, "orders".parse()?))
}

/// Returns the plan of the component `orders`: a Service in development and production.
fn plan() -> Result<Plan> {
    let shop = Project::new("acme".parse()?, "shop".parse()?);
    let orders = Component::new(
        "orders".parse()?,
        shop,
        ComponentType::Service,
        "images".parse()?,
    );
    let http = Endpoint::new("http".parse()?, 8080.try_into()?, Protocol::Http);
    let data_plane = DataPlane::new("eu-1".parse()?).with_platform("linux/amd64".parse()?);
    let development = Environment::new("development".parse()?, "eu-1".parse()?);
    let production = Environment::new("production".parse()?, "eu-1".parse()?).production();
    let three = Settings::default().with_scaling(Scaling::fixed(3));
    Ok(Plan::new(orders, Service::new(http.into()))
        .then(Stage::new(development, data_plane.clone()))
        .then(Stage::new(production, data_plane).with_settings(three)))
}

/// Seals the registry's credential, which can only be opened for this organization and host.
fn sealed(sealer: &Sealer, registry: &ContainerRegistry) -> Result<NewRegistry> {
    let (organization, id) = ("acme".parse()?, "images".parse()?);
    let context = SealingContext::new(&organization, &id, registry.host());
    let credential = registry
        .credential()
        .ok_or("the registry has a credential")?;
    let credential = StoredCredential::Sealed(sealer.seal(credential, &context)?);
    let (host, authentication) = (registry.host().clone(), registry.authentication_type());
    let place = (organization, id);
    let registered = NewRegistry::new(place, registry.display_name(), host, authentication);
    Ok(registered.with_credential(credential))
}

/// Serves the webhook on loopback, and returns its address.
async fn serve(webhook: DeployWebhook) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(webhook.clone());
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

/// A CI system, which has an address and a token.
struct Ci {
    address: SocketAddr,
    token: String,
}

impl Ci {
    /// Deploys an image and waits for the outcome, as the snippets do.
    async fn deploy(&self, image: &str) -> Result<Value> {
        let (status, accepted) = self.post(&json!({ "image": image })).await?;
        say!("  POST {image}: {status}");
        expect(
            status == StatusCode::ACCEPTED,
            "the webhook accepts the image",
        )?;
        let path = format!("/v1/deployments/{}?wait=25", text(&accepted["id"]));
        let (_, deployment) = self.send(Method::GET, &path, &Value::Null).await?;
        say!(
            "  {}: {}",
            text(&deployment["id"]),
            text(&deployment["phase"])
        );
        Ok(deployment)
    }

    async fn post(&self, body: &Value) -> Result<(StatusCode, Value)> {
        self.send(Method::POST, "/v1/deployments", body).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it connects to its own webhook on loopback, not to a host that a user entered"
    )]
    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body)?))
    }
}

/// Tries a wrong token, an image of another registry, and a missing tag.
async fn mistakes(ci: &Ci, host: &RegistryHost) -> Result {
    let image = json!({"image": format!("{host}/shop/orders:1.0")});
    let stranger = Ci {
        token: "guessed".to_owned(),
        ..*ci
    };
    let (status, problem) = stranger.post(&image).await?;
    say!("  a wrong token: {status}, {}", text(&problem["detail"]));
    expect(
        status == StatusCode::UNAUTHORIZED,
        "a wrong token is rejected",
    )?;

    let (status, problem) = ci
        .post(&json!({"image": "ghcr.io/elsewhere/orders:1.0"}))
        .await?;
    say!(
        "  an image of another registry: {status}, {}",
        text(&problem["detail"])
    );
    expect(
        status == StatusCode::UNPROCESSABLE_ENTITY,
        "the image must be in the component's registry",
    )?;

    let deployment = ci.deploy(&format!("{host}/shop/orders:9.9")).await?;
    let reason = &deployment["reasons"][0];
    say!("  {}: {}", text(&reason["code"]), text(&reason["message"]));
    say!("      {}", text(&reason["help"]));
    expect(
        reason["code"] == "image-not-found",
        "a missing tag is a failed deployment",
    )
}

/// Prints the state of a target on the data plane.
fn show_target(plane: &ControlPlane, environment: &str) -> Result {
    let target = Target::new(
        "acme".parse()?,
        "shop".parse()?,
        "orders".parse()?,
        environment.parse()?,
    );
    let shown = plane
        .backend
        .shown(&target)
        .ok_or("expected that the target is deployed")?;
    say!("  in {environment}: {shown}");
    let workload = serde_json::to_value(&shown.workload)?;
    say!(
        "      endpoints {}, scaling {}",
        workload["endpoints"],
        workload["scaling"]
    );
    expect(
        shown.image.digest().is_some(),
        "the deployed image is pinned to a digest",
    )
}

/// Prints the pull secret of the data plane, redacted.
fn show_pull_secret(registry: &ContainerRegistry) -> Result {
    let secret = PullSecret::for_registry(registry)?;
    let metadata = SecretMetadata::new("orders-pull")?.with_namespace("shop-development")?;
    let manifest = serde_json::to_string_pretty(&secret.redacted_manifest(&metadata))?;
    say!("  its pull secret, redacted:");
    for line in manifest.lines() {
        say!("    {line}");
    }
    expect(
        !manifest.contains(PASSWORD),
        "the output contains no secret",
    )
}

fn say(line: std::fmt::Arguments<'_>) {
    println!("{line}");
    tracing::info!("{line}");
}

fn step(title: &str) {
    say!("\n{title}");
}

fn rejection<T>(result: std::result::Result<T, impl Error>) -> Result<String> {
    match result {
        Ok(_) => Err("expected that the input is rejected".into()),
        Err(error) => Ok(error.to_string()),
    }
}

fn expect(is_met: bool, expectation: &str) -> Result {
    if is_met {
        Ok(())
    } else {
        Err(format!("expected that {expectation}").into())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
