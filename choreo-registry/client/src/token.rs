//! Bearer tokens: requests to a registry's token server, its responses, and a cache.
//!
//! The protocol is that of [distribution's token
//! authentication](https://distribution.github.io/distribution/spec/auth/token/).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use choreo_registry::{Credential, secret_fields::SecretFields};
use jiff::Timestamp;
use url::{Origin, Url};
use zeroize::Zeroizing;

use crate::urlencoded::form;

/// All properties that a token depends on: its credential, its registry, its token server and its
/// scope.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct TokenKey {
    /// The number of the credential within the client; `None` without one.
    pub(crate) credential: Option<u64>,
    pub(crate) origin: Origin,
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
}

impl TokenKey {
    /// Returns whether the key's request to the token server is this one, with any credential.
    pub(crate) fn asks(&self, realm: &Url, service: Option<&str>, scope: Option<&str>) -> bool {
        self.realm == *realm && self.service.as_deref() == service && self.scope.as_deref() == scope
    }

    /// Returns the form that a POST sends to the realm ([OAuth 2.0 for
    /// registries](https://distribution.github.io/distribution/spec/auth/oauth/)). It contains the
    /// secret, so its memory is overwritten when the last copy is dropped.
    pub(crate) fn form(&self, credential: &Credential) -> Bytes {
        let password = credential.expose_password();
        let mut fields = if is_refresh_token(credential) {
            vec![("grant_type", "refresh_token"), ("refresh_token", password)]
        } else {
            vec![
                ("grant_type", "password"),
                ("username", credential.username()),
                ("password", password),
            ]
        };
        fields.push(("client_id", CLIENT_ID));
        fields.push(("service", self.service.as_deref().unwrap_or_default()));
        fields.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        form(&fields)
    }

    /// Returns the token server's URL, with service and scope added to the query of the realm.
    pub(crate) fn url(&self) -> Url {
        let mut url = self.realm.clone();
        if self.service.is_some() || self.scope.is_some() {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            // A challenge contains several scopes in one parameter; the query has one parameter
            // for each.
            for scope in self
                .scope
                .iter()
                .flat_map(|scope| scope.split(' '))
                .filter(|scope| !scope.is_empty())
            {
                query.append_pair("scope", scope);
            }
        }
        url
    }
}

/// Returns whether the credential's password is an OAuth 2.0 refresh token, which only a POST
/// accepts. Docker and its credential helpers mark one by this user name.
pub(crate) fn is_refresh_token(credential: &Credential) -> bool {
    credential.username() == "<token>"
}

/// The name of this client for token servers.
const CLIENT_ID: &str = "choreo-registry";

/// A bearer token. `Debug` does not show it; its memory is overwritten when the last copy is
/// dropped.
#[derive(Clone)]
pub(crate) struct Token(Arc<Zeroizing<String>>);

impl Token {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<redacted>)")
    }
}

/// Reads a token server's response: the token, and its remaining lifetime.
///
/// `access_token` takes precedence over `token` if both are present and differ, as in Docker and
/// containerd. An empty one counts as absent. The lifetime starts at `issued_at` if that is
/// plausible; it starts now if `issued_at` is missing, in the future, or so old that the token
/// would have expired, because then one of the clocks is wrong.
///
/// # Errors
///
/// `Err` contains a phrase about the response and never a byte of it, because the response may
/// contain a token in an unexpected place.
pub(crate) fn read(body: &[u8], now: Timestamp) -> Result<(Token, Duration), &'static str> {
    let answer = SecretFields::parse(body).ok_or("it is not a JSON object with a token")?;
    let token = ["access_token", "token"]
        .into_iter()
        .filter_map(|name| answer.text(name))
        .find(|token| !token.is_empty());
    let token = token.ok_or("it has neither \"token\" nor \"access_token\"")?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token has characters that no header may carry");
    }
    // Any value other than a whole number counts as absent, because some servers send text.
    let seconds = answer.json("expires_in").and_then(|json| json.parse().ok());
    let seconds = seconds.unwrap_or(0);
    let lifetime = Duration::from_secs(seconds).clamp(MIN_LIFETIME, MAX_LIFETIME);
    let age = answer
        .text("issued_at")
        .and_then(|issued_at| issued_at.parse::<Timestamp>().ok())
        .and_then(|issued_at| Duration::try_from(now.duration_since(issued_at)).ok())
        .filter(|age| *age < lifetime);
    let token = Token(Arc::new(token));
    Ok((token, lifetime.saturating_sub(age.unwrap_or_default())))
}

/// The protocol's default, and the shortest lifetime that a server may grant.
const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// A token is renewed after an hour, even if the server allows a longer use.
const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// A token this close to its expiry is not used, because it could expire before the request
/// arrives.
const MARGIN: Duration = Duration::from_secs(5);

/// The most tokens that one client keeps.
const CAPACITY: usize = 256;

