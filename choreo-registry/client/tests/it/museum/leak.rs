//! Visible text: `Debug`, errors, logs and answers.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Instant,
};

use choreo_registry::{Authentication, PullSecret, RegistryHost, pull_secret::SecretMetadata};
use choreo_registry_client::{ErrorKind::Denied, RegistryClient, transport::Outbound};
use http::Response;

use super::{Flaw, HOME, Internet, Outcome, PASSWORD, RESOLVE, Scene, home, page, robot};

/// oci-client #260: a derived `Debug` showed tokens and passwords. Guarded: secrets, and the types
/// that contain them, have a manual `Debug`.
#[test]
fn oci_client_260_printed_the_password() {
    let client = RegistryClient::new(HOME.parse().unwrap(), Some(robot()), Internet::new(home));
    let login = Authentication::basic("robot", PASSWORD).unwrap();
    let ours = format!("{:?} {login:?} {client:?}", robot());
    assert!(!ours.contains("canary"), "{ours}");
    let naive = format!("{:?}", ("robot", PASSWORD));
    assert!(naive.contains("canary"));
}

/// oci-client 0.17.0, seen in its source: the body of a remote error is logged as it came. Guarded: a
/// registry that echoes the login puts it into no error of ours.
#[tokio::test]
async fn oci_client_logged_what_the_registry_said() {
    let scene = Scene::new(Flaw::EchoesBody, RESOLVE, |request| {
        let Some(login) = request.headers().get("authorization") else {
            return home(request);
        };
        if page(request).ends_with("/token") {
            return home(request);
        }
        let login = login.to_str().unwrap();
        let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"not with {login}"}}]}}"#);
        let response = Response::builder().status(403).body(body.into());
        Ok(response.unwrap())
    });
    let fell = |end: &Outcome| end.result.as_ref().unwrap_err().contains("canary");
    scene.held(Denied).shows(fell).await;
}

/// membrane_core #1115: GitHub put webhooks' secrets into a header, `X-Github-Encoded-Secret`, and
/// receivers that log headers stored them. Guarded: the `Debug` of our requests shows no header.
#[test]
fn membrane_core_1115_logged_all_headers() {
    let request = http::Request::get("https://registry.example.com/v2/")
        .header("x-github-encoded-secret", PASSWORD)
        .body(bytes::Bytes::new())
        .unwrap();
    assert!(format!("{request:?}").contains("canary"), "the naive twin");
    let ours = format!("{:?}", Outbound::new(request, 7, Instant::now()));
    assert!(!ours.contains("canary"), "{ours}");
}

/// CVE-2023-25163: Argo CD showed a repository's credential in an error. Guarded: a password in a URL
/// is refused, and the refusal does not repeat it.
#[test]
fn cve_2023_25163_argo_cd_showed_credentials_in_an_error() {
    let url = "https://robot:canary-password@registry.example.com/";
    let error = url.parse::<RegistryHost>().unwrap_err();
    assert!(error.carries_credential());
    assert!(!format!("{error} {error:?}").contains("canary"));
    let naive = format!("failed to reach {url}");
    assert!(naive.contains("canary"));
}

/// CVE-2025-55190: Argo CD's answer about a project contained the passwords of its repositories.
/// Guarded: values for display are made without the secret.
#[test]
fn cve_2025_55190_argo_cd_answered_with_passwords() {
    let secret = PullSecret::new(&HOME.parse().unwrap(), &robot());
    let metadata = SecretMetadata::new("images").unwrap();
    let naive = secret.expose_manifest(&metadata).to_string();
    let ours = secret.redacted_manifest(&metadata).to_string();
    let holds = |text: &str| text.contains(&base64_of(secret.expose_docker_config_json()));
    assert!(!holds(&ours) && !ours.contains("canary"), "{ours}");
    assert!(holds(&naive));
}

fn base64_of(text: &str) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)
}

/// keel, seen in its source until 2026-08-18: a failed login was logged with the password. Guarded: a
/// refused login at the noisiest level.
#[test]
fn keel_logged_the_password_of_a_failed_login() {
    let ours = logged(refused_login);
    let basic = robot().expose_basic().to_string();
    assert!(ours.contains("registry answered"), "the log is captured");
    assert!(!ours.contains("canary") && !ours.contains(&basic), "{ours}");
    let naive = logged(|| tracing::error!(user = "robot", basic, "login failed"));
    assert!(naive.contains(&*robot().expose_basic()));
}

fn refused_login() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let refuses = Internet::new(|_| super::challenge("Basic realm=\"x\""));
    let client = RegistryClient::new(HOME.parse().unwrap(), Some(robot()), refuses);
    assert!(runtime.block_on(client.resolve(&RESOLVE.image())).is_err());
}

/// Returns the text that this thread logs meanwhile, at every level.
fn logged(run: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        // An event that another thread passed without a subscriber is remembered as unwanted.
        tracing::callsite::rebuild_interest_cache();
        run();
    });
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
