//! Tests the registry as clients see it: the protocol, faults, logins, skopeo, and the conformance
//! tests of the specification.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, also in its helpers"
)]

mod authentication;
mod blobs;
mod client;
mod conformance;
mod faults;
mod manifests;
mod skopeo;
mod tags;
