//! The rules of a host, in the order in which they name the likeliest mistake.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::Rule;

/// Cleans and checks `input`; returns the name and the port to write.
pub(super) fn host(input: &str) -> Result<(String, Option<u16>), Rule> {
    let (name, port) = if is_bare(input) {
        (input, None)
    } else {
        split_port(strip_decoration(input)?)?
    };
    let name = check_name(name)?;
    if name == "hub.docker.com" {
        return Err(Rule::WebSite);
    }
    // Without a dot or a port an image reference reads the name as a namespace of Docker Hub.
    let needs_port = !name.contains(['.', ':']) && name != "localhost";
    match port {
        None if needs_port => Err(Rule::DotlessWithoutPort(Some(name))),
        Some(DEFAULT_PORT) if !needs_port => Ok((name, None)),
        port => Ok((name, port)),
    }
}

/// Whether nothing can surround the name: most hosts are stored as they are.
fn is_bare(input: &str) -> bool {
    let in_name = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    !input.is_empty() && input.bytes().all(in_name)
}

/// Removes what surrounds the host in a pasted URL, and refuses what must not be removed.
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
        if label.len() > 63 {
            return Err(Rule::LabelTooLong);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(Rule::Hyphen);
        }
    }
    if name.len() > 253 {
        return Err(Rule::HostTooLong);
    }
    let name = name.to_ascii_lowercase();
    if ends_in_number(&name) && name.parse::<Ipv4Addr>().is_err() {
        return Err(Rule::Ipv4);
    }
    Ok(name)
}

/// Writes the address in the shortest form that image references can hold.
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

/// Whether resolvers take the name for an IPv4 address
/// (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x");
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

const DEFAULT_PORT: u16 = 443;
const SCHEMES: [&str; 4] = ["https", "http", "docker", "oci"];
