//! Connects to data planes.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use choreo_deploy::{DeploymentBackend, InMemoryBackend};
use choreo_deploy_kubernetes::KubernetesBackend;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::config::{BackendEntry, DataPlaneEntry};
use crate::failure::Failure;

/// The backend of a data plane. Nothing is asked of a cluster yet.
pub(crate) async fn connect(entry: &DataPlaneEntry) -> Result<Arc<dyn DeploymentBackend>, Failure> {
    let BackendEntry::Kubernetes {
        kubeconfig,
        context,
    } = &entry.backend
    else {
        return Ok(Arc::new(InMemoryBackend::new()));
    };
    match client(kubeconfig.as_deref(), context.as_deref()).await {
        Ok(client) => Ok(Arc::new(KubernetesBackend::new(
            client,
            entry.policy.clone(),
        ))),
        Err(error) => {
            let message = format!("data plane {} cannot be reached", entry.data_plane.id);
            Err(Failure::unavailable(message).caused_by(&*error))
        }
    }
}

/// A client by the named kubeconfig; else by `$KUBECONFIG`, else by `~/.kube/config`.
async fn client(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<kube::Client, Box<dyn Error + Send + Sync>> {
    let kubeconfig = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(kube::Client::try_from(config)?)
}
