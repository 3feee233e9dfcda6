//! The conformance tests of the specification, run against this registry:
//! <https://github.com/opencontainers/distribution-spec/tree/main/conformance>.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use choreo_test_registry::{Builder, Fault, TestRegistry, User};
use http::Method;

/// The options beyond the defaults of the suite: the headers on which clients rely, and the
/// optional operations.
const STRICTER: [(&str, &str); 3] = [
    ("OCI_API_BLOBS_DIGEST_HEADER", "true"),
    ("OCI_API_BLOBS_UPLOAD_CANCEL", "true"),
    ("OCI_API_MANIFESTS_DIGEST_HEADER", "true"),
];

/// The suite, built once from its Go module. `None` if Go is not installed.
static SUITE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let version = Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        return None;
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("distribution-spec-conformance");
    let built = Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg("github.com/opencontainers/distribution-spec/conformance")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance"))
        .env("GOFLAGS", "-mod=readonly")
        .env("GOWORK", "off")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "the suite does not build: {errors}");
    Some(program)
});

/// Returns the output of the suite. Returns `None` and reports it if Go is not installed.
async fn report(registry: &TestRegistry) -> Option<String> {
    let Some(program) = &*SUITE else {
        // It bypasses the test harness, which captures output.
        let text = b"SKIPPED: the conformance tests, because Go is not installed\n";
        std::io::stderr().write_all(text).unwrap();
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = tokio::process::Command::new(program)
        .current_dir(folder.path())
        .env_clear()
        .envs(STRICTER)
        .env("OCI_VERSION", "1.1")
        .env("OCI_REGISTRY", registry.host())
        .env("OCI_TLS", "disabled")
        .env("OCI_USERNAME", "robot")
        .env("OCI_PASSWORD", "s3cret")
        .output();
    Some(String::from_utf8(run.await.unwrap().stdout).unwrap())
}

/// Asserts that the suite passes, with `skipped` steps left out because the registry does not support
/// them.
async fn conforms(builder: Builder, skipped: u32) {
    let registry = builder.user(User::new("robot", "s3cret")).start().await;
    let Some(report) = report(&registry.unwrap()).await else {
        return;
    };
    assert_eq!(result(&report), Some("Pass"), "{report}");
    for (status, expected) in [("FAIL", 0), ("Error", 0), ("Skip", skipped)] {
        assert_eq!(count(&report, status), Some(expected), "{report}");
    }
    assert!(count(&report, "Pass") > Some(800), "{report}");
}

/// Returns the result of the suite. Its exit status has no meaning if it could not start.
fn result(report: &str) -> Option<&str> {
    let line = report
        .lines()
        .find(|line| line.starts_with("OCI Conformance Result: "))?;
    line.rsplit(' ').next()
}

/// Returns the number of steps with this result.
fn count(report: &str, status: &str) -> Option<u32> {
    let counts = report.split("OCI Conformance Result: ").nth(1)?;
    let line = counts
        .lines()
        .find(|line| line.trim_start().starts_with(&format!("{status}...")))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn it_conforms() {
    conforms(TestRegistry::builder(), 0).await;
}

#[tokio::test]
async fn it_conforms_with_passwords() {
    conforms(TestRegistry::builder().basic(), 0).await;
}

/// A token is valid for one repository, so a blob cannot be mounted from another one. Therefore two
/// steps start an ordinary upload, with either digest algorithm, as the specification allows.
#[tokio::test]
async fn it_conforms_with_tokens() {
    conforms(TestRegistry::builder().bearer().token_server_apart(), 4).await;
}

/// The control: a registry with a small fault does not pass.
#[tokio::test]
async fn the_suite_finds_a_flaw() {
    let registry = TestRegistry::builder().start().await.unwrap();
    let path = "/v2/conformance/repo1/manifests/";
    registry.inject(Fault::on(Method::GET, path).without_digest().always());
    if let Some(report) = report(&registry).await {
        assert_eq!(result(&report), Some("FAIL"), "{report}");
    }
}
