//! Access control: the users, their rights, and the challenges for requests without a login.
//!
//! Basic: <https://www.rfc-editor.org/rfc/rfc7617>. Bearer:
//! <https://github.com/distribution/distribution/blob/main/docs/content/spec/auth/token.md>.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::error::{ApiError, Code};
use crate::name::RepositoryName;
use crate::token::TokenServer;

/// A user of the registry, with a password and rights by repository.
///
/// A right applies to a prefix of whole path components: `team` covers `team` and `team/app`, but
/// not `teamwork`. The empty prefix covers every repository.
///
/// ```
/// use choreo_test_registry::User;
///
/// let admin = User::new("admin", "correct horse");
/// let reader = User::without_rights("reader", "battery staple").may_pull("team");
/// assert!(!format!("{admin:?} {reader:?}").contains("horse"));
/// ```
#[derive(Clone)]
pub struct User {
    name: String,
    password: String,
    pull: Vec<String>,
    push: Vec<String>,
}

impl User {
    /// Creates a user who may pull from and push to every repository.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self::without_rights(name, password)
            .may_pull("")
            .may_push("")
    }

    /// Creates a user who may log in and has no rights yet.
    pub fn without_rights(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            pull: Vec::new(),
            push: Vec::new(),
        }
    }

    /// Adds the right to pull from the repositories under `prefix`.
    #[must_use]
    pub fn may_pull(mut self, prefix: impl Into<String>) -> Self {
        self.pull.push(prefix.into());
        self
    }

    /// Adds the right to push and delete under `prefix`. It does not include the right to pull.
    #[must_use]
    pub fn may_push(mut self, prefix: impl Into<String>) -> Self {
        self.push.push(prefix.into());
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("password", &"[redacted]")
            .field("pull", &self.pull)
            .field("push", &self.push)
            .finish()
    }
}

/// The response to a known user who lacks a right. Real registries differ.
///
/// ```
/// use choreo_test_registry::parts::Denial;
///
/// assert_eq!(Denial::default(), Denial::Forbidden);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Denial {
    /// `403 DENIED`.
    #[default]
    Forbidden,
    /// `404 NAME_UNKNOWN`, which hides that the repository exists.
    NotFound,
    /// `401 UNAUTHORIZED` with a new challenge, like distribution.
    Unauthorized,
}

/// The action of a request on a repository, named as in the scope of a token.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Action {
    Delete,
    Pull,
    Push,
}

impl Action {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "delete" => Some(Self::Delete),
            "pull" => Some(Self::Pull),
            "push" => Some(Self::Push),
            _ => None,
        }
    }

    /// The actions in a challenge. A push also reads.
    fn scope(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }
}

/// The users, and the repositories that are open to everyone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) users: Vec<User>,
    pub(crate) public: Vec<String>,
}

impl Accounts {
    /// Returns the user with this name and password. The comparison is not constant-time, because
    /// the only clients are tests.
    pub(crate) fn login(&self, name: &str, password: &str) -> Option<&User> {
        let known = |user: &&User| user.name == name && user.password == password;
        self.users.iter().find(known)
    }

    /// Returns `true` if the user with this name has the right. `None` is a request without a
    /// login.
    pub(crate) fn may(&self, user: Option<&str>, action: Action, repository: &str) -> bool {
        let covered = |prefixes: &[String]| prefixes.iter().any(|p| covers(p, repository));
        let own = self.users.iter().filter(|u| Some(u.name()) == user);
        let public = action == Action::Pull && covered(&self.public);
        public
            || own.into_iter().any(|user| match action {
                Action::Pull => covered(&user.pull),
                Action::Delete | Action::Push => covered(&user.push),
            })
    }
}

/// The authentication method.
#[derive(Debug)]
pub(crate) enum Login {
    Basic,
    Bearer(TokenServer),
    Open,
}

/// The access control of the registry.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) accounts: Accounts,
    pub(crate) denial: Denial,
    pub(crate) login: Login,
}

/// The rights that a request needs in addition to a login.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need<'a> {
    pub(crate) action: Action,
    pub(crate) repository: &'a RepositoryName,
}

