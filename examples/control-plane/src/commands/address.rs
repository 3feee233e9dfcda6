//! The addresses of components inside the cluster.

use choreo_deploy::Target;
use choreo_deploy::backend::Intent;
use choreo_deploy::deployment::Generation;
use choreo_deploy::release::Release;
use choreo_deploy_kubernetes::{Object, render};
use serde::Serialize;
use serde_json::Value;

use crate::config::{BackendEntry, Configuration};

/// The address of an endpoint of a component in an environment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Address {
    /// The name of the endpoint.
    pub(super) endpoint: String,
    /// The host name and the port of its Service.
    pub(super) address: String,
}

/// Returns the addresses of a release in an environment: those of the Service that is rendered for it.
/// A data plane in memory has none, and neither has an environment that the configuration does not
/// contain.
pub(super) fn of(
    configuration: &Configuration,
    target: &Target,
    release: &Release,
) -> Vec<Address> {
    let environment = { configuration.environments.iter() }
        .find(|environment| environment.id == target.environment);
    let entry = environment.and_then(|environment| {
        let planes = &configuration.data_planes;
        planes
            .iter()
            .find(|entry| entry.data_plane.id == environment.data_plane)
    });
    let Some(entry) = entry.filter(|entry| !matches!(entry.backend, BackendEntry::Memory)) else {
        return Vec::new();
    };
    let intent = Intent::new(target, Generation::new(0, 1), release);
    let objects = render(&intent, &entry.policy).unwrap_or_default();
    let services = objects.iter().filter(|object| object.kind() == "Service");
    services
        .map(Object::redacted)
        .flat_map(|service| ports(&service))
        .collect()
}

fn ports(service: &Value) -> Vec<Address> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &service["metadata"];
    let host = format!(
        "{}.{}.svc",
        text(&metadata["name"]),
        text(&metadata["namespace"])
    );
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let address = |port: &Value| Address {
        endpoint: text(&port["name"]),
        address: format!("{host}:{}", port["port"]),
    };
    ports.map(address).collect()
}
