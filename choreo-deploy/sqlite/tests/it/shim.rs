//! Libraries in C between a process and the operating system.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a library for `LD_PRELOAD`. Returns `None` if there is no compiler or the platform
/// cannot load it.
pub(crate) fn compile(source: &str, folder: &Path) -> Option<PathBuf> {
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/shim"));
    let library = folder.join(source).with_extension("so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    compiler.arg(&library).arg(sources.join(source)).arg("-ldl");
    let found = cfg!(target_os = "linux") && compiler.output().ok()?.status.success();
    found.then_some(library)
}

/// Reports it to the terminal, because the output of tests is captured.
pub(crate) fn skipped(what: &str) {
    let said = format!("SKIPPED: {what}, because cc is not installed or this is not Linux\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}
