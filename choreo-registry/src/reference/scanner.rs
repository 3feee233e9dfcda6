//! Checks whether a string is an image reference and locates its parts, in one pass over the bytes.
//!
//! ```text
//! reference = name [ ":" tag ] [ "@" digest ]
//! name      = [ domain "/" ] path
//! domain    = host [ ":" digit+ ]
//! host      = label *( "." label ) | "[" ( hex | ":" )+ "]"
//! path      = component *( "/" component )
//! component = alnum+ *( separator alnum+ )      ; lower case
//! separator = "." | "_" | "__" | "-"+
//! tag       = ( alnum | "_" ) *127( alnum | "_" | "." | "-" )
//! ```
//!
//! The grammar and the rule that separates a domain from a path are those of
//! <https://github.com/distribution/reference>. Within one segment, hosts and paths have the same
//! rules, except that only hosts may contain upper case, and only paths underscores. So the first
//! segment is read before it is known which of the two it is.
//!
//! It does not explain why a string is rejected: [`diagnose`](super::diagnose) does, in a second,
//! slower pass.

use crate::digest::{self, Algorithm};

/// An accepted reference: its normalised form is `implied`, then the input from byte `skip` on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Walk {
    pub(super) implied: Implied,
    pub(super) skip: usize,
    /// Counted from `skip`.
    pub(super) parts: Parts,
}

/// The prefix that normalisation adds to a reference.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Implied {
    Nothing,
    Hub,
    Library,
}

impl Implied {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Hub => HUB,
            Self::Library => "docker.io/library/",
        }
    }
}

/// The positions at which the parts of a reference end.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Parts {
    /// 0 if no domain is written, otherwise the byte after the domain's slash.
    pub(super) path_start: usize,
    pub(super) path_end: usize,
    /// Equal to `path_end` if there is no tag.
    pub(super) tag_end: usize,
    /// The algorithm of the digest, which begins after `tag_end` and its at sign.
    pub(super) algorithm: Option<Algorithm>,
}

/// Walks over a whole reference; returns `None` if it is not valid.
pub(super) fn reference(bytes: &[u8]) -> Option<Walk> {
    let Name {
        is_hub,
        start,
        path,
    } = name(bytes)?;
    let is_library = is_hub && path.seen & SLASH == 0;
    if path.end - start > path_limit(is_library) {
        return None;
    }
    let tag_end = match bytes.get(path.end) {
        Some(b':') => path.end + 1 + tag_len(&bytes[path.end + 1..])?,
        _ => path.end,
    };
    let algorithm = match bytes.get(tag_end) {
        None if is_identifier(bytes) => return None,
        None => None,
        Some(b'@') => Some(digest::accept(&bytes[tag_end + 1..])?),
        Some(_) => return None,
    };
    let (implied, skip) = match (is_hub, is_library) {
        (true, true) => (Implied::Library, start),
        (true, false) if start != HUB.len() => (Implied::Hub, start),
        _ => (Implied::Nothing, 0),
    };
    let parts = Parts {
        path_start: start - skip,
        path_end: path.end - skip,
        tag_end: tag_end - skip,
        algorithm,
    };
    Some(Walk {
        implied,
        skip,
        parts,
    })
}

/// Returns `true` if a string is a valid path.
pub(super) fn is_path(bytes: &[u8]) -> bool {
    let path = Run::over(bytes, 0, PATH);
    path.is_complete && path.end == bytes.len() && path.end <= PATH_MAX
}

/// Returns `true` if a string is a valid tag.
pub(super) fn is_tag(bytes: &[u8]) -> bool {
    tag_len(bytes) == Some(bytes.len())
}

/// Returns `true` for the 64 digits of an image's id, which are not valid as a name.
pub(super) fn is_identifier(bytes: &[u8]) -> bool {
    bytes.len() == IDENTIFIER_LEN && digest::is_hex(bytes)
}

/// Returns the length of the longest path, with and without an implied `library/`.
pub(super) fn path_limit(is_library: bool) -> usize {
    if is_library {
        PATH_MAX - LIBRARY.len()
    } else {
        PATH_MAX
    }
}

/// The domain and the path.
struct Name {
    /// Whether the domain is Docker Hub, written or implied.
    is_hub: bool,
    /// The position of the path.
    start: usize,
    path: Run,
}

fn name(bytes: &[u8]) -> Option<Name> {
    let first = Run::over(bytes, 0, SEGMENT);
    match bytes.get(first.end) {
        Some(b'/') if first.is_complete => after_first_segment(bytes, first),
        Some(b':') if first.is_complete => match port_end(bytes, first.end) {
            Some(slash) if first.seen & UNDERSCORE == 0 => named(bytes, slash, false),
            Some(_) => None,
            None => alone(first),
        },
        Some(b'[') if first.end == 0 => named(bytes, ipv6_end(bytes)?, false),
        Some(b'@') | None if first.is_complete => alone(first),
        _ => None,
    }
}

/// Reads a name without a slash, which is always a path.
fn alone(path: Run) -> Option<Name> {
    (path.seen & UPPER == 0).then_some(Name {
        is_hub: true,
        start: 0,
        path,
    })
}

/// Decides what a first segment is that ends with a slash and has no port.
fn after_first_segment(bytes: &[u8], first: Run) -> Option<Name> {
    let segment = &bytes[..first.end];
    match (first.seen & (DOT | UPPER), first.seen & UNDERSCORE) {
        (0, _) if segment != b"localhost" => unnamed(bytes, first, true),
        (_, 0) => {
            let is_hub = segment == b"docker.io" || segment == b"index.docker.io";
            named(bytes, first.end, is_hub)
        }
        // A special case of the grammar: the optional domain does not match, the path does.
        (DOT, _) => unnamed(bytes, first, false),
        _ => None,
    }
}

