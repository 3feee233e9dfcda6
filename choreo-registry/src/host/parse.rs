//! The rules of a host, ordered so that the likeliest mistake is reported.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::Rule;

/// Cleans and validates `input`; returns the name and the port to write.
pub(super) fn host(input: &str) -> Result<(String, Option<u16>), Rule> {
    if is_usual(input) && input != WEB_SITE {
        return Ok((input.to_owned(), None));
    }
    cleaned(input)
}

/// Returns `true` for the form of almost all stored names, on which every rule below agrees:
/// nothing surrounds the name, and its last label is not a number.
fn is_usual(input: &str) -> bool {
    let (mut label_start, mut previous) = (0, b'.');
    for (at, byte) in input.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => {}
            b'-' if at > label_start => {}
            b'.' if at > label_start && at - label_start <= LABEL_MAX && previous != b'-' => {
                label_start = at + 1;
            }
            _ => return false,
        }
        previous = byte;
    }
    let label = &input[label_start..];
    label_start > 0
        && label.starts_with(|first: char| first.is_ascii_lowercase())
        && label.len() <= LABEL_MAX
        && previous != b'-'
        && input.len() <= NAME_MAX
}

fn cleaned(input: &str) -> Result<(String, Option<u16>), Rule> {
    let (name, port) = split_port(strip_decoration(input)?)?;
    let name = check_name(name)?;
    if name == WEB_SITE {
        return Err(Rule::WebSite);
    }
    // Without a dot or a port, an image reference reads the name as a namespace of Docker Hub.
    let needs_port = !name.contains(['.', ':']) && name != "localhost";
    match port {
        None if needs_port => Err(Rule::DotlessWithoutPort(Some(name))),
        Some(DEFAULT_PORT) if !needs_port => Ok((name, None)),
        port => Ok((name, port)),
    }
}

/// Removes what surrounds the host in a pasted URL, and rejects what must not be removed.
fn strip_decoration(input: &str) -> Result<&str, Rule> {
    let input = input.trim_matches(|c: char| c.is_ascii_whitespace());
    if input.is_empty() {
        return Err(Rule::Empty);
    }
    if input.contains('@') {
        return Err(Rule::Userinfo);
    }
    if input.contains(['$', '{', '}']) {
        return Err(Rule::Template);
    }
    let rest = match input.split_once("://") {
        None => input,
        Some((scheme, rest)) if SCHEMES.iter().any(|s| s.eq_ignore_ascii_case(scheme)) => rest,
        Some(_) => return Err(Rule::Scheme),
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    if authority.eq_ignore_ascii_case(WEB_SITE) {
        return Err(Rule::WebSite);
    }
    // An address without its scheme, copied out of a page: `//ghcr.io`.
    if authority.is_empty() && path.starts_with("//") {
        let rest = path.trim_start_matches('/');
        let host = rest
            .split(['/', '?', '#'])
            .next()
            .filter(|host| !host.is_empty());
        return Err(host.map_or(Rule::Empty, |host| Rule::Path(Some(host.to_owned()))));
    }
    if !matches!(path, "" | "/" | "/v1" | "/v1/" | "/v2" | "/v2/") {
        return Err(Rule::Path(Some(authority.to_owned())));
    }
    if authority.is_empty() {
        return Err(Rule::Empty);
    }
    Ok(authority)
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), Rule> {
    let name_end = if authority.starts_with('[') {
        authority.find(']').ok_or(Rule::Ipv6)? + 1
    } else {
        let colon = authority.find(':').unwrap_or(authority.len());
        if authority.parse::<Ipv6Addr>().is_ok() {
            return Err(Rule::UnbracketedIpv6);
        }
        colon
    };
    let (name, port) = authority.split_at(name_end);
    let Some(digits) = port.strip_prefix(':') else {
        return if port.is_empty() {
            Ok((name, None))
        } else {
            Err(Rule::Ipv6)
        };
    };
    // `parse` alone would accept a sign.
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Rule::Port);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(Rule::Port),
        Ok(port) => Ok((name, Some(port))),
    }
}

fn check_name(name: &str) -> Result<String, Rule> {
    if let Some(inner) = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return check_ipv6(inner);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(Rule::Empty);
    }
    for character in name.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' => {}
            '_' => return Err(Rule::Underscore),
            _ if !character.is_ascii() => return Err(Rule::NonAscii),
            _ if character.is_ascii_whitespace() => return Err(Rule::Blank),
            _ => return Err(Rule::Character(Some(character))),
        }
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(Rule::Label);
        }
        if label.len() > LABEL_MAX {
            return Err(Rule::LabelTooLong);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(Rule::Hyphen);
        }
    }
    if name.len() > NAME_MAX {
        return Err(Rule::HostTooLong);
    }
    let name = name.to_ascii_lowercase();
    if ends_in_number(&name) && name.parse::<Ipv4Addr>().is_err() {
        return Err(Rule::Ipv4);
    }
    Ok(name)
}

/// Returns the address in the shortest form that is valid in an image reference.
fn check_ipv6(inner: &str) -> Result<String, Rule> {
    if inner.contains('%') {
        return Err(Rule::Ipv6Zone);
    }
    let address: Ipv6Addr = inner.parse().map_err(|_| Rule::Ipv6)?;
    let mut text = format!("[{address}]");
    if text.contains('.') {
        // Dotted tails (`::ffff:192.0.2.1`) are outside the grammar of references.
        text = "[".to_owned();
        for (index, segment) in address.segments().into_iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(text, "{colon}{segment:x}").expect("writing to a String does not fail");
        }
        text.push(']');
    }
    Ok(text)
}

/// Returns `true` if resolvers read the name as an IPv4 address
/// (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x");
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Docker Hub's web site, which is not a registry.
const WEB_SITE: &str = "hub.docker.com";
/// The longest label: [RFC 1035, section
/// 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4).
const LABEL_MAX: usize = 63;
/// The longest name, by the same section, without the root's dot.
const NAME_MAX: usize = 253;
const DEFAULT_PORT: u16 = 443;
const SCHEMES: [&str; 4] = ["https", "http", "docker", "oci"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_names_take_the_short_way() {
        let (label, name) = ("a".repeat(63), "a.".repeat(126) + "a");
        for usual in [
            "ghcr.io",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "0.a",
            "a-b.c-d",
            "a.b1",
            &format!("{label}.{label}"),
            &name,
        ] {
            assert!(is_usual(usual), "{usual}");
            assert_eq!(cleaned(usual).unwrap(), (usual.to_owned(), None));
        }
        for other in [
            "",
            ".",
            "a",
            "localhost",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a.-b",
            "a.b-",
            "A.b",
            "a.1",
            "a.0xf",
            "127.0.0.1",
            "a.b:5000",
            "a.b/",
            " a.b",
            "a_b.c",
            "\u{e9}.b",
            &format!("{label}a.b"),
            &format!("b.{label}a"),
            &format!("{name}b"),
        ] {
            assert!(!is_usual(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_ends_where_the_long_one_does(input in "[a-c0x.-]{1,12}|[a-b.]{240,260}") {
            if is_usual(&input) {
                prop_assert_eq!(cleaned(&input).ok(), Some((input, None)));
            }
        }
    }
}
