//! The rules of this crate beside the programs whose rules they are, written in Go.
//!
//! Each oracle is a program in a folder beside this file. Where Go is installed, it is built from Go
//! modules and asked about generated cases; its answers to a fixed set are committed as fixtures, which
//! are checked everywhere. `CHOREO_TEST_CASES` sets the number of generated cases (default 20,000).

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails like the test itself"
)]

mod go;
mod keyring;
mod platform;
mod reference;
