//! The output and exit statuses of `verify_access`, `resolve_image` and `list_tags` against registries in
//! process. The programs are compiled in, because cargo skips them without the feature `tls`.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "../list_tags.rs"]
#[expect(dead_code, reason = "the tests do not call its main")]
mod list_tags;
#[path = "../resolve_image.rs"]
#[expect(dead_code, reason = "the tests do not call its main")]
mod resolve_image;
#[path = "../verify_access.rs"]
#[expect(dead_code, reason = "the tests do not call its main")]
mod verify_access;

#[path = "registry_programs/tls.rs"]
mod tls;

use choreo_examples::registry_flags::{self, Answer, Asked};
use choreo_registry_client::AccessClass;
use choreo_test_registry::{Fault, Image, TestRegistry, User};
use http::{Method, StatusCode};

const PASSWORD: &str = "c4n4ry-correct-horse";
const LOCAL: &str = "--allow-plain-http --allow-address 127.0.0.0/8";
const LOGIN: &str = "--username robot --password-stdin";

/// Runs a program with these arguments, as its `main` does.
async fn run(program: &str, arguments: &str, stdin: &str) -> Answer {
    let arguments = arguments.split_whitespace().map(str::to_owned);
    let stdin = stdin.as_bytes();
    let host_or_image = registry_flags::host_or_image;
    let image = registry_flags::image;
    let answer = match program {
        "verify_access" => {
            match Asked::parse(verify_access::USAGE, host_or_image, arguments, stdin) {
                Ok((asked, image)) => verify_access::ask(&asked, image.as_ref()).await,
                Err(misused) => misused,
            }
        }
        "resolve_image" => match Asked::parse(resolve_image::USAGE, image, arguments, stdin) {
            Ok((asked, image)) => resolve_image::ask(&asked, &image).await,
            Err(misused) => misused,
        },
        _ => match Asked::parse(list_tags::USAGE, image, arguments, stdin) {
            Ok((asked, image)) => list_tags::ask(&asked, &image).await,
            Err(misused) => misused,
        },
    };
    assert!(!format!("{answer:?}").contains("c4n4ry"), "{answer:?}");
    answer
}

async fn guarded() -> TestRegistry {
    let registry = TestRegistry::builder()
        .basic()
        .user(User::new("robot", PASSWORD))
        .user(User::without_rights("nobody", PASSWORD))
        .start()
        .await
        .unwrap();
    let image = Image::builder()
        .user("10001")
        .exposed_port("8080/tcp")
        .build();
    registry.push("team/app", "1", &image).unwrap();
    registry.push("team/app", "2", &image).unwrap();
    registry
}

/// Returns the exit status, and the class at the start of the output.
fn seen(answer: &Answer) -> (u8, &str) {
    let text = if answer.stdout.is_empty() {
        &answer.stderr
    } else {
        &answer.stdout
    };
    (answer.status, text.split(':').next().unwrap())
}

#[tokio::test]
async fn a_login_and_an_image_that_work_end_with_0() {
    let registry = guarded().await;
    let host = registry.host();
    let password = format!("{PASSWORD}\n");
    let verify = |target: String| {
        let arguments = format!("{target} {LOCAL} {LOGIN}");
        let password = password.clone();
        async move { run("verify_access", &arguments, &password).await }
    };
    let answer = verify(format!("{host}/team/app:1")).await;
    assert_eq!(answer.status, 0);
    let words =
        format!("pull-allowed: image \"{host}/team/app:1\" can be pulled with this login\n");
    assert_eq!((answer.stdout, answer.stderr), (words, String::new()));
    assert_eq!(
        seen(&verify(format!("{host}/team/app")).await),
        (0, "pull-allowed")
    );
    assert_eq!(seen(&verify(host.to_owned()).await), (0, "login-accepted"));
}

