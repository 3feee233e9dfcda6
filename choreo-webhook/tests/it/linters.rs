//! Guards that the snippets pass the linters of their languages.
//!
//! A linter that is not installed is skipped and reported. `CHOREO_TEST_LINTERS` contains folders to
//! search in addition to `PATH`, separated by colons. If it is set, a missing linter fails its test.
//! Each test has a bad sample that the linter must reject, because a linter that accepts everything
//! proves nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use choreo_webhook::Snippet;
use choreo_webhook::snippet::Ci;

const GOOD: &str =
    "on: push\npermissions: {}\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n";

/// Returns a program in `CHOREO_TEST_LINTERS` or `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    ["CHOREO_TEST_LINTERS", "PATH"]
        .iter()
        .filter_map(env::var_os)
        .flat_map(|folders| env::split_paths(&folders).collect::<Vec<_>>())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Reports that something was not tested. It bypasses the test harness, which captures output.
pub(crate) fn say_skipped(what: &str) {
    let said = std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes());
    said.expect("standard error takes a line");
}

/// Lints a good text, which must pass, and a bad one, which must not.
#[track_caller]
fn lint(program: &str, arguments: &[&str], (name, sound, bad): (&str, &str, &str)) {
    let Some(path) = find(program) else {
        assert!(
            env::var_os("CHOREO_TEST_LINTERS").is_none(),
            "{program} is not installed"
        );
        say_skipped(&format!(
            "{program} is not installed, so no snippet is linted by it"
        ));
        return;
    };
    let accepts = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let output = run(&path, arguments, &file);
        let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), shown)
    };
    let (accepted, shown) = accepts(sound);
    assert!(accepted, "{program} refuses the snippet: {shown}");
    let (accepted, shown) = accepts(bad);
    assert!(!accepted, "{program} accepts the bad sample: {shown}");
}

fn run(program: &Path, arguments: &[&str], file: &Path) -> std::process::Output {
    Command::new(program)
        .args(arguments)
        .arg(file)
        .output()
        .unwrap()
}

fn snippet(ci: Ci) -> String {
    let base_url = "https://cd.example.com/hooks".parse().unwrap();
    Snippet::new(base_url, "orders-api".parse().unwrap()).render(ci)
}

#[test]
fn shellcheck_accepts_the_script() {
    let files = ("deploy.sh", &*snippet(Ci::Curl), "#!/bin/sh\nrm -rf $1/\n");
    lint(
        "shellcheck",
        &[
            "--shell=sh",
            "--enable=all",
            "--exclude=SC2249,SC2250,SC2310,SC2312",
        ],
        files,
    );
}

const WORKFLOW: &str = ".github/workflows/deploy.yml";

#[test]
fn the_workflow_follows_its_schema() {
    let bad = format!("{GOOD}      - ruun: echo\n");
    let arguments = ["--builtin-schema", "vendor.github-workflows"];
    lint(
        "check-jsonschema",
        &arguments,
        (WORKFLOW, &snippet(Ci::GitHubActions), &bad),
    );
}

#[test]
fn zizmor_finds_nothing_in_the_workflow() {
    let bad = format!("{GOOD}      - run: echo ${{{{ github.event.issue.title }}}}\n");
    let arguments = ["--offline", "--persona", "auditor"];
    lint(
        "zizmor",
        &arguments,
        (WORKFLOW, &snippet(Ci::GitHubActions), &bad),
    );
}

#[test]
fn yamllint_accepts_the_workflow() {
    let bad = format!("{GOOD}     - run: echo\n");
    let arguments = [
        "--strict",
        "-d",
        "{extends: default, rules: {line-length: disable}}",
    ];
    lint(
        "yamllint",
        &arguments,
        (WORKFLOW, &snippet(Ci::GitHubActions), &bad),
    );
}

#[test]
fn actionlint_accepts_the_workflow() {
    let bad = format!("{GOOD}      - run: echo ${{{{ inputs.nothing.of.this }}}}\n");
    lint(
        "actionlint",
        &[],
        (WORKFLOW, &snippet(Ci::GitHubActions), &bad),
    );
}

/// Guards that the job is not cancelled before the script reports why it stops waiting.
#[test]
fn the_job_outlasts_the_script() {
    let workflow = snippet(Ci::GitHubActions);
    assert!(workflow.contains("timeout-minutes: 20\n"), "{workflow}");
    assert!(workflow.contains("+ 900))\n"), "{workflow}");
}

/// Guards against the execution of a branch name as shell code.
#[test]
fn no_expression_stands_inside_a_script() {
    let workflow = snippet(Ci::GitHubActions);
    let (_, script) = workflow.split_once("run: |\n").unwrap();
    assert!(!script.contains("${{"));
}
