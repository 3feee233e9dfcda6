//! The token server, which exchanges passwords for opaque tokens with a scope and an expiry.
//!
//! `GET`: <https://github.com/distribution/distribution/blob/main/docs/content/spec/auth/token.md>;
//! `POST`: <https://github.com/distribution/distribution/blob/main/docs/content/spec/auth/oauth.md>.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use serde_json::json;
use tokio::time::Instant;

use crate::auth::{Accounts, Action, BASIC_CHALLENGE, Need, User, basic_credentials, unauthorized};
use crate::body::Body;
use crate::error::{ApiError, Code};
use crate::lock::lock;
use crate::name::{Digest, RepositoryName};

/// The fields of the response that contain the token. The specification defines them as equivalent.
///
/// ```
/// use choreo_test_registry::parts::TokenField;
///
/// assert_eq!(TokenField::default(), TokenField::Both);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum TokenField {
    /// Only `access_token`, as in OAuth 2.
    AccessToken,
    /// `token` and `access_token`.
    #[default]
    Both,
    /// Only `token`.
    Token,
}

/// The issued tokens.
pub(crate) struct TokenServer {
    realm: String,
    service: String,
    lifetime: Duration,
    field: TokenField,
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    tokens: HashMap<String, Token>,
    refresh: HashMap<String, String>,
}

/// The rights of a token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    user: Option<String>,
    grants: Vec<(String, Vec<Action>)>,
    expires: Instant,
}

impl Token {
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) fn allows(&self, need: &Need<'_>) -> bool {
        self.grants.iter().any(|(repository, actions)| {
            repository == need.repository.as_str() && actions.contains(&need.action)
        })
    }
}

impl TokenServer {
    pub(crate) fn new(realm: String, service: String) -> Self {
        Self {
            realm,
            service,
            lifetime: DEFAULT_LIFETIME,
            field: TokenField::default(),
            issued: Mutex::default(),
        }
    }

