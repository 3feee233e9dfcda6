//! Rendered pull secrets beside kubectl's, and in use: skopeo and podman pull with them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod kubectl;
mod pull;

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Whether all these programs are there; says loudly what is not tested when one is not.
fn installed(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        !std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    });
    if let Some(program) = missing {
        // Not through `eprintln`, which tests capture.
        let line =
            format!("SKIPPED: {program} is not installed, so pull secrets were not compared\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    missing.is_none()
}

/// Runs a program to its end: whether it succeeded, and what it wrote.
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
