//! The orchestration of accepted deployments until their targets are ready.

mod abnormal;
mod admission;
mod findings;
mod fit;
mod follow;
mod halt;
mod health;
mod intake;
mod jumps;
mod last_look;
mod logs;
mod options;
mod orphans;
mod places;
mod plans;
mod promotion;
mod reach;
mod refusal;
mod request;
mod resolve;
mod retry;
mod run_step;
mod slots;
mod source;
mod step;
mod take_back;
mod tasks;
mod worker;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::backend::Backends;
use crate::catalog::Catalog;
use choreo_registry::RegistryHost;
use choreo_registry::vendor_table::VendorTable;
use tokio::sync::Semaphore;

use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::id::DataPlaneId;
use crate::resolver::ImageResolver;
use crate::sealer::Sealer;
use crate::store::Store;

use self::health::Health;
use self::jumps::Jumps;

pub use self::options::DeployerOptions;
pub use self::orphans::{Orphan, OrphanReason, Orphans};
pub use self::request::{RollbackRequest, RunRequest};

/// Accepts deployments, applies them to data planes, and follows them to their end.
///
/// It accepts through [`Intake`](crate::Intake) and its own methods, and works while
/// [`run`](Self::run) runs. Accepted deployments are in the store, so the process may end at any
/// time: the next process continues. Clones are cheap and share their state.
///
/// - The newest deployment of a target wins, and one at a time rolls out to it.
/// - Targets do not wait for each other, and a data plane that does not answer delays no other.
/// - Only transient failures are retried, with jitter and until the deadline.
/// - Every deployment ends as ready, failed, superseded or timed out, with its reasons.
///
/// It never pulls an image, and it drops each credential at the end of the step that needs it.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
///
/// use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
/// use choreo_deploy::deployer::{Deployer, DeployerParts};
/// use choreo_deploy::deployment::{Cause, Phase, RequestedImage};
/// use choreo_deploy::id::ComponentKey;
/// use choreo_deploy::intake::Submission;
/// use choreo_deploy::resolver::NeverResolver;
/// use choreo_deploy::sealer::{Sealer, SealingKey};
/// use choreo_deploy::store::{InMemoryStore, NewRegistry, RegistryStore};
/// use choreo_deploy::target::{Component, DataPlane, Environment, Project};
/// use choreo_deploy::workload::{ComponentType, ManualTask};
/// use choreo_deploy::{DeploymentBackend, InMemoryBackend, Intake};
/// use choreo_registry::authentication::AuthenticationType;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shop = Project::new("acme".parse()?, "shop".parse()?);
/// let component = Component::new("report".parse()?, shop, ComponentType::ManualTask, "images".parse()?);
/// let development = Environment::new("dev".parse()?, "eu-1".parse()?);
/// let plan = Plan::new(component, ManualTask::new())
///     .then(Stage::new(development, DataPlane::new("eu-1".parse()?)));
///
/// let store = Arc::new(InMemoryStore::new());
/// let id = ("acme".parse()?, "images".parse()?);
/// let host = "registry.example.com".parse()?;
/// let images = NewRegistry::new(id, "Images", host, AuthenticationType::Vendor);
/// store.put_registry(images, None).await?;
///
/// let backend: Arc<dyn DeploymentBackend> = Arc::new(InMemoryBackend::new());
/// let deployer = Deployer::new(DeployerParts {
///     store,
///     catalog: Arc::new(StaticCatalog::new([plan])),
///     backends: Arc::new(HashMap::from([("eu-1".parse()?, backend)])),
///     resolver: Arc::new(NeverResolver),
///     sealer: Arc::new(Sealer::new(SealingKey::new("2026-11", [7; 32])?)),
/// });
///
/// let digest = format!("registry.example.com/report@sha256:{}", "0".repeat(64));
/// let image = RequestedImage::new(digest.parse()?);
/// let report = ComponentKey::new("acme".parse()?, "report".parse()?);
/// let accepted = deployer.accept(Submission::new(report.clone(), image, Cause::Manual)).await?;
/// deployer.work_until_idle().await?;
///
/// let deployment = deployer.get(&report, &accepted.deployment.id).await?;
/// assert_eq!(deployment.expect("it is stored").phase, Phase::Ready);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Deployer {
    parts: DeployerParts,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    options: Arc<DeployerOptions>,
    jumps: Arc<Jumps>,
    planes: Arc<Health<DataPlaneId>>,
    registries: Arc<Health<RegistryHost>>,
    vendors: Arc<VendorTable>,
}

/// The parts of a [`Deployer`].
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a new part is a decision that every embedder takes"
)]
pub struct DeployerParts {
    /// The store of all records.
    pub store: Arc<dyn Store>,
    /// The components and their environments.
    pub catalog: Arc<dyn Catalog>,
    /// The data planes by the id in [`Stage`](crate::catalog::Stage). A deployment retries one that is
    /// missing until its deadline.
    pub backends: Arc<dyn Backends>,
    /// Resolves images at their registries.
    pub resolver: Arc<dyn ImageResolver>,
    /// Opens stored credentials.
    pub sealer: Arc<Sealer>,
}

impl Deployer {
    /// Creates a deployer from its parts, with the system clock and default
    /// [options](DeployerOptions).
    #[must_use]
    pub fn new(parts: DeployerParts) -> Self {
        let options = DeployerOptions::default();
        Self {
            parts,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            jumps: Arc::default(),
            planes: Arc::new(Health::new(Semaphore::MAX_PERMITS)),
            registries: Arc::new(Health::new(options.calls_per_registry.get())),
            options: Arc::new(options),
            vendors: Arc::new(VendorTable::built_in()),
        }
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(self, options: DeployerOptions) -> Self {
        Self {
            registries: Arc::new(Health::new(options.calls_per_registry.get())),
            options: Arc::new(options),
            ..self
        }
    }

    /// Sets the table of vendors, which [findings](crate::finding) about registries come from.
    #[must_use]
    pub fn with_vendors(self, vendors: VendorTable) -> Self {
        Self {
            vendors: Arc::new(vendors),
            ..self
        }
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            jumps: Arc::default(),
            ..self
        }
    }

    /// Sets the source of ids and jitter.
    #[must_use]
    pub fn with_entropy(self, entropy: impl Entropy) -> Self {
        Self {
            entropy: Arc::new(entropy),
            ..self
        }
    }

    /// Works until `shutdown` is ready, then finishes the current steps and returns.
    ///
    /// Steps are short, because no step waits for a rollout. Still, put a timeout around this call: the
    /// next process continues the steps that it drops.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        worker::run(self, shutdown).await;
    }

    /// Works until every deployment and run has ended. It is meant for tests and for command-line tools.
    ///
    /// It waits for retries, so up to the deadline of a deployment, which is 15 minutes by default. Put
    /// a timeout around it, and read the reasons of the deployments that are still open.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store.
    pub async fn work_until_idle(&self) -> Result<(), crate::store::StoreError> {
        worker::run_until_idle(self).await
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &DeployerOptions {
        &self.options
    }
}

impl fmt::Debug for Deployer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployer")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
