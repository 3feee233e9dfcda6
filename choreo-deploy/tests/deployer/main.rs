//! The deployer with parts in memory, in virtual time.
//!
//! The package of each store runs these tests with its own store, from its `tests/deployer/store.rs`.
#![expect(
    clippy::unwrap_used,
    clippy::clone_on_ref_ptr,
    reason = "the helpers below are tests too"
)]

mod crowd;
mod endings;
mod findings;
mod last_looks;
mod layer;
mod leaving;
mod looks;
mod moving;
mod orphans;
mod outages;
mod plane;
mod platforms;
mod progress;
mod requests;
mod rotation;
mod running;
mod runs;
mod scenarios;
mod sizes;
mod taken_back;
mod ways_in;
mod world;

mod store {
    include!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/deployer/store.rs"
    ));
}
