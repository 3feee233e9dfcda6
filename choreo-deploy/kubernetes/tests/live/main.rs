//! The backend against a real cluster: the one that `CHOREO_TEST_KUBECONFIG` names. Its nodes must
//! reach this machine's 127.0.0.1, where the tests' registry listens; kind and k3s in a container do
//! not, a node on this machine does.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod cluster;
mod conformance;
mod rbac;
mod reasons;
mod recording;
mod removal;
mod requests;
mod rollout;
mod stale;
mod task;
