//! Guards that the shell script of each snippet, run against a real server, ends with the outcome
//! of the deployment.

mod proxies;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use choreo_deploy::deployment::Phase;
use choreo_deploy::finding::{Finding, FindingCode};
use choreo_deploy::intake::IntakeErrorKind as Kind;
use choreo_webhook::Snippet;
use choreo_webhook::snippet::{Ci, ExitStatus};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::{DIGEST, IMAGE, World};

/// Serves the webhook on loopback under a prefix, and returns its base URL.
async fn serve(world: &World) -> String {
    let router = axum::Router::new().nest_service("/hooks", world.webhook.clone());
    format!("{}/hooks", serve_router(router).await)
}

async fn serve_router(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    format!("http://{address}")
}

/// Returns `true` if `curl` and `sh`, which the snippets need, are installed.
fn has_curl() -> bool {
    let found = ["curl", "sh"].map(|program| crate::linters::find(program).is_some());
    if found.contains(&false) {
        crate::linters::say_skipped("snippets are not executed: curl or sh is not installed");
    }
    !found.contains(&false)
}

/// Returns the installed shells. `sh` is always among them.
fn shells() -> Vec<Vec<&'static str>> {
    let all = [
        &["sh"][..],
        &["dash"],
        &["bash"],
        &["bash", "-e"],
        &["busybox", "sh"],
    ];
    let there = |shell: &&[&str]| {
        let there = crate::linters::find(shell[0]).is_some();
        if !there {
            let what = format!("snippets in {}, which is not installed", shell[0]);
            crate::linters::say_skipped(&what);
        }
        there
    };
    all.into_iter()
        .filter(there)
        .map(<[&str]>::to_vec)
        .collect()
}

/// Returns the shell script in a snippet.
fn script(snippet: &Snippet, ci: Ci) -> String {
    let text = snippet.render(ci);
    match ci {
        Ci::GitHubActions => {
            let (_, run) = text.split_once("        run: |\n").unwrap();
            run.lines()
                .map(|line| format!("{}\n", line.get(10..).unwrap_or_default()))
                .collect()
        }
        _ => text,
    }
}

struct Step {
    shell: Vec<&'static str>,
    script: String,
    variables: Vec<(&'static str, String)>,
}

impl Step {
    fn new(base_url: &str, token: &str) -> Self {
        let base_url = base_url.parse().unwrap();
        Self {
            shell: vec!["sh"],
            script: script(&Snippet::new(base_url, "orders".parse().unwrap()), Ci::Curl),
            variables: vec![
                ("CHOREO_TOKEN", token.to_owned()),
                ("IMAGE", IMAGE.to_owned()),
            ],
        }
    }

    /// Replaces the maximum waiting time of 15 minutes.
    fn patient(mut self, patience: Duration) -> Self {
        self.script = self.script.replace("900", &patience.as_secs().to_string());
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
        self
    }

    async fn run(&self) -> Output {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &self.script).unwrap();
        let path = std::env::var("PATH").unwrap();
        let own = self
            .variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        Command::new(self.shell[0])
            .args(&self.shell[1..])
            .arg(file.path())
            .env_clear()
            .env("PATH", path)
            .envs(own)
            .output()
            .await
            .unwrap()
    }
}

#[track_caller]
fn ends(output: &Output, status: ExitStatus, text: &str) {
    let shown = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(status.code().into()), "{shown}");
    assert!(shown.contains(text), "{shown}");
    assert!(!shown.contains("chd_"), "the token is shown: {shown}");
}

