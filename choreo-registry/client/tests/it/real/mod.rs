//! The same questions to five registries, written by four groups of people.
//!
//! A registry whose program is missing is skipped loudly: Debian's `docker-registry`, Go for three
//! others, and `openssl` for tokens.

mod agree;
mod programs;
mod push;
#[cfg(feature = "tls")]
mod tls;
mod tokens;

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use choreo_registry::{Credential, ImageReference};
use choreo_registry_client::{RegistryClient, egress::Egress, transport::ReqwestTransport};
use choreo_test_registry::{TestRegistry, User};

use self::{programs::Program, push::Pusher, tokens::TokenServer};
use crate::PASSWORD;

/// The login that a registry requires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Login {
    /// Nothing.
    Open,
    /// The user `robot` and [`PASSWORD`].
    Password,
    /// A token for the same.
    Token,
}

/// A registry on a free port of loopback, until it is dropped.
pub(crate) struct RealRegistry {
    pub(crate) name: &'static str,
    pub(crate) login: Login,
    host: String,
    tokens: Option<TokenServer>,
    // Fields are dropped in their order: the program ends before its folder goes.
    _running: Running,
    _folder: Option<Folder>,
}

enum Running {
    InProcess { _registry: TestRegistry },
    Program { _child: Killed },
}

/// A process that ends with its owner.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("real-{}-{number}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl RealRegistry {
    /// Every registry with every login that it has, the missing ones left out loudly.
    pub(crate) async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for login in [Login::Open, Login::Password, Login::Token] {
            all.push(Some(Self::ours(login).await));
            all.push(Self::distribution(Program::Debian, login).await);
            all.push(Self::distribution(Program::Distribution3, login).await);
        }
        all.push(
            Self::started(Program::Crane, Login::Open, |port| {
                vec!["registry", "serve", "--address"]
                    .into_iter()
                    .map(str::to_owned)
                    .chain([format!("127.0.0.1:{port}")])
                    .collect()
            })
            .await,
        );
        all.push(
            Self::started(Program::Ociregistry, Login::Open, |port| {
                vec![format!("127.0.0.1:{port}")]
            })
            .await,
        );
        all.into_iter().flatten().collect()
    }

    /// `choreo-test-registry`, in this process.
    async fn ours(login: Login) -> Self {
        let builder = match login {
            Login::Open => TestRegistry::builder(),
            Login::Password => TestRegistry::builder().basic(),
            Login::Token => TestRegistry::builder().bearer(),
        };
        let registry = builder.user(User::new("robot", PASSWORD)).start().await;
        let registry = registry.unwrap();
        Self {
            name: "choreo-test-registry",
            login,
            host: registry.host(),
            tokens: None,
            _running: Running::InProcess {
                _registry: registry,
            },
            _folder: None,
        }
    }

    /// The registry of <https://github.com/distribution/distribution>, version 2.8 or 3.
    async fn distribution(program: Program, login: Login) -> Option<Self> {
        let folder = Folder::new();
        let tokens = match login {
            Login::Token => Some(TokenServer::or_skip(&folder).await?),
            Login::Open | Login::Password => None,
        };
        let auth = match (&tokens, login) {
            (Some(tokens), _) => format!(
                "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
                 rootcertbundle: {}\n",
                tokens.realm(),
                tokens.certificate().display()
            ),
            (None, Login::Password) => {
                let users = folder.write("htpasswd", HTPASSWD);
                format!(
                    "auth:\n  htpasswd:\n    realm: real\n    path: {}\n",
                    users.display()
                )
            }
            (None, _) => String::new(),
        };
        let started = Self::started(program, login, |port| {
            let config = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  inmemory: {{}}\n  delete:\n    \
                 enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: of-a-test\n{auth}"
            );
            let config = folder.write("config.yml", &config);
            vec!["serve".to_owned(), config.display().to_string()]
        });
        let started = started.await?;
        Some(Self {
            tokens,
            _folder: Some(folder),
            ..started
        })
    }

    /// Starts a program on a free port and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it is there and does not answer within 20 seconds, three times over: another process may
    /// take the free port first.
    async fn started(
        program: Program,
        login: Login,
        arguments: impl Fn(u16) -> Vec<String>,
    ) -> Option<Self> {
        let path = program.path_or_skip()?;
        for _ in 0..3 {
            let port = free_port();
            let child = Command::new(&path)
                .args(arguments(port))
                .env("OTEL_TRACES_EXPORTER", "none")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut child = Killed(child);
            let host = format!("127.0.0.1:{port}");
            if answers(&host, &mut child.0).await {
                return Some(Self {
                    name: program.name(),
                    login,
                    host,
                    tokens: None,
                    _running: Running::Program { _child: child },
                    _folder: None,
                });
            }
        }
        panic!("{} does not start", program.name());
    }

    /// Returns the policy of an operator that allows this registry: loopback, plain HTTP, and its
    /// token server.
    pub(crate) fn egress(&self) -> Egress {
        let egress = Egress::tenant()
            .allow_network("127.0.0.0/8".parse().unwrap())
            .allow_plain_http(self.host.parse().unwrap());
        match &self.tokens {
            None => egress,
            Some(tokens) => egress
                .allow_plain_http(tokens.host().parse().unwrap())
                .trust_realm(self.host.parse().unwrap(), tokens.host().parse().unwrap()),
        }
    }

    /// A client with this password, or with none.
    pub(crate) fn client(&self, password: Option<&str>) -> RegistryClient {
        let credential = password.map(|password| Credential::new("robot", password).unwrap());
        let transport = Arc::new(ReqwestTransport::new(self.egress()).unwrap());
        RegistryClient::new(self.host.parse().unwrap(), credential, transport)
    }

    pub(crate) fn image(&self, name: &str) -> ImageReference {
        format!("{}/{name}", self.host).parse().unwrap()
    }

    /// Who pushes to this registry.
    pub(crate) async fn pusher(&self, repository: &str) -> Pusher {
        let authorization = match (self.login, &self.tokens) {
            (Login::Open, _) => None,
            (Login::Password, _) => Some(push::basic()),
            (Login::Token, Some(tokens)) => Some(tokens.pusher(repository).await),
            (Login::Token, None) => Some(push::token(&self.host, repository).await),
        };
        Pusher::new(&self.host, repository, authorization)
    }
}

/// Says why a test, or a part of one, does not run.
pub(crate) fn skipped(what: &str, why: &str) {
    // Not `eprintln!`: the test harness would keep it to itself.
    let text = format!("SKIPPED: {what}, because {why}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether the program comes to answer before it ends.
async fn answers(host: &str, child: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        if push::try_ask(host, "GET /v2/", &[], b"").await.is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

const SERVICE: &str = "real-registry";
const ISSUER: &str = "token-server";

/// `htpasswd -nbB -C 4 robot` with [`PASSWORD`].
const HTPASSWD: &str = "robot:$2y$04$uxafoBaGxHQooQIwaIzMdOWE/HWPhZNgNXb5Qu9Zn1Yn4rh2Hrzea\n";
