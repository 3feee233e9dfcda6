//! The Service: one port for each endpoint, inside the cluster.

use choreo_deploy::backend::BackendError;
use choreo_deploy::workload::{Endpoint, Protocol};
use serde_json::{Value, json};

use super::object::Object;
use super::plan::{Plan, unsupported, without_nulls};
use super::pod;
use crate::kind::Kind;
use crate::labels::{self, ROLE_SERVER};

pub(super) fn render(plan: &Plan<'_>) -> Result<Object, BackendError> {
    let ports: Result<Vec<Value>, BackendError> =
        plan.workload.endpoints().iter().map(port).collect();
    let body = json!({
        "spec": {
            "type": "ClusterIP",
            "selector": labels::selector(plan.intent.target, ROLE_SERVER),
            "ports": ports?,
        },
    });
    Ok(plan.lasting(Kind::Service, &plan.name, body))
}

fn port(endpoint: &Endpoint) -> Result<Value, BackendError> {
    Ok(without_nulls(json!({
        "name": endpoint.name.as_str(),
        "port": endpoint.port,
        // By number, because a name would leave out the pods of the earlier release if the endpoint
        // is renamed. If the number changes, the name replaces it until the new pods are ready: see
        // `held_back`.
        "targetPort": endpoint.port,
        "protocol": pod::transport(endpoint.protocol),
        "appProtocol": app_protocol(endpoint.protocol)?,
    })))
}

/// Returns the protocol that gateways and meshes read
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol>).
fn app_protocol(protocol: Protocol) -> Result<Option<&'static str>, BackendError> {
    Ok(match protocol {
        Protocol::Http | Protocol::GraphQl => Some("http"),
        Protocol::Grpc => Some("kubernetes.io/h2c"),
        Protocol::WebSocket => Some("kubernetes.io/ws"),
        Protocol::Tcp | Protocol::Udp => None,
        _ => return Err(unsupported("protocol")),
    })
}