    pub(crate) fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    pub(crate) fn field(mut self, field: TokenField) -> Self {
        self.field = field;
        self
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Returns the token, unless it is unknown or expired.
    pub(crate) fn find(&self, text: &str) -> Option<Token> {
        let issued = lock(&self.issued);
        let token = issued.tokens.get(text)?;
        (Instant::now() < token.expires).then(|| token.clone())
    }

    /// Invalidates every issued token except refresh tokens.
    pub(crate) fn revoke(&self) {
        let mut issued = lock(&self.issued);
        issued.tokens.clear();
    }

    /// Handles a request to the realm.
    pub(crate) fn answer(
        &self,
        accounts: &Accounts,
        request: &TokenRequest<'_>,
    ) -> Result<Response<Body>, ApiError> {
        let ask = match *request.method {
            Method::GET => self.read_query(accounts, request)?,
            Method::POST => self.read_form(accounts, request)?,
            _ => {
                let message = "a token is asked for with GET or POST";
                return Err(ApiError::new(Code::Unsupported, message));
            }
        };
        Ok(self.issue(accounts, &ask))
    }

    fn read_query(&self, accounts: &Accounts, request: &TokenRequest<'_>) -> Result<Ask, ApiError> {
        let fields = Fields::parse(request.uri.query().unwrap_or_default().as_bytes());
        self.check_service(&fields)?;
        let user = if request.headers.contains_key(http::header::AUTHORIZATION) {
            let login = basic_credentials(request.headers)
                .and_then(|(name, password)| accounts.login(&name, &password));
            Some(login.ok_or_else(wrong_login)?.name().to_owned())
        } else {
            None
        };
        Ok(Ask {
            offline: user.is_some() && fields.first("offline_token") == Some("true"),
            scopes: fields.scopes(),
            user,
        })
    }

    fn read_form(&self, accounts: &Accounts, request: &TokenRequest<'_>) -> Result<Ask, ApiError> {
        let fields = Fields::parse(request.body);
        self.check_service(&fields)?;
        if fields.first("client_id").is_none() {
            return Err(bad_request("client_id is missing"));
        }
        let user = match fields.first("grant_type") {
            Some("password") => {
                let name = fields.first("username").unwrap_or_default();
                let password = fields.first("password").unwrap_or_default();
                accounts
                    .login(name, password)
                    .map(User::name)
                    .map(str::to_owned)
            }
            Some("refresh_token") => {
                let token = fields.first("refresh_token").unwrap_or_default();
                let issued = lock(&self.issued);
                issued.refresh.get(token).cloned()
            }
            _ => {
                return Err(bad_request(
                    "grant_type is neither password nor refresh_token",
                ));
            }
        };
        Ok(Ask {
            user: Some(user.ok_or_else(wrong_login)?),
            offline: fields.first("access_type") == Some("offline"),
            scopes: fields.scopes(),
        })
    }

    /// A client that loses the `service` of the challenge gets no token from a server that checks
    /// it.
    fn check_service(&self, fields: &Fields) -> Result<(), ApiError> {
        if fields.first("service") == Some(self.service()) {
            Ok(())
        } else {
            Err(bad_request("service is not the one of the challenge"))
        }
    }

    fn issue(&self, accounts: &Accounts, ask: &Ask) -> Response<Body> {
        let token = Token {
            user: ask.user.clone(),
            grants: granted(accounts, ask),
            expires: Instant::now() + self.lifetime,
        };
        let (text, refresh) = (opaque(), ask.offline.then(opaque));
        let mut answer = json!({ "expires_in": self.lifetime.as_secs() });
        if self.field != TokenField::AccessToken {
            answer["token"] = json!(text);
        }
        if self.field != TokenField::Token {
            answer["access_token"] = json!(text);
        }
        let mut issued = lock(&self.issued);
        if let (Some(refresh), Some(user)) = (refresh, &ask.user) {
            answer["refresh_token"] = json!(refresh);
            issued.refresh.insert(refresh, user.clone());
        }
        issued.tokens.insert(text, token);
        let mut response = Response::new(Body::from(answer.to_string()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

impl std::fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenServer")
            .field("realm", &self.realm)
            .field("service", &self.service)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// A request to the realm with its complete body.
pub(crate) struct TokenRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// The requested scopes, and the user.
struct Ask {
    user: Option<String>,
    scopes: Vec<String>,
    offline: bool,
}

/// Returns the parameters of a query or a form.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    fn first(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(given, _)| given == name)?;
        Some(value)
    }

    /// Returns the scopes: the parameter may be repeated, and each may contain several.
    fn scopes(&self) -> Vec<String> {
        self.0
            .iter()
            .filter(|(name, _)| name == "scope")
            .flat_map(|(_, value)| value.split(' ').map(str::to_owned))
            .collect()
    }
}

/// Returns the requested scope without the actions that the user may not perform. A reduced scope
/// is not an error.
fn granted(accounts: &Accounts, ask: &Ask) -> Vec<(String, Vec<Action>)> {
    let user = ask.user.as_deref();
    ask.scopes
        .iter()
        .filter_map(|scope| parse_scope(scope))
        .map(|(repository, mut actions)| {
            actions.retain(|action| accounts.may(user, *action, &repository));
            (repository, actions)
        })
        .collect()
}

/// `repository:NAME:ACTION,ACTION`
fn parse_scope(scope: &str) -> Option<(String, Vec<Action>)> {
    let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    RepositoryName::parse(name)?;
    let actions = actions
        .split(',')
        .flat_map(|action| match action {
            "*" => vec![Action::Delete, Action::Pull, Action::Push],
            action => Action::parse(action).into_iter().collect(),
        })
        .collect();
    Some((name.to_owned(), actions))
}

/// Returns an unpredictable text: a digest with keys from the operating system.
fn opaque() -> String {
    let random = |_| RandomState::new().hash_one(Instant::now()).to_be_bytes();
    let seed: Vec<u8> = (0..4).flat_map(random).collect();
    Digest::of(&seed).as_str()["sha256:".len()..].to_owned()
}

fn wrong_login() -> ApiError {
    unauthorized("incorrect username or password", BASIC_CHALLENGE)
}

fn bad_request(message: &str) -> ApiError {
    ApiError::new(Code::Unsupported, message).status(StatusCode::BAD_REQUEST)
}

/// The default of the specification for a response without a lifetime.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_split_at_the_first_and_the_last_colon() {
        let (name, actions) = parse_scope("repository:team/app:pull,push,unknown").unwrap();
        assert_eq!(name, "team/app");
        assert_eq!(actions, [Action::Pull, Action::Push]);
        let (_, all) = parse_scope("repository:app:*").unwrap();
        assert_eq!(all, [Action::Delete, Action::Pull, Action::Push]);
        for other in [
            "",
            "registry:catalog:*",
            "repository:app",
            "repository:A:pull",
        ] {
            assert!(parse_scope(other).is_none(), "{other} grants nothing");
        }
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(opaque(), opaque());
        assert_eq!(opaque().len(), 64);
    }
}
