//! URLs as Go's [`net/url`](https://pkg.go.dev/net/url#Parse) parses them (Go 1.26): the tools are
//! written in Go, and drop a key that it rejects.

use std::fmt;
use std::net::Ipv6Addr;

/// The parts of a URL that keys need: the host with its port, and the path, both unescaped.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Url {
    pub(super) host: Vec<u8>,
    pub(super) path: Vec<u8>,
}

/// Why a key is not a valid URL. `Display` writes the reason in words.
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
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum UrlError {
    /// The brackets contain something other than an IPv6 address.
    Address,
    /// The host contains a character that is not valid in a host, such as a blank.
    Character,
    /// The key contains a control character, such as a line feed.
    Control,
    /// The host contains a `%` that does not begin an escape, or an escape that is not valid in a
    /// host.
    Escape,
    /// The port contains something other than digits.
    Port,
    /// The user information contains characters that are not valid there.
    UserInfo,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "only an IPv6 address may be in brackets",
            Self::Character => "its host contains a character that is not allowed",
            Self::Control => "it contains a control character",
            Self::Escape => "a '%' in it does not begin a valid escape",
            Self::Port => "what follows the first colon of its host is no port",
            Self::UserInfo => "the part before its '@' is not a user name and password",
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

/// `net.SplitHostPort`; returns the whole text as the host if it finds no port.
pub(super) fn split_host_port(host: &[u8]) -> (&[u8], &[u8]) {
    let no_port = (host, &b""[..]);
    let Some(colon) = host.iter().rposition(|&byte| byte == b':') else {
        return no_port;
    };
    let port = &host[colon + 1..];
    if let Some(inner) = host.strip_prefix(b"[") {
        // A valid host in brackets has both brackets, followed by a port at most.
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

/// `getScheme`: returns the text before the first colon, if it is a valid scheme.
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
    // Only URLs of databases with several hosts may contain more than one colon; registries use
    // http.
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

/// Returns `true` for an address with or without a zone, by the rules of `netip.ParseAddr`.
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

/// Returns `true` if the ASCII character is valid in a host without an escape.
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
    use crate::test_macros::assert_texts;

    #[test]
    fn each_variant_has_its_text() {
        use UrlError as E;

        assert_texts! { E:
            E::Address = E::Address => "only an IPv6 address may be in brackets";
            E::Character = E::Character => "its host contains a character that is not allowed";
            E::Control = E::Control => "it contains a control character";
            E::Escape = E::Escape => "a '%' in it does not begin a valid escape";
            E::Port = E::Port => "what follows the first colon of its host is no port";
            E::UserInfo = E::UserInfo =>
                "the part before its '@' is not a user name and password";
        }
    }

    type Read = (&'static [u8], &'static [u8], &'static [u8]);

    /// URLs that Go 1.26 parses: the URL, its host and its path.
    const READ: &[Read] = &[
        (b"", b"", b""),
        (b"a", b"", b"a"),
        (b"/a", b"", b"/a"),
        (b"//a/b", b"a", b"/b"),
        (b"///a/b", b"", b"///a/b"),
        (b"a/b:c", b"", b"a/b:c"),
        (b"a:b", b"", b""),
        (b"a/b", b"", b"a/b"),
        (b"a:b/c", b"", b""),
        (b"http:a/b", b"", b""),
        (b"http:/a/b", b"", b"/a/b"),
        (b"http://a/b", b"a", b"/b"),
        (b"http:///a/b", b"", b"/a/b"),
        (b"http://a", b"a", b""),
        (b"http://a?b", b"a", b""),
        (b"http://a/b?c#d", b"a", b"/b"),
        (b"http://a#b", b"a", b""),
        (b"a#%41", b"", b"a"),
        (b"//a@b/c", b"b", b"/c"),
        (b"http://u:p@h/x", b"h", b"/x"),
        (b"http://u%41@h/", b"h", b"/"),
        (b"http://u@v@h/", b"h", b"/"),
        (b"a1+-.://h/p", b"h", b"/p"),
        (b"http://h:", b"h:", b""),
        (b"http://h:80", b"h:80", b""),
        (b"x://h:80:90", b"h:80:90", b""),
        (b"x://h:a:2", b"h:a:2", b""),
        (b"http://[::1]", b"[::1]", b""),
        (b"http://[::1]:80", b"[::1]:80", b""),
        (b"http://[fe80::1%25en0]", b"[fe80::1%en0]", b""),
        (b"http://[fe80::1%25e%20n]", b"[fe80::1%e n]", b""),
        (b"http://[fe80::1%25e%25n]", b"[fe80::1%e%n]", b""),
        (b"http://[fe80::1%25e%41n]", b"[fe80::1%eAn]", b""),
        (b"http://h%25", b"h%", b""),
        (b"http://h%c3%a9", b"h\xc3\xa9", b""),
        (b"http://h%C3%A9/", b"h\xc3\xa9", b"/"),
        (b"http://\xc3\xa9", b"\xc3\xa9", b""),
        (b"http://h\"x", b"h\"x", b""),
        (b"http://h<x>", b"h<x>", b""),
        (b"http://h]x", b"h]x", b""),
        (b"/%41%4a%5A%6f", b"", b"/AJZo"),
        (b"/a%2fb", b"", b"/a/b"),
        (b"/a%00", b"", b"/a\x00"),
        (b"/%e9", b"", b"/\xe9"),
        (b"/%30%39", b"", b"/09"),
        (b"mailto:a@b", b"", b""),
        (b"/a?b%zz", b"", b"/a"),
        (b"http://[::ffff:1.2.3.4]:5", b"[::ffff:1.2.3.4]:5", b""),
    ];

    /// URLs that Go 1.26 rejects.
    const REFUSED: &[(&[u8], UrlError)] = &[
        (b"a#%zz", UrlError::Escape),
        (b"http://u%4@h/", UrlError::Escape),
        (b"http://u p@h/", UrlError::UserInfo),
        (b"1a://h", UrlError::Port),
        (b"+a://h", UrlError::Port),
        (b"://h", UrlError::Port),
        (b":", UrlError::Port),
        (b"\xc3\xa9://h", UrlError::Port),
        (b"http://h:8a", UrlError::Port),
        (b"http://h:80:90", UrlError::Port),
        (b"x://h:8a", UrlError::Port),
        (b"HTTPS://h:1:2", UrlError::Port),
        (b"http://[::1]:8a", UrlError::Port),
        (b"http://[::1]8", UrlError::Port),
        (b"http://[::1", UrlError::Address),
        (b"http://a[::1]", UrlError::Address),
        (b"http://[1.2.3.4]", UrlError::Address),
        (b"http://[a]", UrlError::Address),
        (b"http://[fe80::1%25]", UrlError::Address),
        (b"http://[fe80::1%25e%2fn]", UrlError::Escape),
        (b"http://[fe80::1%en0]", UrlError::Escape),
        (b"http://h%41", UrlError::Escape),
        (b"http://h%20", UrlError::Escape),
        (b"http://h\x7f", UrlError::Control),
        (b"http://h\x0a", UrlError::Control),
        (b"http://h x", UrlError::Character),
        (b"http://h^x", UrlError::Character),
        (b"http://h`x", UrlError::Character),
        (b"http://h|x", UrlError::Character),
        (b"http://h[x", UrlError::Address),
        (b"/%4", UrlError::Escape),
        (b"/%", UrlError::Escape),
        (b"/%g1", UrlError::Escape),
        (b"/%1g", UrlError::Escape),
        (b"http://[::1%41]", UrlError::Escape),
        (b"http://[%3a:1]", UrlError::Escape),
        (b"http://[[::1]]", UrlError::Address),
    ];

    #[test]
    fn urls_are_those_of_go() {
        for (text, host, path) in READ {
            let (host, path) = (host.to_vec(), path.to_vec());
            assert_eq!(
                parse(text),
                Ok(Url { host, path }),
                "{}",
                text.escape_ascii()
            );
        }
        for (text, error) in REFUSED {
            assert_eq!(parse(text), Err(*error), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn hosts_are_parted_from_ports_as_in_go() {
        let table: &[Read] = &[
            (b"a", b"a", b""),
            (b"a:80", b"a", b"80"),
            (b"a:", b"a", b""),
            (b"[::1]", b"[::1]", b""),
            (b"[::1]:80", b"::1", b"80"),
            (b"[::1]:", b"::1", b""),
            (b"a:b:80", b"a:b:80", b""),
            (b"[a]:b]", b"[a]:b]", b""),
            (b"[[a]:80", b"[[a]:80", b""),
            (b"[a]b:80", b"[a]b:80", b""),
            (b"a]:80", b"a]:80", b""),
            (b"[a:80", b"[a:80", b""),
            (b":80", b"", b"80"),
            (b"[]:1", b"", b"1"),
            (b"[a]b", b"[a]b", b""),
        ];
        for (text, host, port) in table {
            assert_eq!(
                split_host_port(text),
                (*host, *port),
                "{}",
                text.escape_ascii()
            );
        }
    }
}
