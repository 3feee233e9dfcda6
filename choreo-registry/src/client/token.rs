//! Bearer tokens: asking a registry's token server, reading its answer, keeping it for a while.
//!
//! The protocol is that of [distribution's token
//! authentication](https://distribution.github.io/distribution/spec/auth/token/).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

/// What a token is for: where it was asked for, and the right it carries. Together with the one
/// credential of a client this is everything that a token depends on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct TokenKey {
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
}

impl TokenKey {
    /// The token server's URL with service and scope added to whatever query the realm has already.
    pub(crate) fn url(&self) -> Url {
        let mut url = self.realm.clone();
        if self.service.is_some() || self.scope.is_some() {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            // Several scopes stand in one parameter of a challenge, and each in its own here.
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

/// A bearer token. `Debug` does not show it; it is wiped from memory when the last copy goes.
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

/// Reads a token server's answer: the token, and for how long it serves.
///
/// # Errors
///
/// `Err` holds a phrase about the answer and never a byte of it: it may have a token in the wrong
/// place.
pub(crate) fn read(body: &[u8]) -> Result<(Token, Duration), &'static str> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "it is not a JSON object with a token")?;
    let token = [answer.token, answer.access_token]
        .into_iter()
        .flatten()
        .map(Zeroizing::new)
        .find(|token| !token.is_empty());
    let token = token.ok_or("it has neither \"token\" nor \"access_token\"")?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token has characters that no header may carry");
    }
    let seconds = answer
        .expires_in
        .as_ref()
        .and_then(serde_json::Value::as_u64);
    let lifetime = Duration::from_secs(seconds.unwrap_or(0)).clamp(MIN_LIFETIME, MAX_LIFETIME);
    Ok((Token(Arc::new(token)), lifetime))
}

/// The protocol's default, and the least that a server may grant.
const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// A token is asked for again after an hour, whatever the server says.
const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// A token this close to its end is not used any more: it would expire on the way.
const MARGIN: Duration = Duration::from_secs(5);

/// The most tokens that one client keeps.
const CAPACITY: usize = 256;

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    // Anything but a whole number counts as absent: servers send it as text, too.
    expires_in: Option<serde_json::Value>,
}

/// The tokens of one client, and so of one credential.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    tokens: Mutex<HashMap<TokenKey, Entry>>,
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
            realm: Url::parse("https://auth.example.com/token").unwrap(),
            service: Some("registry.example.com".to_owned()),
            scope: Some(scope.to_owned()),
        }
    }

    fn summary(body: &str) -> String {
        match read(body.as_bytes()) {
            Ok((token, lifetime)) => format!("{} for {} s", token.expose(), lifetime.as_secs()),
            Err(reason) => reason.to_owned(),
        }
    }

    #[test]
    fn answers_are_read_as_servers_send_them() {
        let table = [
            (r#"{"token":"t"}"#, "t for 60 s"),
            (r#"{"access_token":"a"}"#, "a for 60 s"),
            (r#"{"token":"t","access_token":"a"}"#, "t for 60 s"),
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
                "it is not a JSON object with a token",
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
    fn tokens_are_kept_for_their_scope_until_shortly_before_they_expire() {
        let cache = TokenCache::default();
        let now = Instant::now();
        let (token, lifetime) = read(br#"{"token":"t"}"#).unwrap();
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
        let (token, _) = read(br#"{"token":"t"}"#).unwrap();
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
        let (token, _) = read(br#"{"token":"canary-7b1f"}"#).unwrap();
        cache.insert(key("a"), token, Instant::now());
        assert!(!format!("{cache:?}").contains("canary"));
    }
}
