//! The backend against a real cluster: the one that `CHOREO_TEST_KUBECONFIG` names. Its nodes must
//! reach this machine's 127.0.0.1, where the tests' registry listens; kind and k3s in a container do
//! not, a node on this machine does. And this machine must reach its pods.

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