/// Guards every outcome of a deployment, in every shell, for every CI system.
#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_is_the_outcome() {
    if !has_curl() {
        return;
    }
    let outcomes = [
        (Phase::Ready, ExitStatus::Ready, "is ready"),
        (Phase::Failed, ExitStatus::Failed, "ended in phase failed"),
        (
            Phase::Superseded,
            ExitStatus::Superseded,
            "superseded by a newer deployment",
        ),
        (Phase::TimedOut, ExitStatus::TimedOut, "deadline"),
    ];
    let mut running = tokio::task::JoinSet::new();
    for shell in shells() {
        for ci in Ci::ALL {
            for (phase, status, text) in outcomes {
                let shell = shell.clone();
                running.spawn(async move {
                    let world = World::new().await;
                    world
                        .intake
                        .phases
                        .lock()
                        .unwrap()
                        .extend([Phase::Progressing, phase]);
                    *world.intake.reasons.lock().unwrap() = json!([
                        { "code": "image-not-found", "message": "quote \" and ::error::" }
                    ]);
                    let url = serve(&world).await;
                    let mut step = Step::new(&url, world.token.expose());
                    let snippet = Snippet::new(url.parse().unwrap(), "orders".parse().unwrap());
                    (step.shell, step.script) = (shell, script(&snippet, *ci));
                    let output = step.run().await;
                    ends(&output, status, text);
                    ends(&output, status, "image-not-found");
                    // GitHub Actions executes a line that begins with `::` as a command.
                    let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
                    assert!(!shown.contains("\n::"), "{shown}");
                });
            }
        }
    }
    while let Some(result) = running.join_next().await {
        result.unwrap();
    }
}

