//! How a registry is to be.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::auth::{Accounts, Denial, Gate, Login, User};
use crate::registry::TestRegistry;
use crate::server::{Roles, Shared, TOKEN_PATH, serve};
use crate::token::{TokenField, TokenServer};

/// How a registry is to be: open to all on a free port of 127.0.0.1, unless said.
///
/// ```
/// use std::time::Duration;
///
/// use choreo_test_registry::{TestRegistry, User};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
///
/// let registry = TestRegistry::builder()
///     .bearer()
///     .user(User::new("ci", "correct horse"))
///     .user(User::without_rights("reader", "battery staple").may_pull("team"))
///     .public_pull("library")
///     .token_lifetime(Duration::from_secs(300))
///     .start()
///     .await?;
/// assert!(registry.host().starts_with("127.0.0.1:"));
/// # Ok::<_, std::io::Error>(()) })?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    port: u16,
    scheme: Scheme,
    accounts: Accounts,
    denial: Denial,
    tokens_apart: bool,
    token_lifetime: Duration,
    token_field: TokenField,
    blob_limit: usize,
}

#[derive(Clone, Copy, Debug)]
enum Scheme {
    Basic,
    Bearer,
    Open,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            port: 0,
            scheme: Scheme::Open,
            accounts: Accounts::default(),
            denial: Denial::default(),
            tokens_apart: false,
            token_lifetime: Duration::from_secs(60),
            token_field: TokenField::default(),
            blob_limit: 64 * 1024 * 1024,
        }
    }
}

impl Builder {
    /// The port; a free one unless said.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Asks every request for a user name and a password.
    #[must_use]
    pub fn basic(mut self) -> Self {
        self.scheme = Scheme::Basic;
        self
    }

    /// Asks every request for a token, which `/token` gives for a user name and a password.
    #[must_use]
    pub fn bearer(mut self) -> Self {
        self.scheme = Scheme::Bearer;
        self
    }

    /// Adds a user. Users count with [`basic`](Self::basic) and [`bearer`](Self::bearer) alone.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.accounts.users.push(user);
        self
    }

    /// Lets anyone pull what is under `prefix` without a login; with tokens, by an anonymous one.
    #[must_use]
    pub fn public_pull(mut self, prefix: impl Into<String>) -> Self {
        self.accounts.public.push(prefix.into());
        self
    }

    /// The answer to a user who lacks a right; `403 DENIED` unless said.
    #[must_use]
    pub fn denial(mut self, denial: Denial) -> Self {
        self.denial = denial;
        self
    }

    /// Gives tokens at an address of their own: another port of 127.0.0.1.
    #[must_use]
    pub fn token_server_apart(mut self) -> Self {
        self.tokens_apart = true;
        self
    }

    /// How long a token is valid; 60 seconds unless said. Its `expires_in` is in whole seconds.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Which fields carry the token; both unless said.
    #[must_use]
    pub fn token_field(mut self, field: TokenField) -> Self {
        self.token_field = field;
        self
    }

    /// The largest blob or chunk that is taken, in bytes; 64 MiB unless said. (A manifest: 4 MiB.)
    #[must_use]
    pub fn blob_limit(mut self, bytes: usize) -> Self {
        self.blob_limit = bytes;
        self
    }

    /// Starts the registry on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// The port is taken, or the system refuses to listen.
    ///
    /// # Panics
    ///
    /// There is no Tokio runtime, or it was built without its IO and time drivers.
    pub async fn start(self) -> io::Result<TestRegistry> {
        let listener = listen(self.port).await?;
        let address = listener.local_addr()?;
        let apart = match (self.scheme, self.tokens_apart) {
            (Scheme::Bearer, true) => Some(listen(0).await?),
            _ => None,
        };
        let token_address = apart
            .as_ref()
            .map_or(Ok(address), TcpListener::local_addr)?;
        let shared = Arc::new(self.shared(address, token_address));

        let roles = |registry, tokens| Roles { registry, tokens };
        let main = serve(listener, Arc::clone(&shared), roles(true, apart.is_none()));
        let mut tasks = vec![tokio::spawn(main)];
        if let Some(listener) = apart {
            let tokens = serve(listener, Arc::clone(&shared), roles(false, true));
            tasks.push(tokio::spawn(tokens));
        }
        Ok(TestRegistry::new(address, shared, tasks))
    }

    fn shared(self, address: SocketAddr, token_address: SocketAddr) -> Shared {
        let login = match self.scheme {
            Scheme::Open => Login::Open,
            Scheme::Basic => Login::Basic,
            Scheme::Bearer => {
                let realm = format!("http://{token_address}{TOKEN_PATH}");
                let server = TokenServer::new(realm, address.to_string());
                Login::Bearer(server.lifetime(self.token_lifetime).field(self.token_field))
            }
        };
        Shared {
            gate: Gate {
                accounts: self.accounts,
                denial: self.denial,
                login,
            },
            store: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
            blob_limit: self.blob_limit,
        }
    }
}

async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}
