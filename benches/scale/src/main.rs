//! Measures the cost of a history for the control plane and its store; see `benches/README.md`.
//!
//! - `fill FILE [COMPONENTS DEPLOYMENTS]` creates a database of this size.
//! - `start PROGRAM FILE` measures the start of `control-plane serve` on a copy of the file, and its
//!   consumption when it is idle.
//! - `accept FILE` measures the webhook on a copy of the file, compared with a handler that writes and
//!   syncs one row, and one that does nothing.
//! - `load FILE SERVER CALLERS REQUESTS` sends requests to one of the three (`webhook`, `row` or `empty`),
//!   for programs that count instructions and calls.

mod accept;
mod bare;
mod fill;
mod start;

use std::error::Error;
use std::path::{Path, PathBuf};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const USAGE: &str = "fill FILE [COMPONENTS DEPLOYMENTS] | start PROGRAM FILE | accept FILE \
    | load FILE SERVER CALLERS REQUESTS";

const COMPONENTS: u64 = 10_000;
const DEPLOYMENTS: u64 = 100_000;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments[..] {
        ["fill", file] => runtime.block_on(fill::fill(file.into(), (COMPONENTS, DEPLOYMENTS))),
        ["fill", file, components, deployments] => {
            let counts = (components.parse()?, deployments.parse()?);
            runtime.block_on(fill::fill(file.into(), counts))
        }
        ["start", program, file] => start::start(program, Path::new(file)),
        ["accept", file] => accept::accept(Path::new(file)),
        ["load", file, server, callers, requests] => {
            let counts = (callers.parse()?, requests.parse()?);
            accept::load(Path::new(file), server, counts)
        }
        _ => Err(USAGE.into()),
    }
}

/// Copies the file into a new folder, so that a measurement does not affect the next one.
fn copy(file: &Path) -> Outcome<(PathBuf, tempfile::TempDir)> {
    // In the same file system, because one in memory does not sync.
    let directory = tempfile::tempdir_in(file.parent().unwrap_or(Path::new(".")))?;
    let copy = directory.path().join("control-plane.db");
    std::fs::copy(file, &copy)?;
    Ok((copy, directory))
}
