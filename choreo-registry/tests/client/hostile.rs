//! Registries that want the credential sent elsewhere: thousands of made-up conversations, in which
//! every answer may be a challenge, a redirect or a token, and everything points anywhere.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use choreo_registry::{
    Credential,
    client::{Egress, HttpTransport, Outbound, RegistryClient, TransportError},
};
use http::{Response, header};
use proptest::{prelude::*, test_runner::TestRunner};

const HOST: &str = "registry.example.com";
const TOKEN: &str = "canary-token";

/// Where challenges and redirects point: home, near misses of home, and far away.
const PLACES: [&str; 14] = [
    "https://registry.example.com/token",
    "https://registry.example.com:443/token",
    "/token",
    "token?account=x",
    "https://registry.example.com:8443/token",
    "http://registry.example.com/token",
    "https://registry.example.com.evil.example/token",
    "https://registry.example.com@evil.example/token",
    "https://evil.example/token",
    "//evil.example/token",
    "https://auth.docker.io/token",
    "https://127.1/token",
    "https://[::ffff:a9fe:a9fe]/latest/meta-data",
    "https://sub.registry.example.com/token",
];

/// Answers from a script, whatever is asked; remembers who was shown what.
#[derive(Debug)]
struct Hostile {
    egress: Egress,
    script: Mutex<VecDeque<Response<Bytes>>>,
    shown: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl HttpTransport for Hostile {
    async fn send(&self, outbound: Outbound) -> Result<Response<Bytes>, TransportError> {
        let uri = outbound.request.uri();
        let origin = format!(
            "{}://{}",
            uri.scheme_str().unwrap(),
            uri.authority().unwrap()
        );
        let header = outbound.request.headers().get(header::AUTHORIZATION);
        let secret = header
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        self.shown
            .lock()
            .unwrap()
            .push((origin, format!("{secret} {uri}")));
        let next = self.script.lock().unwrap().pop_front();
        Ok(next.unwrap_or_default())
    }

    fn egress(&self) -> &Egress {
        &self.egress
    }
}

/// The origins that were shown the password or a token, in any header or URL.
fn receivers(egress: Egress, script: Vec<Response<Bytes>>) -> Vec<String> {
    let credential = Credential::new("robot", "canary-password").unwrap();
    let basic = credential.expose_basic().to_string();
    let script = Mutex::new(script.into());
    let transport = Arc::new(Hostile {
        egress,
        script,
        shown: Mutex::default(),
    });
    let shared: Arc<dyn HttpTransport> = Arc::<Hostile>::clone(&transport);
    let client = RegistryClient::new(HOST.parse().unwrap(), Some(credential), shared);
    let image = format!("{HOST}/team/app:1").parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let _ = client.verify(None).await;
        let _ = client.inspect(&image).await;
    });
    let shown = transport.shown.lock().unwrap();
    let secret = |text: &str| text.contains(&basic) || text.contains("canary");
    shown
        .iter()
        .filter(|(_, text)| secret(text))
        .map(|(origin, _)| origin.clone())
        .collect()
}

fn answers() -> impl Strategy<Value = Vec<Response<Bytes>>> {
    let challenge = (0..PLACES.len(), 0..4_u8).prop_map(|(place, form)| {
        let realm = PLACES[place];
        let value = match form {
            0 => "Basic realm=\"x\"".to_owned(),
            1 => format!("Bearer realm=\"{realm}\""),
            2 => format!("Basic realm=\"x\", Bearer realm=\"{realm}\",service=\"s\""),
            _ => format!("bearer REALM=\"{realm}\",scope=\"repository:team/app:pull\""),
        };
        answer(401, header::WWW_AUTHENTICATE, &value)
    });
    let redirect = (
        0..PLACES.len(),
        prop::sample::select(vec![301, 302, 303, 307, 308]),
    )
        .prop_map(|(place, status)| answer(status, header::LOCATION, PLACES[place]));
    let token = Just(Response::new(Bytes::from(format!(
        r#"{{"token":"{TOKEN}"}}"#
    ))));
    let refusal = prop::sample::select(vec![200, 403, 404, 500])
        .prop_map(|status| answer(status, header::SERVER, "x"));
    prop::collection::vec(
        prop_oneof![4 => challenge, 3 => redirect, 3 => token, 1 => refusal],
        1..12,
    )
}

fn answer(status: u16, name: header::HeaderName, value: &str) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header(name, value)
        .body(Bytes::new())
        .unwrap()
}

#[test]
fn no_conversation_sends_a_secret_to_another_origin() {
    let at_home = Cell::new(0);
    TestRunner::new(ProptestConfig::with_cases(4096))
        .run(&answers(), |script| {
            for origin in receivers(Egress::tenant(), script) {
                prop_assert!(
                    origin == format!("https://{HOST}") || origin == format!("https://{HOST}:443"),
                    "{origin}"
                );
                at_home.set(at_home.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(
        at_home.get() > 1000,
        "the conversations do reach logins: {at_home:?}"
    );
}

/// The control: the same conversations do reach a token server elsewhere once it is trusted, so the
/// test above would see a client that trusts everything.
#[test]
fn the_conversations_would_find_a_client_that_trusts_too_much() {
    let stolen = Cell::new(0);
    TestRunner::new(ProptestConfig::with_cases(512))
        .run(&answers(), |script| {
            let careless = Egress::tenant()
                .trust_realm(HOST.parse().unwrap(), "evil.example".parse().unwrap());
            let origins = receivers(careless, script);
            let theirs = origins
                .iter()
                .filter(|origin| *origin == "https://evil.example");
            stolen.set(stolen.get() + theirs.count());
            Ok(())
        })
        .unwrap();
    assert!(stolen.get() > 10, "{stolen:?}");
}
