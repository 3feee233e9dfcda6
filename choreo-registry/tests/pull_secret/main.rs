//! Compares rendered pull secrets with those of kubectl, and uses them with skopeo and podman.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod kubectl;
mod pull;

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Returns `true` if all these programs are installed, and otherwise reports what is not tested.
fn installed(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        !std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    });
    if let Some(program) = missing {
        // Not `eprintln!`, because tests capture its output.
        let line =
            format!("SKIPPED: {program} is not installed, so pull secrets were not compared\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    missing.is_none()
}

/// Runs a program to its end. Returns whether it succeeded, and its output.
fn run(command: &mut Command, input: &str) -> (bool, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}
