//! Tests the backend with a real cluster, which `CHOREO_TEST_KUBECONFIG` names. Its nodes must reach
//! 127.0.0.1 of this machine, where the registry of the tests listens, as a node on this machine
//! does. kind and k3s in a container do not. This machine must reach the pods of the cluster.

#![expect(
    clippy::unwrap_used,
    clippy::clone_on_ref_ptr,
    clippy::disallowed_methods,
    reason = "helpers of tests may panic, and connect to what the test itself has made"
)]

mod cluster;
mod conformance;
mod control;
mod plain_http;
mod rbac;
mod reasons;
mod recording;
mod removal;
mod requests;
mod rollout;
mod slow_link;
mod stale;
mod taken_back;
mod task;