/// Returns the name whose domain ends before `slash`.
fn named(bytes: &[u8], slash: usize, is_hub: bool) -> Option<Name> {
    let start = slash + 1;
    let path = Run::over(bytes, start, PATH);
    path.is_complete.then_some(Name {
        is_hub,
        start,
        path,
    })
}

/// Returns the name whose first segment already belongs to the path.
fn unnamed(bytes: &[u8], first: Run, is_hub: bool) -> Option<Name> {
    let rest = Run::over(bytes, first.end + 1, PATH);
    rest.is_complete.then_some(Name {
        is_hub,
        start: 0,
        path: Run {
            seen: rest.seen | SLASH,
            ..rest
        },
    })
}

/// Returns the slash after the colon and the digits of a port; `None` if it is not a port.
fn port_end(bytes: &[u8], colon: usize) -> Option<usize> {
    let digits = &bytes[colon + 1..];
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    (len > 0 && digits.get(len) == Some(&b'/')).then_some(colon + 1 + len)
}

/// Returns the slash after an IPv6 address in brackets and its port.
fn ipv6_end(bytes: &[u8]) -> Option<usize> {
    let is_inner = |&&b: &&u8| b.is_ascii_hexdigit() || b == b':';
    let inner = bytes[1..].iter().take_while(is_inner).count();
    let marks_domain = |&b: &u8| b == b':' || b.is_ascii_uppercase();
    match &bytes[1 + inner..] {
        // Without one of these, `[ab]/app` would have to be a path, which is not valid.
        [b']', b'/', ..] if bytes[1..=inner].iter().any(marks_domain) => Some(inner + 2),
        [b']', b':', ..] if inner > 0 => port_end(bytes, inner + 2),
        _ => None,
    }
}

/// Returns the length of the tag at the beginning of `bytes`.
fn tag_len(bytes: &[u8]) -> Option<usize> {
    let is_inner = |&&b: &&u8| TABLE[usize::from(b)].class & TAG != 0;
    let len = bytes.iter().take_while(is_inner).count();
    let starts_well = !matches!(bytes, [b'.' | b'-', ..]);
    ((1..=TAG_MAX).contains(&len) && starts_well).then_some(len)
}

/// A run of letters, digits and separators in valid positions.
#[derive(Clone, Copy)]
struct Run {
    /// The first byte after the run, or the end.
    end: usize,
    /// The classes of its bytes.
    seen: u8,
    /// Whether it ends in a letter or a digit.
    is_complete: bool,
}

impl Run {
    /// Follows the bytes of `allowed` classes from `start` on.
    #[inline(always)]
    fn over(bytes: &[u8], start: usize, allowed: u8) -> Self {
        let (mut end, mut seen, mut next) = (start, 0, EDGE);
        loop {
            while let Some(&byte) = bytes.get(end) {
                let entry = TABLE[usize::from(byte)];
                if entry.class & next & allowed == 0 {
                    break;
                }
                seen |= entry.class;
                next = entry.next;
                end += 1;
            }
            // In the table no separator may follow an underscore; a second underscore may.
            match (&bytes[start..end], bytes.get(end)) {
                ([.., before, b'_'], Some(b'_')) if *before != b'_' => end += 1,
                _ => break,
            }
        }
        Self {
            end,
            seen,
            is_complete: next & SLASH != 0,
        }
    }
}

/// A byte's class, and the classes that may follow it within a run.
#[derive(Clone, Copy)]
struct Entry {
    class: u8,
    next: u8,
}

const TABLE: [Entry; 256] = {
    let mut table = [Entry { class: 0, next: 0 }; 256];
    let mut byte = 0;
    while byte < table.len() {
        let (class, next) = match byte as u8 {
            b'0'..=b'9' | b'a'..=b'z' => (ALNUM, TAG | SLASH),
            b'A'..=b'Z' => (UPPER, TAG | SLASH),
            b'.' => (DOT, EDGE),
            b'_' => (UNDERSCORE, EDGE),
            b'-' => (HYPHEN, EDGE | HYPHEN),
            b'/' => (SLASH, EDGE),
            _ => (0, 0),
        };
        table[byte] = Entry { class, next };
        byte += 1;
    }
    table
};

const ALNUM: u8 = 1;
const UPPER: u8 = 1 << 1;
const DOT: u8 = 1 << 2;
const UNDERSCORE: u8 = 1 << 3;
const HYPHEN: u8 = 1 << 4;
const SLASH: u8 = 1 << 5;

/// The classes with which a run, a label or a component begins.
const EDGE: u8 = ALNUM | UPPER;
const TAG: u8 = EDGE | DOT | UNDERSCORE | HYPHEN;
/// The classes that a host or a component may contain.
const SEGMENT: u8 = TAG;
const PATH: u8 = (TAG | SLASH) & !UPPER;

/// Docker Hub's domain and its slash.
pub(super) const HUB: &str = "docker.io/";
/// The prefix that Docker Hub adds to a path of one component.
pub(super) const LIBRARY: &str = "library/";
const IDENTIFIER_LEN: usize = 64;
const PATH_MAX: usize = 255;
pub(super) const TAG_MAX: usize = 128;