/// The tokens of one client.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    tokens: Mutex<HashMap<TokenKey, Entry>>,
    /// The caller that locks a key requests its token; the others wait for the result.
    asking: Mutex<HashMap<TokenKey, Weak<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug)]
struct Entry {
    token: Token,
    expires: Instant,
}

impl TokenCache {
    pub(crate) fn get(&self, key: &TokenKey, now: Instant) -> Option<Token> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens
            .get(key)
            .filter(|entry| now + MARGIN < entry.expires)
            .map(|entry| entry.token.clone())
    }

    /// Returns the lock for this token: one caller requests it from the token server, and the
    /// others then find it in the cache.
    pub(crate) fn lock(&self, key: &TokenKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = asking.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        asking.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        asking.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }

    pub(crate) fn insert(&self, key: TokenKey, token: Token, expires: Instant) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= CAPACITY {
            let oldest = tokens
                .iter()
                .min_by_key(|(_, entry)| entry.expires)
                .map(|(key, _)| key.clone());
            oldest.map(|key| tokens.remove(&key));
        }
        tokens.insert(key, Entry { token, expires });
    }

    pub(crate) fn remove(&self, key: &TokenKey) {
        self.tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scope: &str) -> TokenKey {
        TokenKey {
            credential: Some(0),
            origin: Url::parse("https://registry.example.com/")
                .unwrap()
                .origin(),
            realm: Url::parse("https://auth.example.com/token").unwrap(),
            service: Some("registry.example.com".to_owned()),
            scope: Some(scope.to_owned()),
        }
    }

    fn noon() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn summary(body: &str) -> String {
        match read(body.as_bytes(), noon()) {
            Ok((token, lifetime)) => format!("{} for {} s", token.expose(), lifetime.as_secs()),
            Err(reason) => reason.to_owned(),
        }
    }

    #[test]
    fn answers_are_read_as_servers_send_them() {
        let table = [
            (r#"{"token":"t"}"#, "t for 60 s"),
            (r#"{"access_token":"a"}"#, "a for 60 s"),
            (r#"{"token":"t","access_token":"a"}"#, "a for 60 s"),
            (r#"{"token":"t","access_token":""}"#, "t for 60 s"),
            (r#"{"token":"t","access_token":null}"#, "t for 60 s"),
            (r#"{"token":"","access_token":"a"}"#, "a for 60 s"),
            (r#"{"token":null,"access_token":"a"}"#, "a for 60 s"),
            (r#"{"token":"t","expires_in":300}"#, "t for 300 s"),
            (r#"{"token":"t","expires_in":1}"#, "t for 60 s"),
            (r#"{"token":"t","expires_in":0}"#, "t for 60 s"),
            (r#"{"token":"t","expires_in":-5}"#, "t for 60 s"),
            (r#"{"token":"t","expires_in":"300"}"#, "t for 60 s"),
            (r#"{"token":"t","expires_in":86400}"#, "t for 3600 s"),
            (
                r#"{"token":"t","expires_in":18446744073709551615}"#,
                "t for 3600 s",
            ),
            // Issued earlier, by a server that caches its tokens.
            (
                r#"{"token":"t","expires_in":300,"issued_at":"2026-11-23T11:56:00Z"}"#,
                "t for 60 s",
            ),
            (
                r#"{"token":"t","expires_in":300,"issued_at":"2026-11-23T13:59:59+02:00"}"#,
                "t for 299 s",
            ),
            // Issued tomorrow, or too long ago: the clocks differ.
            (
                r#"{"token":"t","expires_in":300,"issued_at":"2026-11-24T12:00:00Z"}"#,
                "t for 300 s",
            ),
            (
                r#"{"token":"t","expires_in":300,"issued_at":"2026-11-23T11:55:00Z"}"#,
                "t for 300 s",
            ),
            (
                r#"{"token":"t","expires_in":300,"issued_at":7}"#,
                "t for 300 s",
            ),
            (
                r#"{"token":"t","issued_at":"?","refresh_token":"r","more":[1]}"#,
                "t for 60 s",
            ),
            (r#"{}"#, r#"it has neither "token" nor "access_token""#),
            (
                r#"{"token":""}"#,
                r#"it has neither "token" nor "access_token""#,
            ),
            (
                r#"{"token":"a b"}"#,
                "the token has characters that no header may carry",
            ),
            (
                r#"{"token":"a\r\nX: y"}"#,
                "the token has characters that no header may carry",
            ),
            (
                r#"{"token":"ä"}"#,
                "the token has characters that no header may carry",
            ),
            (
                r#"{"token":"a","token":"b"}"#,
                "it is not a JSON object with a token",
            ),
            (
                r#"{"token":{"secret":"x"}}"#,
                r#"it has neither "token" nor "access_token""#,
            ),
            ("<html>", "it is not a JSON object with a token"),
            ("", "it is not a JSON object with a token"),
        ];
        for (body, expected) in table {
            assert_eq!(summary(body), expected, "{body}");
        }
    }

    #[test]
    fn the_request_keeps_the_realms_query_and_encodes_the_rest() {
        let url = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let realm = Url::parse(realm).unwrap();
            let key = TokenKey {
                realm,
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
                ..key("")
            };
            key.url().to_string()
        };
        assert_eq!(
            url(
                "https://a.example/t",
                Some("r.example"),
                Some("repository:x/y:pull")
            ),
            "https://a.example/t?service=r.example&scope=repository%3Ax%2Fy%3Apull"
        );
        assert_eq!(
            url(
                "https://a.example/t?account=me",
                None,
                Some("repository:x:pull repository:y:pull")
            ),
            "https://a.example/t?account=me&scope=repository%3Ax%3Apull&scope=repository%3Ay%3Apull"
        );
        assert_eq!(
            url("https://a.example/t", None, None),
            "https://a.example/t"
        );
        assert_eq!(
            url("https://a.example/t", Some("x&admin=1#f"), None),
            "https://a.example/t?service=x%26admin%3D1%23f"
        );
    }

    #[test]
    fn the_form_says_who_asks_and_encodes_what_it_holds() {
        let form = |username: &str, password: &str, key: &TokenKey| {
            let credential = Credential::new(username, password).unwrap();
            String::from_utf8(key.form(&credential).to_vec()).unwrap()
        };
        assert_eq!(
            form(
                "robot",
                "a b&c=d+é",
                &key("repository:a:pull repository:b:pull")
            ),
            "grant_type=password&username=robot&password=a+b%26c%3Dd%2B%C3%A9&client_id=choreo-registry\
             &service=registry.example.com&scope=repository%3Aa%3Apull+repository%3Ab%3Apull"
        );
        let bare = TokenKey {
            service: None,
            scope: None,
            ..key("")
        };
        assert_eq!(
            form("<token>", "refresh", &bare),
            "grant_type=refresh_token&refresh_token=refresh&client_id=choreo-registry&service="
        );
    }

    /// Each part of the key tells tokens apart.
    #[test]
    fn a_token_is_found_by_its_whole_key_only() {
        let cache = TokenCache::default();
        let now = Instant::now();
        let (token, lifetime) = read(br#"{"token":"t"}"#, noon()).unwrap();
        cache.insert(key("a"), token, now + lifetime);
        let other = Url::parse("https://other.example/").unwrap();
        let others = [
            TokenKey {
                credential: Some(1),
                ..key("a")
            },
            TokenKey {
                credential: None,
                ..key("a")
            },
            TokenKey {
                origin: other.origin(),
                ..key("a")
            },
            TokenKey {
                realm: other,
                ..key("a")
            },
            TokenKey {
                service: None,
                ..key("a")
            },
            TokenKey {
                scope: None,
                ..key("a")
            },
        ];
        for other in others {
            assert!(cache.get(&other, now).is_none(), "{other:?}");
        }
        assert!(cache.get(&key("a"), now).is_some());
    }

    #[test]
    fn callers_of_one_token_share_a_lock_and_locks_do_not_pile_up() {
        let cache = TokenCache::default();
        let first = cache.lock(&key("a"));
        assert!(Arc::ptr_eq(&first, &cache.lock(&key("a"))));
        assert!(!Arc::ptr_eq(&first, &cache.lock(&key("b"))));
        drop(first);
        for index in 0..100 {
            drop(cache.lock(&key(&index.to_string())));
        }
        assert!(cache.asking.lock().unwrap().len() <= 2);
    }

    #[test]
    fn tokens_are_kept_for_their_scope_until_shortly_before_they_expire() {
        let cache = TokenCache::default();
        let now = Instant::now();
        let (token, lifetime) = read(br#"{"token":"t"}"#, noon()).unwrap();
        cache.insert(key("a"), token, now + lifetime);

        assert_eq!(cache.get(&key("a"), now).unwrap().expose(), "t");
        assert!(cache.get(&key("b"), now).is_none());
        assert!(
            cache
                .get(&key("a"), now + Duration::from_secs(54))
                .is_some()
        );
        assert!(
            cache
                .get(&key("a"), now + Duration::from_secs(56))
                .is_none()
        );
        cache.remove(&key("a"));
        assert!(cache.get(&key("a"), now).is_none());
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_what_ends_first() {
        let cache = TokenCache::default();
        let now = Instant::now();
        let (token, _) = read(br#"{"token":"t"}"#, noon()).unwrap();
        for index in 0..=CAPACITY {
            let expires = now + Duration::from_secs(1000 + index as u64);
            cache.insert(key(&index.to_string()), token.clone(), expires);
        }
        assert!(cache.get(&key("0"), now).is_none());
        assert!(cache.get(&key("1"), now).is_some());
        assert!(cache.get(&key(&CAPACITY.to_string()), now).is_some());
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let cache = TokenCache::default();
        let (token, _) = read(br#"{"token":"canary-7b1f"}"#, noon()).unwrap();
        cache.insert(key("a"), token, Instant::now());
        assert!(!format!("{cache:?}").contains("canary"));
    }
}
