//! Two logins on one registry: no token of the one is ever shown for the other, in whatever order
//! their requests and answers come.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use choreo_registry::Credential;
use choreo_registry_client::{
    RegistryClient,
    egress::Egress,
    transport::{HttpTransport, Outbound, TransportError},
};
use http::{Response, header};

use crate::cases;

const HOST: &str = "registry.example.com";
const REPOSITORIES: [&str; 2] = ["team/app", "team/other"];

/// SplitMix64: one seed, one interleaving.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// The registry and its token server: a token names its login, and a manifest is served to any
/// client with a token for it.
#[derive(Debug)]
struct Registry {
    random: Mutex<Random>,
    tokens: Mutex<u64>,
    /// Who was seen with whose token.
    shown: Mutex<HashMap<(String, String), usize>>,
}

impl Registry {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            random: Mutex::new(Random(seed)),
            tokens: Mutex::default(),
            shown: Mutex::default(),
        })
    }

    async fn wander(&self) {
        let turns = self.random.lock().unwrap().below(5);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    fn answer(&self, caller: &str, request: &http::Request<Bytes>) -> Response<Bytes> {
        let shown = request.headers().get(header::AUTHORIZATION);
        let shown = shown.map_or("", |value| value.to_str().unwrap());
        if request.uri().path() == "/token" {
            let owner = ["alice", "bob"].into_iter().find(|name| {
                let basic = Credential::new(*name, "secret").unwrap().expose_basic();
                shown == format!("Basic {}", *basic)
            });
            let mut tokens = self.tokens.lock().unwrap();
            *tokens += 1;
            let token = format!("{}.{tokens}", owner.unwrap_or("nobody"));
            return Response::new(format!(r#"{{"token":"{token}"}}"#).into());
        }
        if let Some(token) = shown.strip_prefix("Bearer ") {
            let owner = token.split('.').next().unwrap().to_owned();
            *self
                .shown
                .lock()
                .unwrap()
                .entry((caller.to_owned(), owner))
                .or_default() += 1;
            // One token in four has ended before its time.
            if self.random.lock().unwrap().below(4) != 0 {
                return Response::new(r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}]}"#.into());
            }
        }
        Response::builder()
            .status(401)
            .header("www-authenticate", r#"Bearer realm="/token",service="s""#)
            .body(Bytes::new())
            .unwrap()
    }
}

/// One client's way to the registry.
#[derive(Debug)]
struct Line {
    caller: String,
    egress: Egress,
    registry: Arc<Registry>,
}

#[async_trait]
impl HttpTransport for Line {
    async fn send(&self, outbound: Outbound) -> Result<Response<Bytes>, TransportError> {
        self.registry.wander().await;
        let answer = self.registry.answer(&self.caller, &outbound.request);
        self.registry.wander().await;
        Ok(answer)
    }

    fn egress(&self) -> Egress {
        self.egress.clone()
    }
}

fn line(caller: &str, registry: &Arc<Registry>) -> Arc<Line> {
    Arc::new(Line {
        caller: caller.to_owned(),
        egress: Egress::tenant(),
        registry: Arc::clone(registry),
    })
}

fn client(name: &str, login: Option<&str>, registry: &Arc<Registry>) -> RegistryClient {
    let credential = login.map(|login| Credential::new(login, "secret").unwrap());
    RegistryClient::new(HOST.parse().unwrap(), credential, line(name, registry))
}

async fn pull(client: &RegistryClient) {
    for repository in REPOSITORIES {
        let image = format!("{HOST}/{repository}:1").parse().unwrap();
        let _ = client.resolve(&image).await;
    }
}

/// Who was seen with whose token, in one interleaving of five callers.
async fn interleaving(seed: u64) -> HashMap<(String, String), usize> {
    let registry = Registry::new(seed);
    let alice = client("alice", Some("alice"), &registry);
    let bob = client("bob", Some("bob"), &registry);
    let nobody = client("nobody", None, &registry);
    tokio::join!(
        pull(&alice),
        pull(&bob),
        pull(&alice),
        pull(&nobody),
        pull(&bob)
    );
    let shown = registry.shown.lock().unwrap();
    shown.clone()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

#[test]
fn two_clients_never_share_a_token() {
    let runtime = runtime();
    let mut seen = 0;
    for seed in 0..cases(1_000) {
        let shown = runtime.block_on(interleaving(seed.into()));
        for ((caller, owner), count) in shown {
            assert_eq!(caller, owner, "interleaving {seed}");
            seen += count;
        }
    }
    assert!(seen > 2_000, "the clients do use tokens: {seen}");
}

/// The control: a client that two callers share shows the token of the one for the other, and the
/// registry of these tests sees it. So would one with a cache by registry, repository and operation,
/// as there are.
#[test]
fn a_shared_cache_would_be_seen() {
    let mut mixed = 0;
    for seed in 0..100 {
        let registry = Registry::new(seed);
        // Bob's line under alice's login.
        let shared = client("bob", Some("alice"), &registry);
        runtime().block_on(pull(&shared));
        let shown = registry.shown.lock().unwrap();
        mixed += shown.iter().filter(|((a, b), _)| a != b).count();
    }
    assert!(mixed > 50, "{mixed}");
}
