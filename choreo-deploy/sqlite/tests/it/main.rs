//! The tests of the store through its public interface.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod backlog;
mod common;
mod concurrency;
mod conformance;
mod crash;
mod file;
mod format;
mod load;
mod model;
mod power_loss;
mod restart;
mod runs;
mod shim;
mod silence;
mod simulation;
mod unreadable;