impl Gate {
    /// Admits the request, or returns the error that refuses it.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        need: Option<Need<'_>>,
    ) -> Result<(), ApiError> {
        match &self.login {
            Login::Open => Ok(()),
            Login::Basic => self.admit_password(headers, need),
            Login::Bearer(tokens) => self.admit_token(tokens, headers, need),
        }
    }

    fn admit_password(&self, headers: &HeaderMap, need: Option<Need<'_>>) -> Result<(), ApiError> {
        let challenge = || unauthorized("authentication required", BASIC_CHALLENGE);
        if !headers.contains_key(AUTHORIZATION) {
            let public = need.is_some_and(|need| self.may(None, need));
            return public.then_some(()).ok_or_else(challenge);
        }
        let user = basic_credentials(headers)
            .and_then(|(name, password)| self.accounts.login(&name, &password))
            .ok_or_else(challenge)?;
        match need {
            Some(need) if !self.may(Some(user.name()), need) => {
                Err(self.deny(need, BASIC_CHALLENGE))
            }
            _ => Ok(()),
        }
    }

    fn admit_token(
        &self,
        tokens: &TokenServer,
        headers: &HeaderMap,
        need: Option<Need<'_>>,
    ) -> Result<(), ApiError> {
        let challenge = |error| bearer_challenge(tokens, need, error);
        let Some(text) = bearer_token(headers) else {
            return Err(unauthorized("authentication required", &challenge(None)));
        };
        let Some(token) = tokens.find(text) else {
            let challenge = challenge(Some("invalid_token"));
            return Err(unauthorized("invalid token", &challenge));
        };
        let Some(need) = need.filter(|need| !token.allows(need)) else {
            return Ok(());
        };
        let challenge = challenge(Some("insufficient_scope"));
        // Another token helps unless the user lacks the right.
        if token.user().is_none() || self.may(token.user(), need) {
            Err(unauthorized("insufficient scope", &challenge))
        } else {
            Err(self.deny(need, &challenge))
        }
    }

    fn may(&self, user: Option<&str>, need: Need<'_>) -> bool {
        self.accounts
            .may(user, need.action, need.repository.as_str())
    }

    fn deny(&self, need: Need<'_>, challenge: &str) -> ApiError {
        match self.denial {
            Denial::Forbidden => {
                ApiError::new(Code::Denied, "requested access to the resource is denied")
            }
            Denial::NotFound => ApiError::new(
                Code::NameUnknown,
                format!("repository {:?} is unknown", need.repository.as_str()),
            ),
            Denial::Unauthorized => unauthorized("authentication required", challenge),
        }
    }
}

pub(crate) fn unauthorized(message: &str, challenge: &str) -> ApiError {
    let error = ApiError::new(Code::Unauthorized, message);
    match HeaderValue::try_from(challenge) {
        Ok(value) => error.header(WWW_AUTHENTICATE, value),
        Err(_) => error,
    }
}

/// Returns the user name and password of an `Authorization: Basic` header.
pub(crate) fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = STANDARD.decode(credential(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    credential(headers, "bearer")
}

fn credential<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (given, credential) = value.split_once(' ')?;
    given
        .eq_ignore_ascii_case(scheme)
        .then(|| credential.trim_start())
}

fn bearer_challenge(tokens: &TokenServer, need: Option<Need<'_>>, error: Option<&str>) -> String {
    let mut challenge = format!(
        "Bearer realm=\"{}\",service=\"{}\"",
        tokens.realm(),
        tokens.service()
    );
    if let Some(need) = need {
        let (name, actions) = (need.repository.as_str(), need.action.scope());
        challenge.push_str(&format!(",scope=\"repository:{name}:{actions}\""));
    }
    if let Some(error) = error {
        challenge.push_str(&format!(",error=\"{error}\""));
    }
    challenge
}

fn covers(prefix: &str, repository: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    prefix.is_empty()
        || repository
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) const BASIC_CHALLENGE: &str = "Basic realm=\"choreo-test-registry\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_cover_whole_components() {
        assert!(covers("", "any/thing"));
        assert!(covers("team", "team"));
        assert!(covers("team/", "team/app"));
        assert!(!covers("team", "teamwork"));
        assert!(!covers("team/app", "team"));
    }

    #[test]
    fn rights_are_the_users_own_and_the_public_ones() {
        let accounts = Accounts {
            users: vec![
                User::without_rights("reader", "x").may_pull("team"),
                User::new("admin", "y"),
            ],
            public: vec!["open".to_owned()],
        };
        assert!(accounts.may(Some("reader"), Action::Pull, "team/app"));
        assert!(!accounts.may(Some("reader"), Action::Push, "team/app"));
        assert!(!accounts.may(Some("reader"), Action::Pull, "other"));
        assert!(accounts.may(Some("admin"), Action::Delete, "other"));
        assert!(accounts.may(None, Action::Pull, "open/app"));
        assert!(!accounts.may(None, Action::Push, "open/app"));
        assert!(!accounts.may(Some("nobody"), Action::Pull, "team/app"));
    }

    #[test]
    fn a_password_may_contain_colons() {
        let mut headers = HeaderMap::new();
        let value = format!("Basic {}", STANDARD.encode("a:b:c"));
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        let expected = Some(("a".to_owned(), "b:c".to_owned()));
        assert_eq!(basic_credentials(&headers), expected);
    }
}
