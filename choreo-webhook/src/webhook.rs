//! The deploy webhook.

mod authenticate;
mod body;
mod deploy;
mod document;
mod follow;
mod gate;
mod problem;
mod request;
mod response;

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use choreo_deploy::Intake;
use choreo_deploy::clock::{Clock, SystemClock};
use choreo_deploy::store::TokenStore;
use http::request::Parts;
use http::{Method, Request, Response, Uri};
use http_body::Body;
use percent_encoding::percent_decode_str;
use tower_service::Service;

use self::gate::Gate;
pub use self::gate::{Limits, Share};
use self::problem::{Problem, ROTATE};
pub use self::response::ResponseBody;
use crate::BaseUrl;
use crate::problem::ProblemType;
use crate::token::PREFIX;

/// The deploy webhook: a [`tower_service::Service`] over an [`Intake`] and a [`TokenStore`].
///
/// It accepts any body, never fails and is cheap to clone; all clones share the same [`Limits`]. It
/// needs a tokio runtime with time enabled. The [crate's front page](crate) has an example, describes
/// the protocol and shows how to mount it.
///
/// # Contract
/// - It authenticates from the headers before it reads a byte of the body.
/// - It responds with `202` only after [`Intake::accept`] has returned.
/// - It rejects an invalid request with a problem of [`ProblemType`]. `5xx` means that the intake,
///   the token store or the server cannot process requests at the moment.
///
/// # What it does not do
/// It does not catch a panic of the intake or the store: the application has a policy for all its
/// services. It does not limit the rate of requests. Tokens cannot be guessed, but a proxy should
/// limit requests by address.
///
/// # Example
/// ```
/// # use std::collections::HashMap;
/// use std::sync::Arc;
///
/// use choreo_deploy::clock::SystemClock;
/// # use choreo_deploy::catalog::StaticCatalog;
/// # use choreo_deploy::deployer::{Deployer, DeployerParts};
/// # use choreo_deploy::resolver::NeverResolver;
/// # use choreo_deploy::sealer::{Sealer, SealingKey};
/// # use choreo_deploy::store::InMemoryStore;
/// use choreo_webhook::DeployWebhook;
/// use choreo_webhook::webhook::{Limits, Share};
/// use http::Request;
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let tokens = Arc::new(InMemoryStore::new());
/// # let intake = Arc::new(Deployer::new(DeployerParts {
/// #     store: Arc::clone(&tokens) as _,
/// #     catalog: Arc::new(StaticCatalog::new([])),
/// #     backends: Arc::new(HashMap::new()),
/// #     resolver: Arc::new(NeverResolver),
/// #     sealer: Arc::new(Sealer::new(SealingKey::new("2026-11", [7; 32])?)),
/// # }));
/// let mut limits = Limits::default();
/// limits.deploying = Share::new(128, 32, 8);
/// let webhook = DeployWebhook::new(intake, tokens)
///     .with_base_url("https://cd.example.com".parse()?)
///     .with_clock(Arc::new(SystemClock))
///     .with_limits(limits);
///
/// let request = Request::post("/v1/deployments").body(String::new())?;
/// let response = webhook.oneshot(request).await?;
/// assert_eq!(response.status(), 401);
/// assert_eq!(response.headers()["www-authenticate"], "Bearer");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DeployWebhook {
    shared: Arc<Shared>,
}

impl DeployWebhook {
    /// The maximum size of a body, in bytes.
    pub const BODY_LIMIT: usize = 16 * 1024;
    /// The time in which a client must send the body.
    pub const BODY_DEADLINE: Duration = Duration::from_secs(10);
    /// The maximum `wait`; a longer one counts as this. It is below the 60 seconds of common proxies.
    pub const MAX_WAIT: Duration = Duration::from_secs(25);
    /// The time before a token expires in which responses announce it.
    pub const EXPIRY_NOTICE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

    /// Creates a webhook with the system's clock, the default [`Limits`] and relative URLs.
    #[must_use]
    pub fn new(intake: Arc<dyn Intake>, tokens: Arc<dyn TokenStore>) -> Self {
        let limits = Limits::default();
        Self {
            shared: Arc::new(Shared {
                intake,
                tokens,
                clock: Arc::new(SystemClock),
                base_url: None,
                reading: Arc::new(Gate::new(limits.reading)),
                deploying: Arc::new(Gate::new(limits.deploying)),
                waiting: Arc::new(Gate::new(limits.waiting)),
            }),
        }
    }

