//! No secret in anything that is shown or logged.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use choreo_registry::Credential;
use choreo_test_registry::Fault;
use http::Method;

use crate::{MANIFESTS, PASSWORD, client, guarded, image, resolve};

/// Guards all text that can be shown or logged, with every crate at its most verbose level.
#[test]
fn no_secret_is_shown_or_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // The subscriber is global: the logs of concurrent tests may contain no secret either.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let shown = runtime.block_on(everything_shown());

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("registry answered") && log.contains("status=401"),
        "the log is captured"
    );
    let (tokens, shown) = shown;
    assert!(
        tokens.iter().any(|token| token.len() > 10),
        "tokens were issued"
    );
    let basic = Credential::new("robot", PASSWORD)
        .unwrap()
        .expose_basic()
        .to_string();
    let secrets = [PASSWORD, basic.as_str()]
        .into_iter()
        .chain(tokens.iter().map(String::as_str));
    for secret in secrets {
        assert!(!log.contains(secret), "in the log");
        assert!(!shown.contains(secret), "in {shown}");
    }
}

async fn everything_shown() -> (Vec<String>, String) {
    let mut shown = String::new();
    let mut tokens = Vec::new();
    for bearer in [false, true] {
        let registry = guarded(bearer).await;
        let client = client(&registry, Some(PASSWORD));
        for name in ["team/app:1", "team/app:missing", "team/none:1"] {
            shown += &format!("{:?}", resolve(&client, &registry, name).await);
            let access = client.verify(Some(&image(&registry, name))).await;
            shown += &format!(
                "{access:?} {access} {}",
                serde_json::to_string(&access).unwrap()
            );
        }
        registry.inject(Fault::on(Method::GET, MANIFESTS).hang_up());
        shown += &format!("{:?}", resolve(&client, &registry, "team/app:1").await);
        shown += &format!("{client:?}");
        tokens.extend(registry.requests().iter().filter_map(|request| {
            Some(
                request
                    .expose_authorization()?
                    .split_once(' ')?
                    .1
                    .to_owned(),
            )
        }));
    }
    (tokens, shown)
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
