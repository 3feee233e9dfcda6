//! URLs as Go's [`net/url`](https://pkg.go.dev/net/url#Parse) takes them apart (Go 1.26): the tools
//! whose keys are looked up here are written in Go, and what it refuses, they drop.

use std::fmt;
use std::net::Ipv6Addr;

/// What of a URL matters to keys: the host with its port, and the path, both unescaped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) host: Vec<u8>,
    pub(super) path: Vec<u8>,
}

/// Why a key cannot be read as a URL. `Display` says it in words.
///
/// ```
/// use choreo_registry::keyring::{Keyring, Reason, Tool, UrlError};
///
/// let keyring = Keyring::from_keys(["ghcr.io:port"]);
/// let image = "ghcr.io/acme/app".parse()?;
/// let reason = keyring.explain(&image).tool(Tool::Kubelet).reason();
/// assert_eq!(reason, Reason::Unreadable(UrlError::Port));
/// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum UrlError {
    /// Something else than an IPv6 address in brackets.
    Address,
    /// A character in the host that no host has, such as a blank.
    Character,
    /// A control character, such as a line feed.
    Control,
    /// A `%` that begins no escape, or an escape that may not stand in a host.
    Escape,
    /// Something else than digits behind the colon.
    Port,
    /// User information with characters that may not stand there.
    UserInfo,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "only an IPv6 address may stand in brackets",
            Self::Character => "its host holds a character that no host has",
            Self::Control => "it holds a control character",
            Self::Escape => "a '%' in it begins no escape that may stand there",
            Self::Port => "what follows the first colon of its host is no port",
            Self::UserInfo => "what stands before its '@' is no user name and password",
        })
    }
}

/// `url.Parse`.
pub(super) fn parse(text: &[u8]) -> Result<Url, UrlError> {
    let (text, fragment) = cut(text, b'#');
    if text.iter().any(u8::is_ascii_control) {
        return Err(UrlError::Control);
    }
    let (scheme, rest) = scheme(text)?;
    let (rest, _query) = cut(rest, b'?');
    let mut host = Vec::new();
    let mut path = rest;
    if !rest.starts_with(b"/") {
        if !scheme.is_empty() {
            // Opaque, as in `mailto:`: neither host nor path.
            path = b"";
        } else if cut(rest, b'/').0.contains(&b':') {
            return Err(UrlError::Port);
        }
    } else if let Some(after) = rest.strip_prefix(b"//")
        && (!scheme.is_empty() || !after.starts_with(b"/"))
    {
        let end = position(after, b'/').unwrap_or(after.len());
        host = authority(scheme, &after[..end])?;
        path = &after[end..];
    }
    let path = unescape(path, Part::Path)?;
    unescape(fragment, Part::Path)?;
    Ok(Url { host, path })
}

/// `net.SplitHostPort`, and the whole as the host where that finds no port.
pub(super) fn split_host_port(host: &[u8]) -> (&[u8], &[u8]) {
    let no_port = (host, &b""[..]);
    let Some(colon) = host.iter().rposition(|&byte| byte == b':') else {
        return no_port;
    };
    let port = &host[colon + 1..];
    if let Some(inner) = host.strip_prefix(b"[") {
        // A parsed host in brackets has both, and at most a port behind.
        let Some(end) = position(inner, b']') else {
            return no_port;
        };
        if end + 2 != colon || port.contains(&b']') || inner[..end].contains(&b'[') {
            return no_port;
        }
        return (&inner[..end], port);
    }
    if host[..colon].contains(&b':') || host.contains(&b']') {
        return no_port;
    }
    (&host[..colon], port)
}

/// `getScheme`: what stands before the first colon, if that may be a scheme.
fn scheme(text: &[u8]) -> Result<(&[u8], &[u8]), UrlError> {
    for (index, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err(UrlError::Port),
            b':' => return Ok((&text[..index], &text[index + 1..])),
            _ => break,
        }
    }
    Ok((b"", text))
}

