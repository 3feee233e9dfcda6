//! A deployer with a real cluster. Only the deployer sends requests to the registry; the kubelet pulls
//! the image.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::backend::DeploymentBackend;
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::deployer::DeployerParts;
use choreo_deploy::deployment::{Cause, Deployment, RequestedImage};
use choreo_deploy::intake::Submission;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::resolver::NeverResolver;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{InMemoryStore, NewRegistry, RegistryStore as _};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::Workload;
use choreo_deploy::{Deployer, Intake, Target};
use choreo_registry::ImageReference;
use choreo_registry::authentication::AuthenticationType;
use choreo_test_registry::TestRegistry;
use kube::Config;

use crate::cluster::{self, Backend, example, quick};

/// A data plane, a registry and a store.
pub(crate) struct Control {
    pub(crate) backend: Arc<Backend>,
    pub(crate) registry: TestRegistry,
    store: Arc<InMemoryStore>,
}

impl Control {
    /// Returns `None` and reports it if there is no cluster.
    pub(crate) async fn new() -> Option<Self> {
        Some(Self::over(cluster::config().await?).await)
    }

    /// Connects to the cluster with this configuration.
    pub(crate) async fn over(config: Config) -> Self {
        let registry = TestRegistry::builder().start().await.expect("a registry");
        let store = Arc::new(InMemoryStore::new());
        let registered = NewRegistry::new(
            ("acme".parse().unwrap(), "images".parse().unwrap()),
            "Images",
            registry.host().parse().unwrap(),
            AuthenticationType::Public,
        );
        store.put_registry(registered, None).await.unwrap();
        Self {
            backend: Arc::new(Backend::new(config, quick())),
            registry,
            store,
        }
    }

    /// Returns a deployer whose catalog contains components with these names and this workload.
    pub(crate) fn deployer(&self, names: &[&str], workload: impl Into<Workload>) -> Deployer {
        let workload = workload.into();
        let plan = |name: &&str| {
            let target = example(name);
            let project = Project::new(target.organization.clone(), target.project.clone());
            let kind = workload.component_type();
            let registry = "images".parse().unwrap();
            let component = Component::new(target.component.clone(), project, kind, registry);
            let plane = DataPlane::new("eu-1".parse().unwrap());
            let environment = Environment::new(target.environment.clone(), plane.id.clone());
            Plan::new(component, workload.clone()).then(Stage::new(environment, plane))
        };
        let backend: Arc<dyn DeploymentBackend> = self.backend.clone();
        let backends = HashMap::from([("eu-1".parse().unwrap(), backend)]);
        Deployer::new(DeployerParts {
            store: self.store.clone(),
            catalog: Arc::new(StaticCatalog::new(names.iter().map(plan))),
            backends: Arc::new(backends),
            resolver: Arc::new(NeverResolver),
            sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
        })
    }

    /// Deploys an image with a workload, and works until the deployment has ended.
    pub(crate) async fn deploy(
        &self,
        name: &str,
        workload: impl Into<Workload>,
        image: &ImageReference,
    ) -> Deployment {
        let deployer = self.deployer(&[name], workload);
        let accepted = submit(&deployer, name, image).await;
        tokio::select! {
            () = deployer.run(std::future::pending()) => unreachable!("it runs for ever"),
            ended = ended(&deployer, &accepted) => ended,
        }
    }

    /// Returns the images and arguments of the pods of a target.
    pub(crate) async fn pods(&self, target: &Target) -> Vec<(String, serde_json::Value)> {
        let pods = self.backend.list(target, "pods").await;
        let of = |pod: &serde_json::Value| {
            let container = &pod["spec"]["containers"][0];
            let image = container["image"].as_str().unwrap_or_default().to_owned();
            (image, container["args"].clone())
        };
        pods.iter().map(of).collect()
    }
}

/// Accepts an image for a component.
pub(crate) async fn submit(deployer: &Deployer, name: &str, image: &ImageReference) -> Deployment {
    let image = RequestedImage::new(image.clone());
    let submission = Submission::new(example(name).component_key(), image, Cause::Manual);
    deployer.accept(submission).await.unwrap().deployment
}

/// Waits for the end of a deployment while a deployer works on it.
pub(crate) async fn ended(deployer: &Deployer, accepted: &Deployment) -> Deployment {
    let component = accepted.target.component_key();
    let at_most = Duration::from_secs(300);
    let ended = deployer.wait(&component, &accepted.id, at_most).await;
    let ended = ended.unwrap().unwrap();
    assert!(ended.phase.is_final(), "it ends: {ended:?}");
    ended
}

/// Returns the reason codes of a deployment.
pub(crate) fn codes(deployment: &Deployment) -> Vec<ReasonCode> {
    let reasons = deployment.reasons.iter();
    reasons.map(|reason| reason.code).collect()
}