    /// Sets the URL that `Location` and `status_url` start with. Without it, they are relative to the
    /// request, which is correct under every prefix and behind every proxy. The `Host` header is never
    /// used, because the client controls it.
    #[must_use]
    pub fn with_base_url(self, base_url: BaseUrl) -> Self {
        self.with(|shared| shared.base_url = Some(base_url))
    }

    /// Sets the clock, which decides whether tokens have expired.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|shared| shared.clock = clock)
    }

    /// Sets the limits of concurrent requests.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        self.with(|shared| {
            shared.reading = Arc::new(Gate::new(limits.reading));
            shared.deploying = Arc::new(Gate::new(limits.deploying));
            shared.waiting = Arc::new(Gate::new(limits.waiting));
        })
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Arc::unwrap_or_clone(self.shared);
        change(&mut shared);
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl<B> Service<Request<B>> for DeployWebhook
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            Ok(shared
                .answer(&parts, body)
                .await
                .unwrap_or_else(Problem::into_response))
        })
    }
}

/// The state that all clones share.
#[derive(Clone, Debug)]
struct Shared {
    intake: Arc<dyn Intake>,
    tokens: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    base_url: Option<BaseUrl>,
    reading: Arc<Gate>,
    deploying: Arc<Gate>,
    waiting: Arc<Gate>,
}

impl Shared {
    async fn answer<B>(&self, parts: &Parts, body: B) -> Result<Response<ResponseBody>, Problem>
    where
        B: Body + Send,
        B::Data: Send,
    {
        reject_token_in_url(&parts.uri)?;
        let route = Route::of(parts)?;
        let caller = self.authenticate(&parts.headers).await?;
        let answer = match route {
            Route::Deploy => self.deploy(&caller, parts, body).await,
            Route::Follow(id) => self.follow(&caller, id, parts.uri.query()).await,
        };
        let mut response = answer.unwrap_or_else(Problem::into_response);
        response.headers_mut().extend(caller.expiry_notice());
        Ok(response)
    }
}

/// The purpose of a request.
enum Route<'a> {
    Deploy,
    Follow(&'a str),
}

impl<'a> Route<'a> {
    fn of(parts: &'a Parts) -> Result<Self, Problem> {
        let rest = parts.uri.path().strip_prefix(DEPLOYMENTS);
        match rest.map(|rest| (rest, rest.strip_prefix('/'))) {
            Some(("", _)) if parts.method == Method::POST => Ok(Self::Deploy),
            Some(("", _)) => Err(Problem::method_not_allowed("POST")),
            Some((_, Some(id))) if !id.is_empty() && !id.contains('/') => {
                if parts.method == Method::GET {
                    Ok(Self::Follow(id))
                } else {
                    Err(Problem::method_not_allowed("GET"))
                }
            }
            _ => Err(Problem::new(
                ProblemType::NotFound,
                format!("path does not exist: send POST {DEPLOYMENTS} to deploy an image"),
            )),
        }
    }
}

/// Proxies log URLs, so a token in one must be rotated.
fn reject_token_in_url(uri: &Uri) -> Result<(), Problem> {
    let query = uri.query().unwrap_or_default();
    // Decoded only after the split: an escaped `&` or `=` is part of a name or a value.
    let names_one = query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .map(|name| percent_decoded(name).to_ascii_lowercase())
        .any(|name| TOKEN_NAMES.contains(&name.as_str()));
    if names_one || percent_decoded(&uri.to_string()).contains(PREFIX) {
        return Err(Problem::new(
            ProblemType::TokenInUrl,
            "URL contains a token: proxies may have logged it",
        )
        .help(ROTATE));
    }
    Ok(())
}

/// Replaces escapes such as `%5F`, and keeps everything that is not an escape.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Names of parameters with which other webhooks accept a token in the URL.
const TOKEN_NAMES: [&str; 4] = ["access_token", "token", "key", "secret"];

const DEPLOYMENTS: &str = "/v1/deployments";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escapes_are_decoded() {
        for (text, decoded) in [
            ("", ""),
            ("a%5fb%5F", "a_b_"),
            ("%", "%"),
            ("%4", "%4"),
            ("%4g%+1%", "%4g%+1%"),
            ("%255f", "%5f"),
            ("%c3%a9", "é"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(percent_decoded(text), decoded);
        }
    }
}
