//! The settings of a registry.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::auth::{Accounts, Denial, Gate, Login, User};
use crate::registry::TestRegistry;
use crate::server::{Roles, Shared, TOKEN_PATH, serve};
use crate::token::{TokenField, TokenServer};

/// The settings of a registry. By default, it is open to everyone on a free port of 127.0.0.1.
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
    /// Sets the port. By default, the registry uses a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Requires a user name and a password for every request.
    #[must_use]
    pub fn basic(mut self) -> Self {
        self.scheme = Scheme::Basic;
        self
    }

    /// Requires a token for every request. `/token` issues it for a user name and a password.
    #[must_use]
    pub fn bearer(mut self) -> Self {
        self.scheme = Scheme::Bearer;
        self
    }

    /// Adds a user. Users have an effect only with [`basic`](Self::basic) or
    /// [`bearer`](Self::bearer).
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.accounts.users.push(user);
        self
    }

    /// Allows everyone to pull from the repositories under `prefix` without a login. With tokens,
    /// an anonymous token is required.
    #[must_use]
    pub fn public_pull(mut self, prefix: impl Into<String>) -> Self {
        self.accounts.public.push(prefix.into());
        self
    }

    /// Sets the response to a user who lacks a right. The default is `403 DENIED`.
    #[must_use]
    pub fn denial(mut self, denial: Denial) -> Self {
        self.denial = denial;
        self
    }

    /// Issues tokens at a separate address, on another port of 127.0.0.1.
    #[must_use]
    pub fn token_server_apart(mut self) -> Self {
        self.tokens_apart = true;
        self
    }

    /// Sets the lifetime of a token. The default is 60 seconds. Its `expires_in` is in whole
    /// seconds.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Sets the fields that contain the token. The default is both.
    #[must_use]
    pub fn token_field(mut self, field: TokenField) -> Self {
        self.token_field = field;
        self
    }

    /// Sets the maximum size of a blob or chunk in bytes. The default is 64 MiB. Manifests are
    /// limited to 4 MiB.
    #[must_use]
    pub fn blob_limit(mut self, bytes: usize) -> Self {
        self.blob_limit = bytes;
        self
    }

    /// Starts the registry on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the port is in use or the system refuses to listen.
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime, or if the runtime was built without its IO and time
    /// drivers.
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
