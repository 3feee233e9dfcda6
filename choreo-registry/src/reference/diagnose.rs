//! Finds the rule that a string breaks after [`walk`](super::walk) has rejected it, and the byte.
//!
//! It runs only on errors, so it is written for clarity: one rule at a time, each with the byte at
//! which it is broken.

use std::ops::Range;

use super::error::{Rule, Violation};
use super::scanner::{self, TAG_MAX};
use crate::digest;

/// Returns the rule that a whole reference breaks.
pub(super) fn reference(input: &str) -> Result<(), Violation> {
    let bytes = input.as_bytes();
    if bytes.is_empty() {
        return Err(Violation::new(Rule::Empty, 0));
    }
    if scanner::is_identifier(bytes) {
        return Err(Violation::new(Rule::Identifier, 0));
    }
    let (domain, start) = split_domain(bytes)?;
    let path = start..scan_path(bytes, start)?;
    let is_library = domain == Domain::Hub && !bytes[path.clone()].contains(&b'/');
    check_path_len(&path, is_library)?;

    let mut end = path.end;
    if bytes.get(end) == Some(&b':') {
        end = scan_tag(bytes, end + 1)?;
    }
    if end < bytes.len() {
        check_digest(input, end + 1)?;
    }
    Ok(())
}

/// Returns the rule that a path alone breaks.
pub(super) fn path(input: &str) -> Result<(), Violation> {
    if input.is_empty() {
        return Err(Violation::new(Rule::Empty, 0));
    }
    let end = scan_path(input.as_bytes(), 0)?;
    if end < input.len() {
        return Err(Violation::new(Rule::Character, end));
    }
    check_path_len(&(0..end), false)
}

/// Returns the rule that a tag alone breaks.
pub(super) fn tag(input: &str) -> Result<(), Violation> {
    if input.is_empty() {
        return Err(Violation::new(Rule::Empty, 0));
    }
    let end = scan_tag(input.as_bytes(), 0)?;
    if end < input.len() {
        return Err(Violation::new(Rule::TagCharacter, end));
    }
    Ok(())
}

/// The first part of a reference.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Domain {
    /// Docker Hub, written or implied.
    Hub,
    /// The bytes before the path and its slash.
    Named,
    /// None: the first segment is not a domain but a path component, as in `exa_mple.com/app`.
    Absent,
}

/// Separates the domain from the path; returns the position of the path.
fn split_domain(bytes: &[u8]) -> Result<(Domain, usize), Violation> {
    let Some(slash) = bytes.iter().position(|&b| b == b'/') else {
        return Ok((Domain::Hub, 0));
    };
    let first = &bytes[..slash];
    if first == b"docker.io" || first == b"index.docker.io" {
        return Ok((Domain::Hub, slash + 1));
    }
    let is_domain = first == b"localhost"
        || first
            .iter()
            .any(|b| matches!(b, b'.' | b':') || b.is_ascii_uppercase());
    if !is_domain {
        return Ok((Domain::Hub, 0));
    }
    match scan_domain(first) {
        Ok(()) => Ok((Domain::Named, slash + 1)),
        // A special case of the grammar: the optional domain does not match, the path does.
        Err(violation)
            if first.get(violation.at) == Some(&b'_') && scan_path(first, 0) == Ok(slash) =>
        {
            Ok((Domain::Absent, 0))
        }
        Err(violation) => Err(violation),
    }
}

fn scan_domain(bytes: &[u8]) -> Result<(), Violation> {
    let host_end = if bytes[0] == b'[' {
        scan_ipv6(bytes)?
    } else {
        scan_labels(bytes)?
    };
    match bytes.get(host_end) {
        None => Ok(()),
        Some(b':') => {
            let port = &bytes[host_end + 1..];
            match port.iter().position(|b| !b.is_ascii_digit()) {
                Some(at) => Err(Violation::new(Rule::Port, host_end + 1 + at)),
                None if port.is_empty() => Err(Violation::new(Rule::Port, host_end)),
                None => Ok(()),
            }
        }
        Some(_) => Err(Violation::new(Rule::Host, host_end)),
    }
}