fn authority(scheme: &[u8], authority: &[u8]) -> Result<Vec<u8>, UrlError> {
    let at = authority.iter().rposition(|&byte| byte == b'@');
    let host = host(scheme, &authority[at.map_or(0, |at| at + 1)..])?;
    let user = &authority[..at.unwrap_or(0)];
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
    if !user.iter().all(valid) {
        return Err(UrlError::UserInfo);
    }
    unescape(user, Part::Path)?;
    Ok(host)
}

fn host(scheme: &[u8], host: &[u8]) -> Result<Vec<u8>, UrlError> {
    match host.iter().rposition(|&byte| byte == b'[') {
        Some(0) => return bracketed(host),
        Some(_) => return Err(UrlError::Address),
        None => {}
    }
    // More than one colon is for the databases that list hosts; registries are http.
    let http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    let colon = if http {
        position(host, b':')
    } else {
        host.iter().rposition(|&byte| byte == b':')
    };
    if let Some(colon) = colon {
        optional_port(&host[colon..])?;
    }
    unescape(host, Part::Host)
}

fn bracketed(host: &[u8]) -> Result<Vec<u8>, UrlError> {
    let end = host
        .iter()
        .rposition(|&byte| byte == b']')
        .ok_or(UrlError::Address)?;
    let port = &host[end + 1..];
    optional_port(port)?;
    let name = &host[1..end];
    let zone = name.windows(3).position(|window| window == b"%25");
    let (address, zone) = name.split_at(zone.unwrap_or(name.len()));
    let mut unescaped = unescape(address, Part::Host)?;
    unescaped.extend(unescape(zone, Part::Zone)?);
    if !is_ipv6(&unescaped) {
        return Err(UrlError::Address);
    }
    Ok([b"[", &unescaped[..], b"]", port].concat())
}

/// An address with or without a zone, as `netip.ParseAddr` knows them.
fn is_ipv6(text: &[u8]) -> bool {
    let (address, zone) = match position(text, b'%') {
        Some(percent) => (&text[..percent], Some(&text[percent + 1..])),
        None => (text, None),
    };
    zone != Some(b"")
        && std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn optional_port(text: &[u8]) -> Result<(), UrlError> {
    match text {
        [] => Ok(()),
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(UrlError::Port),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Host,
    Path,
    Zone,
}

fn unescape(text: &[u8], part: Part) -> Result<Vec<u8>, UrlError> {
    let mut unescaped = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        if *byte != b'%' {
            if part != Part::Path && byte.is_ascii() && !is_host_byte(*byte) {
                return Err(UrlError::Character);
            }
            unescaped.push(*byte);
            rest = after;
            continue;
        }
        let [high, low, after @ ..] = after else {
            return Err(UrlError::Escape);
        };
        let byte = hex(*high)? << 4 | hex(*low)?;
        let allowed = match part {
            Part::Path => true,
            Part::Host => byte == b'%' || !byte.is_ascii(),
            Part::Zone => byte == b'%' || byte == b' ' || is_host_byte(byte),
        };
        if !allowed {
            return Err(UrlError::Escape);
        }
        unescaped.push(byte);
        rest = after;
    }
    Ok(unescaped)
}

/// The ASCII that may stand in a host unescaped.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!\"$&'()*+,-.:;<=>[]_~".contains(&byte)
}

fn hex(digit: u8) -> Result<u8, UrlError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(UrlError::Escape),
    }
}

fn cut(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    match position(text, separator) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

fn position(text: &[u8], wanted: u8) -> Option<usize> {
    text.iter().position(|&byte| byte == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::assert_texts;

    #[test]
    fn each_variant_has_its_text() {
        use UrlError as E;

        assert_texts! { E:
            E::Address = E::Address => "only an IPv6 address may stand in brackets";
            E::Character = E::Character => "its host holds a character that no host has";
            E::Control = E::Control => "it holds a control character";
            E::Escape = E::Escape => "a '%' in it begins no escape that may stand there";
            E::Port = E::Port => "what follows the first colon of its host is no port";
            E::UserInfo = E::UserInfo =>
                "what stands before its '@' is no user name and password";
        }
    }
}
