//! Compares schedules with the Go programs that define their rules.
//!
//! If Go is installed, the program in the folder next to this file is built from Go modules and
//! checks generated cases. `CHOREO_TEST_CASES` sets their number (default 20,000).

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails like the test itself"
)]

#[path = "../../../choreo-registry/tests/oracle/go.rs"]
mod go;
mod schedule;
