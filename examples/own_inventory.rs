//! An inventory in your own database and your own HTTP API, around the deployer.
//!
//! ```sh
//! cargo run --example own_inventory
//! ```
//!
//! A platform already knows its components and where they run. choreo reads this inventory through the
//! trait [`Catalog`], which this example implements over two tables of SQLite; any database works. The
//! store of choreo is a separate database. Authentication belongs to the platform, so this example
//! leaves it out and takes the organization from the path.

use std::collections::HashMap;
use std::error::Error;
use std::io::{Write as _, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use choreo_deploy::catalog::{Catalog, CatalogError, Plan, Stage};
use choreo_deploy::deployer::{Deployer, DeployerParts};
use choreo_deploy::deployment::{Cause, RequestedImage};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::intake::{IntakeError, IntakeErrorKind, Submission};
use choreo_deploy::resolver::NeverResolver;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{InMemoryStore, NewRegistry, RegistryStore as _};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::Workload;
use choreo_deploy::{DeploymentBackend, InMemoryBackend, Intake as _};
use choreo_registry::authentication::AuthenticationType;
use choreo_webhook::DeployWebhook;
use http_body_util::BodyExt as _;
use rusqlite::{Connection, Row};
use tower::ServiceExt as _;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The platform's existing tables, with a Service in two environments.
const TABLES: &str = r#"
CREATE TABLE components (
    organization TEXT, id TEXT, project TEXT, registry TEXT, workload TEXT,
    PRIMARY KEY (organization, id)
);
CREATE TABLE stages (
    organization TEXT, component TEXT, position INTEGER, environment TEXT, data_plane TEXT, settings TEXT,
    PRIMARY KEY (organization, component, position)
);
INSERT INTO components VALUES ('acme', 'orders', 'shop', 'images',
    '{"type": "service", "endpoints": [{"name": "http", "port": 8080, "protocol": "http"}]}');
INSERT INTO stages VALUES
    ('acme', 'orders', 0, 'development', 'eu-1', '{}'),
    ('acme', 'orders', 1, 'production', 'eu-1', '{"scaling": {"replicas": 3}}');
"#;

/// The platform's inventory.
#[derive(Clone, Debug)]
struct Inventory(Arc<Mutex<Connection>>);

#[async_trait]
impl Catalog for Inventory {
    async fn plan(&self, component: &ComponentKey) -> Result<Option<Plan>, CatalogError> {
        let (inventory, component) = (self.clone(), component.clone());
        // A query blocks, so it runs on a blocking thread.
        tokio::task::spawn_blocking(move || inventory.read(&component))
            .await
            .map_err(CatalogError::new)?
            .map_err(CatalogError::new)
    }
}

impl Inventory {
    fn open() -> Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(TABLES)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn read(&self, key: &ComponentKey) -> Result<Option<Plan>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = (key.organization.as_str(), key.component.as_str());
        let mut components = connection.prepare(
            "SELECT project, registry, workload FROM components WHERE organization = ? AND id = ?",
        )?;
        let Some(row) = components.query(names)?.next()?.map(Texts::of) else {
            return Ok(None);
        };
        let Texts([project, registry, workload]) = row?;
        let workload: Workload = serde_json::from_str(&workload)?;
        let project = Project::new(key.organization.clone(), project.parse()?);
        let component = Component::new(
            key.component.clone(),
            project,
            workload.component_type(),
            registry.parse()?,
        );
        let mut stages = connection.prepare(
            "SELECT environment, data_plane, settings FROM stages
             WHERE organization = ? AND component = ? ORDER BY position",
        )?;
        let stages = stages.query_map(names, Texts::of)?;
        stages
            .map(|row| stage(&row?))
            .try_fold(Plan::new(component, workload), |plan, stage| {
                Ok(plan.then(stage?))
            })
            .map(Some)
    }
}

/// The first three columns of a row.
struct Texts([String; 3]);

impl Texts {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self([row.get(0)?, row.get(1)?, row.get(2)?]))
    }
}

fn stage(Texts([environment, data_plane, settings]): &Texts) -> Result<Stage> {
    let environment = Environment::new(environment.parse()?, data_plane.parse()?);
    let settings: Settings = serde_json::from_str(settings)?;
    Ok(Stage::new(environment, DataPlane::new(data_plane.parse()?)).with_settings(settings))
}

/// Returns the platform's own API, with the webhook for CI beside it.
fn platform(deployer: Deployer, webhook: DeployWebhook) -> Router {
    Router::new()
        .route(
            "/organizations/{organization}/components/{component}/deploy",
            post(deploy),
        )
        .with_state(deployer)
        .nest_service("/hooks", webhook)
}

/// Deploys the image in the body, waits for the outcome, and returns it.
async fn deploy(
    State(deployer): State<Deployer>,
    Path((organization, component)): Path<(String, String)>,
    image: String,
) -> Result<String, Failure> {
    let (Ok(organization), Ok(component), Ok(image)) =
        (organization.parse(), component.parse(), image.parse())
    else {
        return Err(Failure(
            StatusCode::BAD_REQUEST,
            "an id or the image is not valid".into(),
        ));
    };
    let component = ComponentKey::new(organization, component);
    let submission = Submission::new(component.clone(), RequestedImage::new(image), Cause::Manual);
    let accepted = deployer.accept(submission).await?;
    let id = accepted.deployment.id;
    let ended = deployer
        .wait(&component, &id, Duration::from_secs(25))
        .await?;
    Ok(ended.map_or_else(
        || "removed meanwhile".to_owned(),
        |ended| ended.phase.to_string(),
    ))
}

/// The status and the message of a rejected request.
struct Failure(StatusCode, String);

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Self {
        let status = match error.kind() {
            IntakeErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Arc::new(InMemoryStore::new());
    let id = ("acme".parse()?, "images".parse()?);
    let host = "registry.example.com".parse()?;
    let images = NewRegistry::new(id, "Images", host, AuthenticationType::Public);
    store.put_registry(images, None).await?;

    let data_plane: Arc<dyn DeploymentBackend> = Arc::new(InMemoryBackend::new());
    let deployer = Deployer::new(DeployerParts {
        store: Arc::<InMemoryStore>::clone(&store),
        catalog: Arc::new(Inventory::open()?),
        backends: Arc::new(HashMap::from([("eu-1".parse()?, data_plane)])),
        resolver: Arc::new(NeverResolver),
        sealer: Arc::new(Sealer::new(SealingKey::new("example", [7; 32])?)),
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = deployer.clone();
    let worker = tokio::spawn(async move {
        worker
            .run(async { stopped.await.unwrap_or_default() })
            .await;
    });

    let router = platform(
        deployer.clone(),
        DeployWebhook::new(Arc::new(deployer), store),
    );
    for (path, image, expected) in [
        (
            "acme/components/orders",
            "registry.example.com/shop/orders:1.0",
            "ready",
        ),
        (
            "acme/components/orders",
            "ghcr.io/elsewhere/orders:1.0",
            "not in the component's registry",
        ),
        (
            "globex/components/orders",
            "registry.example.com/shop/orders:1.0",
            "does not exist",
        ),
    ] {
        let request =
            Request::post(format!("/organizations/{path}/deploy")).body(Body::from(image))?;
        let response = router.clone().oneshot(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body);
        writeln!(stdout(), "{path} {image}: {status}, {body}")?;
        assert!(body.contains(expected), "{body}");
    }
    drop(stop);
    worker.await?;
    writeln!(stdout(), "own_inventory: ok")?;
    Ok(())
}
