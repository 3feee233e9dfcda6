//! The private parsers of registry responses. This module exists only with `--cfg fuzzing`.

use http::{
    HeaderMap, HeaderValue,
    header::{LINK, WWW_AUTHENTICATE},
};
use jiff::Timestamp;

use crate::{challenge, error, link, manifest, scope, token};

/// Parses `WWW-Authenticate`, with one header on each line. The result is within bounds, is the
/// same after a round trip through a well-formed header, and requests only read access.
///
/// # Panics
///
/// If one of these properties is violated.
pub fn challenge(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(16) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    let Ok(challenges) = challenge::parse_all(&headers) else {
        return;
    };
    assert!(challenges.len() <= challenge::MAX_CHALLENGES);
    let mut again = HeaderMap::new();
    for challenge in &challenges {
        let value = HeaderValue::from_bytes(challenge.to_string().as_bytes());
        again.append(
            WWW_AUTHENTICATE,
            value.expect("what came in a header goes into one"),
        );
        if let Some(scope) = challenge.parameter("scope").and_then(scope::for_reading) {
            assert!(!scope.is_empty() && scope::for_reading(&scope).as_ref() == Some(&scope));
        }
    }
    // Quotes and escapes may make it longer than the parsed text.
    if again.values().map(HeaderValue::len).sum::<usize>() <= challenge::MAX_BYTES {
        assert_eq!(challenge::parse_all(&again), Ok(challenges));
    }
}

/// Parses a token server's response: the token is a valid header value, and its lifetime is
/// bounded.
///
/// # Panics
///
/// If one of these properties is violated.
pub fn token_response(input: &[u8]) {
    if let Ok((token, lifetime)) = token::read(input, Timestamp::UNIX_EPOCH) {
        assert!(HeaderValue::from_str(token.expose()).is_ok() && !token.expose().is_empty());
        assert!(!lifetime.is_zero() && lifetime.as_secs() <= 3600);
    }
}

/// Parses an error's body, of which only a code is kept.
///
/// # Panics
///
/// If the result is anything else.
pub fn error_envelope(input: &[u8]) {
    if let Some(code) = error::error_code(input) {
        let is_plain =
            |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        assert!((1..=64).contains(&code.len()) && code.bytes().all(is_plain));
    }
    if let Ok(value) = HeaderValue::from_bytes(input) {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", value.clone());
        headers.insert("ratelimit-limit", value);
        assert!(error::retry_after(&headers).is_none_or(|wait| wait.as_secs() <= 86_400));
        let _ = crate::rate_limit::RateLimit::read(&headers);
    }
}

/// Parses `Link`, with one header on each line. One of the lines contains the address of the next
/// page between angle brackets.
///
/// # Panics
///
/// If the address is not in any of the lines.
pub fn link(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(16) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(LINK, value);
        }
    }
    if let Some(target) = link::next(&headers) {
        let whole = format!("<{target}>");
        let mut values = headers.values().filter_map(|value| value.to_str().ok());
        assert!(values.any(|value| value.contains(&whole)));
    }
}

/// Parses a manifest or an index that follows a line with its `Content-Type`. It has one reading,
/// and is never also the configuration of an image. The same bytes parsed as a configuration have
/// a bounded result.
///
/// # Panics
///
/// If one of these properties is violated.
pub fn manifest(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let content_type = parts.next().and_then(|line| std::str::from_utf8(line).ok());
    let body = parts.next().unwrap_or_default();
    match manifest::read(content_type, body) {
        Ok(manifest::Manifest::Index {
            media_type,
            children,
        }) => {
            assert!(media_type.is_index());
            let is_known = |child: &manifest::Child| {
                let platform = child.platform.as_ref();
                platform.is_none_or(|platform| platform.os() != "unknown")
            };
            assert!(children.iter().all(is_known) && children.len() <= body.len());
        }
        Ok(manifest::Manifest::Single {
            media_type, config, ..
        }) => {
            assert!(!media_type.is_index());
            assert!(config.as_str().parse().as_ref() == Ok(&config));
        }
        Err(reason) => assert!(!reason.to_string().is_empty()),
    }
    if let Ok(config) = manifest::read_config(body) {
        assert!(
            config
                .user
                .is_none_or(|user| (1..=255).contains(&user.len()))
        );
        assert!(config.exposed_ports.len() <= body.len());
    }
}