#[tokio::test]
async fn what_the_registry_refuses_or_hides_ends_with_1() {
    let registry = guarded().await;
    let host = registry.host();
    for (what, login, stdin, class) in [
        ("team/app:1", LOGIN, "wrong", "credential-refused"),
        ("team/app:1", "", "", "login-required"),
        ("team/app:3", LOGIN, PASSWORD, "missing-or-hidden"),
        ("team/none:1", LOGIN, PASSWORD, "missing-or-hidden"),
        (
            "team/app:1",
            "--username nobody --password-stdin",
            PASSWORD,
            "pull-denied",
        ),
    ] {
        let arguments = format!("{host}/{what} {LOCAL} {login}");
        for program in ["verify_access", "resolve_image", "list_tags"] {
            let answer = run(program, &arguments, stdin).await;
            if program == "list_tags" && what == "team/app:3" {
                assert_eq!(answer.status, 0, "a tag does not matter to a list of tags");
                continue;
            }
            assert_eq!(seen(&answer), (1, class), "{program} {arguments}");
            assert_eq!(answer.stderr.is_empty(), program == "verify_access");
        }
    }

    registry.inject(
        Fault::on(Method::GET, "/v2/team")
            .answer(StatusCode::TOO_MANY_REQUESTS)
            .header("retry-after", "3600")
            .always(),
    );
    let arguments = format!("{host}/team/app:1 {LOCAL} {LOGIN}");
    let answer = run("verify_access", &arguments, PASSWORD).await;
    assert_eq!(seen(&answer), (1, "rate-limited"));
}

#[tokio::test]
async fn a_forbidden_address_ends_with_4_and_is_not_contacted() {
    let registry = guarded().await;
    let host = registry.host();
    for arguments in [
        format!("{host}/team/app:1 --allow-plain-http {LOGIN}"),
        format!("{host}/team/app:1 --allow-plain-http --allow-address 10.0.0.0/8 {LOGIN}"),
    ] {
        for program in ["verify_access", "resolve_image", "list_tags"] {
            let answer = run(program, &arguments, PASSWORD).await;
            assert_eq!(seen(&answer), (4, "blocked"), "{program} {arguments}");
        }
    }
    assert!(registry.requests().is_empty());
    // The control: with the address allowed, the registry is contacted.
    let arguments = format!("{host}/team/app:1 {LOCAL} {LOGIN}");
    assert_eq!(run("list_tags", &arguments, PASSWORD).await.status, 0);
    assert!(!registry.requests().is_empty());
}

#[tokio::test]
async fn no_answer_and_no_registry_end_with_3() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = closed.local_addr().unwrap();
    drop(closed);
    for program in ["verify_access", "resolve_image", "list_tags"] {
        let answer = run(program, &format!("{host}/team/app {LOCAL}"), "").await;
        assert_eq!(seen(&answer), (3, "unreachable"), "{program}");
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let page = || async { ([("content-type", "text/html")], "<h1>It works!</h1>") };
    let site = axum::Router::new().fallback(page);
    let server = tokio::spawn(async move { axum::serve(listener, site).await });
    for program in ["verify_access", "resolve_image", "list_tags"] {
        let answer = run(program, &format!("{host}/team/app {LOCAL}"), "").await;
        assert_eq!(seen(&answer), (3, "not-a-registry"), "{program}");
    }
    server.abort();
}

#[tokio::test]
async fn an_image_is_described_and_tags_are_listed() {
    let registry = guarded().await;
    let host = registry.host();
    let arguments = format!("{host}/team/app:2 {LOCAL} {LOGIN}");
    let answer = run("resolve_image", &arguments, PASSWORD).await;
    let (pinned, rest) = answer.stdout.split_once('\n').unwrap();
    let (name, digest) = pinned.split_once('@').unwrap();
    assert_eq!(name, format!("{host}/team/app:2"));
    assert_eq!(
        rest,
        format!(
            "  digest: {digest}\n  \
             media type: application/vnd.oci.image.manifest.v1+json\n  \
             platforms: linux/amd64\n  user: 10001\n  exposed ports: 8080/tcp\n"
        )
    );
    let answer = run("list_tags", &arguments, PASSWORD).await;
    let expected = (0, "1\n2\n".to_owned(), String::new());
    assert_eq!((answer.status, answer.stdout, answer.stderr), expected);
}