/// Guards that a repeated run does not succeed if the deployment was replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_was_replaced_ends_as_superseded() {
    if !has_curl() {
        return;
    }
    for shell in shells() {
        let world = World::new().await;
        *world.intake.replayed.lock().unwrap() = true;
        world.intake.phases.lock().unwrap().push_back(Phase::Ready);
        *world.intake.successor.lock().unwrap() = Some("d-2".parse().unwrap());
        let url = serve(&world).await;
        let mut step = Step::new(&url, world.token.expose());
        step.shell = shell;
        let output = step.run().await;
        ends(
            &output,
            ExitStatus::Superseded,
            "superseded by a newer deployment or a removal",
        );
        ends(&output, ExitStatus::Superseded, "\"superseded_by\":\"d-2\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_are_shown_and_change_nothing() {
    if !has_curl() {
        return;
    }
    for shell in shells() {
        let world = World::new().await;
        let finding = Finding::new(FindingCode::LatestTag, "moves \"[{}]\"", "pin it");
        world.intake.findings.lock().unwrap().push(finding);
        world.intake.phases.lock().unwrap().push_back(Phase::Ready);
        let url = serve(&world).await;
        let mut step = Step::new(&url, world.token.expose());
        step.shell = shell;
        let output = step.run().await;
        let shown = "choreo: findings: [{\"code\":\"latest-tag\",\"severity\":\"warning\",\
                     \"message\":\"moves \\\"[{}]\\\"\",\"help\":\"pin it\"}]\n";
        ends(&output, ExitStatus::Ready, shown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_end_with_their_own_status() {
    if !has_curl() {
        return;
    }
    for (kind, status, text) in [
        (Kind::Held, ExitStatus::Held, "held since a rollback"),
        (
            Kind::ImageNotInRegistry,
            ExitStatus::Refused,
            "image-not-in-registry",
        ),
        (
            Kind::UnknownEnvironment,
            ExitStatus::Refused,
            "unknown-environment",
        ),
        (Kind::TokenRefused, ExitStatus::Refused, "invalid-token"),
    ] {
        let world = World::new().await;
        world.intake.refusals.lock().unwrap().push_back(kind);
        let url = serve(&world).await;
        ends(
            &Step::new(&url, world.token.expose()).run().await,
            status,
            text,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_sends_nothing() {
    if !has_curl() {
        return;
    }
    let world = World::new().await;
    let url = serve(&world).await;
    // Values that are confused with the token's, and a token that was not copied exactly.
    let token = world.token.expose();
    let cut = &token[..token.len() - 1];
    let (long, foreign) = (format!("{token}0"), token.replace("chd_", "xyz_"));
    for (name, value, text) in [
        ("CHOREO_TOKEN", "", "CHOREO_TOKEN is empty"),
        (
            "CHOREO_TOKEN",
            "a\nX-Evil: 1",
            "CHOREO_TOKEN is not a deploy token",
        ),
        (
            "CHOREO_TOKEN",
            "orders",
            "CHOREO_TOKEN is not a deploy token",
        ),
        ("CHOREO_TOKEN", "1", "CHOREO_TOKEN is not a deploy token"),
        ("CHOREO_TOKEN", cut, "CHOREO_TOKEN is not a deploy token"),
        ("CHOREO_TOKEN", &long, "CHOREO_TOKEN is not a deploy token"),
        (
            "CHOREO_TOKEN",
            &foreign,
            "CHOREO_TOKEN is not a deploy token",
        ),
        ("IMAGE", "", "IMAGE is empty"),
        (
            "IMAGE",
            "a\",\"environment\":\"production",
            "IMAGE contains a character",
        ),
        ("IMAGE", "a\nb", "IMAGE contains a character"),
        ("COMMIT", "a\\b", "COMMIT contains a character"),
        ("DIGEST", "`id`", "DIGEST contains a character"),
        (
            "CHOREO_KEY",
            "a\nX-Evil: 1",
            "CHOREO_KEY contains a character",
        ),
        (
            "RUN_URL",
            "https://ci.example/ x",
            "RUN_URL contains a character",
        ),
        (
            "IMAGE",
            world.token.expose(),
            "IMAGE contains the deploy token",
        ),
        (
            "COMMIT",
            world.token.expose(),
            "COMMIT contains the deploy token",
        ),
        (
            "CHOREO_KEY",
            world.token.expose(),
            "CHOREO_KEY contains the deploy token",
        ),
    ] {
        for shell in shells() {
            let mut step = Step::new(&url, world.token.expose()).with(name, value);
            step.shell = shell;
            let output = step.run().await;
            ends(&output, ExitStatus::WrongUse, text);
            let shown = String::from_utf8(output.stderr).unwrap();
            assert!(!shown.contains("xyz_"), "the value is shown: {shown}");
        }
    }
    assert!(world.intake.submissions.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_values_arrive() {
    if !has_curl() {
        return;
    }
    let world = World::new().await;
    world.intake.phases.lock().unwrap().push_back(Phase::Ready);
    let url = serve(&world).await;
    let image = format!("[2001:db8::1]:5000/a-b/c_d.e/f__g:V1.0_x-y@{DIGEST}");
    let run_url = "https://ci.example/a@b?c=d&e=%20~$(g)*!;,+#h";
    for shell in shells() {
        let step = Step::new(&url, world.token.expose())
            .with("IMAGE", &image)
            .with("DIGEST", DIGEST)
            .with("COMMIT", "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
            .with("RUN_URL", run_url)
            .with("CHOREO_KEY", "github-7-1");
        let output = Step { shell, ..step }.run().await;
        ends(&output, ExitStatus::Ready, "is ready");
        let submission = world.intake.submissions.lock().unwrap().pop().unwrap();
        assert_eq!(submission.image.as_written, image);
        assert_eq!(submission.image.claimed.unwrap().to_string(), DIGEST);
        let provenance = submission.provenance;
        assert_eq!(
            provenance.commit.as_deref(),
            Some("4b825dc642cb6eb9a060e54bf8d69288fbee4904")
        );
        assert_eq!(provenance.run_url.as_deref(), Some(run_url));
        assert_eq!(submission.idempotency_key.as_deref(), Some("github-7-1"));
    }
}

/// Guards that a retry after a 503 sends the same key, so that nothing is deployed twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_the_same_request() {
    if !has_curl() {
        return;
    }
    let world = World::new().await;
    world
        .intake
        .refusals
        .lock()
        .unwrap()
        .push_back(Kind::Unavailable);
    world.intake.phases.lock().unwrap().push_back(Phase::Ready);
    let url = serve(&world).await;
    ends(
        &Step::new(&url, world.token.expose()).run().await,
        ExitStatus::Ready,
        "ready",
    );
    let submissions = world.intake.submissions.lock().unwrap();
    assert_eq!(submissions.len(), 2);
    let keys = [0, 1].map(|at| submissions[at].idempotency_key.clone().unwrap());
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].starts_with("sh-"), "{keys:?}");
}

/// Guards two pipelines that start in the same second, in containers where the shell has the same
/// process id, and that deploy the same tag.
#[tokio::test(flavor = "multi_thread")]
async fn no_two_runs_have_one_key() {
    if !has_curl() {
        return;
    }
    let world = World::new().await;
    world.intake.phases.lock().unwrap().push_back(Phase::Ready);
    let url = serve(&world).await;
    for shell in shells() {
        let mut step = Step::new(&url, world.token.expose());
        step.shell = shell;
        // The other parts of the key are equal here.
        step.script = step
            .script
            .replace("$(date +%s)-$$-${answer##*/}", "1700000000-7-tmp.x");
        assert!(step.script.contains("sh-1700000000-7-tmp.x-$random"));
        for _ in 0..2 {
            ends(&step.run().await, ExitStatus::Ready, "ready");
        }
    }
    let submissions = world.intake.submissions.lock().unwrap();
    let mut keys: Vec<_> = submissions
        .iter()
        .map(|submission| submission.idempotency_key.clone())
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), submissions.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends() {
    if !has_curl() {
        return;
    }
    let world = World::new().await;
    world
        .intake
        .phases
        .lock()
        .unwrap()
        .push_back(Phase::Progressing);
    let url = serve(&world).await;
    let step = Step::new(&url, world.token.expose()).patient(Duration::from_secs(1));
    ends(
        &step.run().await,
        ExitStatus::TimedOut,
        "still deploying after 1 seconds; no longer waiting",
    );
}

/// Guards that a response of another server, or a redirect, is never a success.
#[tokio::test(flavor = "multi_thread")]
async fn another_server_is_no_success() {
    if !has_curl() {
        return;
    }
    use axum::http::StatusCode;
    use axum::routing::any;
    let token = World::new().await.token.expose().to_owned();
    for (status, text) in [
        (StatusCode::OK, "unexpected response from http://127.0.0.1"),
        (
            StatusCode::ACCEPTED,
            "unexpected response from http://127.0.0.1",
        ),
        (
            StatusCode::MOVED_PERMANENTLY,
            "redirects are not followed (status 301)",
        ),
        (
            StatusCode::NOT_FOUND,
            "unexpected response from http://127.0.0.1",
        ),
        (
            StatusCode::UNAUTHORIZED,
            "unexpected response from http://127.0.0.1",
        ),
    ] {
        let page = move || async move { (status, [("location", "/")], "<html>::error::\n") };
        let url = serve_router(axum::Router::new().fallback(any(page))).await;
        let step = Step::new(&url, &token).patient(Duration::ZERO);
        ends(&step.run().await, ExitStatus::NoAnswer, text);
    }
}

/// Guards that the token is not in a command line or a trace. curl reads it from its standard
/// input.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_in_no_command_line() {
    if !has_curl() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let curl = folder.path().join("curl");
    let log = folder.path().join("log");
    fs::write(
        &curl,
        format!(
            "#!/bin/sh\necho \"$@\" >{0}.arguments\ncat >{0}.input\nprintf 000\nexit 60\n",
            log.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();

    let world = World::new().await;
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    let mut step = Step::new("https://cd.example.com", world.token.expose()).with("PATH", &path);
    step.shell = vec!["sh", "-x"];
    ends(
        &step.run().await,
        ExitStatus::NoAnswer,
        "no answer from https://cd.example.com",
    );

    let read = |name: &str| fs::read_to_string(Path::new(&format!("{}.{name}", log.display())));
    let (arguments, input) = (read("arguments").unwrap(), read("input").unwrap());
    assert!(!arguments.contains("chd_"), "{arguments}");
    assert!(arguments.contains("--proto =https "), "{arguments}");
    assert_eq!(
        input,
        format!("Authorization: Bearer {}\n", world.token.expose())
    );
}
