//! Compares the rules of this crate with the Go programs that define them.
//!
//! Each oracle is a program in a folder next to this file. If Go is installed, the program is built
//! from Go modules and answers generated cases. Its answers to a fixed set are committed as fixtures,
//! which are always checked. `CHOREO_TEST_CASES` sets the number of generated cases (default 20,000).

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails like the test itself"
)]

mod go;
mod keyring;
mod platform;
mod reference;