#[tokio::test]
async fn json_is_one_line_on_standard_output_also_for_failures() {
    let registry = guarded().await;
    let host = registry.host();
    let ask = |program, what: &str, stdin: &'static str| {
        let arguments = format!("{host}/{what} {LOCAL} {LOGIN} --json");
        async move {
            let answer = run(program, &arguments, stdin).await;
            assert_eq!(answer.stdout.matches('\n').count(), 1);
            assert_eq!(answer.stderr, "");
            let value: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
            (answer.status, value)
        }
    };
    let (status, access) = ask("verify_access", "team/app:1", PASSWORD).await;
    assert_eq!((status, &access["class"]), (0, &"pull-allowed".into()));
    assert_eq!(access["evidence"]["host"], host);

    for program in ["verify_access", "resolve_image", "list_tags"] {
        let (status, access) = ask(program, "team/app:1", "wrong").await;
        assert_eq!(
            (status, &access["class"]),
            (1, &"credential-refused".into())
        );
        assert!(access["message"].is_string() && access["help"].is_string());
        assert_eq!(access["evidence"]["status"], 401);
    }
    let (status, resolved) = ask("resolve_image", "team/app:1", PASSWORD).await;
    assert_eq!((status, &resolved["user"]), (0, &"10001".into()));
    let (status, tags) = ask("list_tags", "team/app", PASSWORD).await;
    assert_eq!(status, 0);
    assert_eq!(tags.to_string(), r#"{"complete":true,"tags":["1","2"]}"#);
}

#[tokio::test]
async fn a_docker_config_logs_in_with_the_entry_of_the_host() {
    let registry = guarded().await;
    let host = registry.host();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let entry = |host: &str, password: &str| {
        format!(r#""{host}":{{"username":"robot","password":"{password}"}}"#)
    };
    let two = [entry("other.example", "wrong"), entry(&host, PASSWORD)].join(",");
    std::fs::write(&file, format!(r#"{{"auths":{{{two}}}}}"#)).unwrap();
    let arguments = format!(
        "{host}/team/app:1 {LOCAL} --docker-config={}",
        file.display()
    );
    let answer = run("verify_access", &arguments, "").await;
    assert_eq!(seen(&answer), (0, "pull-allowed"));

    std::fs::write(&file, PASSWORD).unwrap();
    assert_eq!(run("verify_access", &arguments, "").await.status, 2);
}

#[tokio::test]
async fn wrong_use_ends_with_2_and_repeats_no_argument() {
    for arguments in [
        "",
        "--json",
        "ghcr.io c4n4ry",
        "ghcr.io --password c4n4ry",
        "ghcr.io --password=c4n4ry",
        "ghcr.io --password-stdin=c4n4ry",
        "ghcr.io --username",
        "ghcr.io --username robot",
        "ghcr.io --password-stdin",
        "ghcr.io --username a --username b --password-stdin",
        "ghcr.io --username robot --password-stdin",
        "ghcr.io --docker-config /nowhere/config.json",
        "ghcr.io --docker-config x --username robot --password-stdin",
        "ghcr.io --allow-address 10.0.0.0/99",
        "ghcr.io --ca /nowhere/ca.pem",
        "robot:c4n4ry@ghcr.io",
        "https://robot:c4n4ry@ghcr.io/team/app",
        "robot:c4n4ry@ghcr.io/team/app",
        "ghcr.io/Team/App",
    ] {
        for program in ["verify_access", "resolve_image", "list_tags"] {
            // An image without a host is Docker Hub's.
            let arguments = arguments.replacen("ghcr.io ", "ghcr.io/team/app ", 1);
            // Standard input is empty, so no password is read.
            let answer = run(program, &arguments, "").await;
            assert_eq!(
                (answer.status, answer.stdout.as_str()),
                (2, ""),
                "{arguments}"
            );
            assert!(answer.stderr.contains(&format!("usage: {program} ")));
        }
    }
}

/// Guards pipelines: access that may work must not stop one, and a denial must.
#[test]
fn a_class_that_may_work_is_0_and_no_other() {
    for class in [
        AccessClass::PullAllowed,
        AccessClass::LoginAccepted,
        AccessClass::NotCheckable,
        AccessClass::MissingOrHidden,
        AccessClass::PullDenied,
        AccessClass::LoginRequired,
        AccessClass::CredentialRefused,
        AccessClass::UnsupportedImage,
        AccessClass::RateLimited,
        AccessClass::Unreachable,
        AccessClass::NotARegistry,
        AccessClass::Blocked,
    ] {
        let status = registry_flags::status(class);
        assert_eq!(status == 0, class.may_work(), "{class}");
    }
}