/// Returns the byte after the closing bracket.
fn scan_ipv6(bytes: &[u8]) -> Result<usize, Violation> {
    let inner = bytes[1..]
        .iter()
        .take_while(|&&b| b.is_ascii_hexdigit() || b == b':')
        .count();
    match bytes.get(1 + inner) {
        Some(b']') if inner > 0 => Ok(inner + 2),
        _ => Err(Violation::new(Rule::Ipv6, 1 + inner)),
    }
}

/// Returns the end of the dotted labels: the port's colon or the end.
fn scan_labels(bytes: &[u8]) -> Result<usize, Violation> {
    let mut previous = b'.';
    for (at, &byte) in bytes.iter().enumerate() {
        let follows_edge = previous == b'.';
        match byte {
            b'-' | b'.' | b':' if follows_edge => return Err(Violation::new(Rule::Host, at)),
            b'.' | b':' if previous == b'-' => return Err(Violation::new(Rule::Host, at - 1)),
            b':' => return Ok(at),
            b'.' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => previous = byte,
            _ => return Err(Violation::new(Rule::Host, at)),
        }
    }
    match previous {
        b'.' | b'-' => Err(Violation::new(Rule::Host, bytes.len() - 1)),
        _ => Ok(bytes.len()),
    }
}

/// Returns the end of the path: the colon, the at sign, or the end.
fn scan_path(bytes: &[u8], start: usize) -> Result<usize, Violation> {
    let mut at = start;
    // At the beginning of a component or after a separator, a letter or a digit must follow.
    let mut expects_alnum = true;
    loop {
        match bytes.get(at) {
            Some(b'a'..=b'z' | b'0'..=b'9') => {
                expects_alnum = false;
                at += 1;
            }
            Some(b'A'..=b'Z') => return Err(Violation::new(Rule::Uppercase, at)),
            None | Some(b':' | b'@' | b'/') if expects_alnum => {
                let rule = match at.checked_sub(1).map(|before| bytes[before]) {
                    Some(b'.' | b'_' | b'-') => Rule::Separator,
                    _ => Rule::EmptyComponent,
                };
                return Err(Violation::new(rule, at));
            }
            None | Some(b':' | b'@') => return Ok(at),
            Some(b'/') => {
                expects_alnum = true;
                at += 1;
            }
            Some(b'.' | b'_' | b'-') if expects_alnum => {
                return Err(Violation::new(Rule::Separator, at));
            }
            Some(b'.' | b'_' | b'-') => {
                expects_alnum = true;
                at += separator_len(&bytes[at..]);
            }
            Some(_) => return Err(Violation::new(Rule::Character, at)),
        }
    }
}

/// Returns the length of the separator at the beginning of `bytes`: `.`, `_`, `__` or any run of
/// hyphens.
fn separator_len(bytes: &[u8]) -> usize {
    match bytes {
        [b'_', b'_', ..] => 2,
        [b'-', ..] => bytes.iter().take_while(|&&b| b == b'-').count(),
        _ => 1,
    }
}

fn check_path_len(path: &Range<usize>, is_library: bool) -> Result<(), Violation> {
    let limit = scanner::path_limit(is_library);
    if path.len() > limit {
        return Err(Violation::new(Rule::PathTooLong, path.start + limit));
    }
    Ok(())
}

/// Returns the end of the tag: the at sign or the end.
fn scan_tag(bytes: &[u8], start: usize) -> Result<usize, Violation> {
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'@' if at > start => return Ok(at),
            b'.' | b'-' if at == start => return Err(Violation::new(Rule::TagStart, at)),
            b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {}
            b'@' => return Err(Violation::new(Rule::TagEmpty, at)),
            _ => return Err(Violation::new(Rule::TagCharacter, at)),
        }
        if at - start == TAG_MAX {
            return Err(Violation::new(Rule::TagTooLong, at));
        }
    }
    if start >= bytes.len() {
        return Err(Violation::new(Rule::TagEmpty, start));
    }
    Ok(bytes.len())
}

fn check_digest(input: &str, start: usize) -> Result<(), Violation> {
    digest::check(&input[start..])
        .map(drop)
        .map_err(|rule| match rule {
            digest::Rule::Character { at } => {
                let at = start + at;
                Violation::new(Rule::Digest(digest::Rule::Character { at }), at)
            }
            rule => Violation::new(Rule::Digest(rule), start),
        })
}
