//! Why a reference is not valid, at which byte, and what to write instead.

use std::fmt;
use std::net::Ipv4Addr;

use super::scanner;
use crate::digest;
use crate::quote::Quoted;

/// Why a string is not a valid image reference, repository or tag: the rule, the byte and what to
/// do.
///
/// The message never repeats input that may contain a password (`user:password@host/…`).
///
/// ```
/// use choreo_registry::ImageReference;
///
/// let error = "ghcr.io/Acme/App:1".parse::<ImageReference>().unwrap_err();
/// assert_eq!(error.position(), 8);
/// assert_eq!(
///     error.to_string(),
///     "invalid image reference \"ghcr.io/Acme/App:1\": repository name must be lowercase, \
///      found 'A' at byte 8: try \"ghcr.io/acme/app:1\"",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseReferenceError(Box<Details>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Details {
    subject: Subject,
    /// `None` if the input may contain a password.
    input: Option<String>,
    violation: Violation,
    /// The character at the position.
    found: Option<char>,
    suggestion: Option<String>,
}

impl ParseReferenceError {
    /// Returns the byte of the input at which the rule is broken; the input's length if something
    /// is missing at its end.
    #[must_use]
    pub fn position(&self) -> usize {
        self.0.violation.at
    }

    /// Returns a corrected reference, if there is an obvious one.
    ///
    /// ```
    /// # use choreo_registry::ImageReference;
    /// let error = "https://ghcr.io/acme/app".parse::<ImageReference>().unwrap_err();
    /// assert_eq!(error.suggestion(), Some("ghcr.io/acme/app"));
    /// ```
    #[must_use]
    pub fn suggestion(&self) -> Option<&str> {
        self.0.suggestion.as_deref()
    }

    /// Creates the error from the `diagnosis` of a rejected `input`.
    #[cold]
    pub(super) fn new(subject: Subject, input: &str, diagnosis: Result<(), Violation>) -> Self {
        let violation = diagnosis
            .err()
            .unwrap_or_else(|| Violation::new(Rule::Character, 0));
        let violation = match subject {
            Subject::ImageReference => explain(input, violation),
            Subject::Repository | Subject::Tag => violation,
        };
        let is_shown = !may_carry_password(input);
        Self(Box::new(Details {
            subject,
            input: is_shown.then(|| input.to_owned()),
            violation,
            found: input
                .get(violation.at..)
                .and_then(|rest| rest.chars().next()),
            suggestion: if is_shown {
                suggest(subject, input, violation.rule)
            } else {
                None
            },
        }))
    }
}

impl fmt::Display for ParseReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ParseReferenceError {}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {}", self.subject.as_str())?;
        if let Some(input) = &self.input {
            write!(f, " {}", Quoted::new(input))?;
        }
        write!(f, ": {}", self.violation.rule)?;
        match (self.violation.rule, self.found) {
            // These rules concern the whole, not one character.
            (
                Rule::Digest(_) | Rule::Empty | Rule::Identifier | Rule::Scheme | Rule::Userinfo,
                _,
            ) => {}
            (_, Some(found)) => write!(f, ", found {found:?} at byte {}", self.violation.at)?,
            (_, None) => write!(f, ", found the end at byte {}", self.violation.at)?,
        }
        let help = match self.violation.rule {
            Rule::Empty => Some(self.subject.example()),
            rule => rule.help(),
        };
        match (&self.suggestion, help) {
            (Some(suggestion), Some(help)) => write!(f, ": {help} {}", Quoted::new(suggestion)),
            (Some(suggestion), None) if matches!(self.violation.rule, Rule::Digest(_)) => {
                write!(f, ", for a tag write {}", Quoted::new(suggestion))
            }
            (Some(suggestion), None) => write!(f, ": try {}", Quoted::new(suggestion)),
            (None, Some(help)) => write!(f, ": {}", help.trim_end_matches(',')),
            (None, None) => Ok(()),
        }
    }
}

/// The kind of text that was being parsed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    ImageReference,
    Repository,
    Tag,
}

impl Subject {
    fn as_str(self) -> &'static str {
        match self {
            Self::ImageReference => "image reference",
            Self::Repository => "repository",
            Self::Tag => "tag",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::ImageReference => "write a name such as registry.example.com/acme/app:1.0",
            Self::Repository => "write a name such as acme/app",
            Self::Tag => "write a tag such as 1.0",
        }
    }
}

/// A broken rule and the byte at which it is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) at: usize,
}

impl Violation {
    pub(super) fn new(rule: Rule, at: usize) -> Self {
        Self { rule, at }
    }
}

/// The rules of the grammar, and the common mistakes in applying them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    Blank,
    Character,
    Digest(digest::Rule),
    Empty,
    EmptyComponent,
    Host,
    Identifier,
    Ipv6,
    NonAscii,
    PathTooLong,
    Port,
    Scheme,
    Separator,
    TagCharacter,
    TagEmpty,
    TagStart,
    TagTooLong,
    Template,
    Underscore,
    Uppercase,
    Userinfo,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blank => "blanks are not allowed",
            Self::Character => {
                "repository name may contain only a-z, 0-9 and the separators '.', '_', '-' and '/'"
            }
            Self::Digest(rule) => return write!(f, "the part after '@' is no digest: {rule}"),
            Self::Empty => "it is empty",
            Self::EmptyComponent => "repository name has an empty part",
            Self::Host => "host must be dotted labels of letters, digits and inner hyphens",
            Self::Identifier => "64 hexadecimal digits alone are an image's id, not a reference",
            Self::Ipv6 => "an IPv6 host must be hexadecimal digits and colons in brackets",
            Self::NonAscii => "only ASCII is allowed",
            Self::PathTooLong => "repository name is longer than 255 bytes",
            Self::Port => "port must be a number",
            Self::Scheme => "it begins with a scheme",
            Self::Separator => {
                "repository name needs a letter or digit on both sides of '.', '_', '__' or hyphens"
            }
            Self::TagCharacter => "tag may contain only letters, digits, '_', '.' and '-'",
            Self::TagEmpty => "tag is empty",
            Self::TagStart => "tag must start with a letter, a digit or '_'",
            Self::TagTooLong => "tag is longer than 128 bytes",
            Self::Template => "a variable was not replaced by its value",
            Self::Underscore => "host must not contain an underscore",
            Self::Uppercase => "repository name must be lowercase",
            Self::Userinfo => "it carries a user name or password before '@'",
        })
    }
}

impl Rule {
    /// Returns what to do; the text ends so that a suggestion can follow.
    fn help(self) -> Option<&'static str> {
        match self {
            Self::Blank => Some("write the reference alone,"),
            Self::EmptyComponent => Some("write single slashes between names,"),
            Self::Identifier => Some("write the image's name, or name@sha256:… for a digest"),
            Self::NonAscii => Some("write a host's xn-- form, and tags and names in ASCII"),
            Self::Scheme => Some("write it without the scheme,"),
            Self::TagEmpty => Some("write a tag after ':', or leave ':' out,"),
            Self::Template => Some("replace it before this string is used"),
            Self::Userinfo => {
                Some("remove it, register the registry with it instead, and change the password")
            }
            _ => None,
        }
    }
}

/// Finds the mistake behind a violation, if the grammar alone would report a symptom.
fn explain(input: &str, violation: Violation) -> Violation {
    let at = |rule, at| Violation::new(rule, at);
    if let Some(position) = userinfo(input) {
        return at(Rule::Userinfo, position);
    }
    if let Some(position) = input.find(['$', '{']) {
        return at(Rule::Template, position);
    }
    if let Some(position) = input.find(['\t', '\n', '\r', ' ']) {
        return at(Rule::Blank, position);
    }
    if input.contains("://") {
        return at(Rule::Scheme, 0);
    }
    if let Some(position) = input.find(|c: char| !c.is_ascii()) {
        return at(Rule::NonAscii, position);
    }
    if violation.rule == Rule::Host && input.as_bytes().get(violation.at) == Some(&b'_') {
        return at(Rule::Underscore, violation.at);
    }
    violation
}

/// Returns the at sign before the host, if the text before it looks like a login.
fn userinfo(input: &str) -> Option<usize> {
    let start = input.find("://").map_or(0, |scheme| scheme + 3);
    let authority = &input[start..];
    let (before, after) = authority.split_once('@')?;
    // Without a path after it, only a scheme distinguishes `user@host` from `name@digest`.
    let is_login = !before.contains('/') && (start > 0 || after.contains('/'));
    is_login.then_some(start + before.len())
}

/// Returns `true` if the input may be `user:password@host` rather than a name and a malformed
/// digest.
fn may_carry_password(input: &str) -> bool {
    let Some((before, after)) = input.split_once('@') else {
        return false;
    };
    let is_digest = ALGORITHMS.iter().any(|algorithm| {
        after
            .get(..algorithm.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(algorithm))
    });
    if is_digest {
        return userinfo(input).is_some();
    }
    let version = after.strip_prefix('v').unwrap_or(after);
    let is_version = version.starts_with(|c: char| c.is_ascii_digit()) || !after.contains('.');
    before.contains(':')
        || after.contains([':', '/', '@'])
        || !is_version
        || after == "localhost"
        || after.parse::<Ipv4Addr>().is_ok()
}

fn suggest(subject: Subject, input: &str, rule: Rule) -> Option<String> {
    let candidate = match rule {
        Rule::Blank => match input.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            // `docker pull nginx`, copied from a page.
            [_, "pull", image] => image.to_owned(),
            _ => input.trim().to_owned(),
        },
        Rule::Digest(digest::Rule::NoAlgorithm) => input.replacen('@', ":", 1),
        Rule::EmptyComponent => single_slashes(input),
        Rule::Scheme => {
            let address = single_slashes(input.split_once("://")?.1);
            image_of_page(&address).unwrap_or(address)
        }
        Rule::TagEmpty => input.trim_end_matches(':').replacen(":@", "@", 1),
        Rule::Uppercase => lowercase_path(input),
        _ => return None,
    };
    let is_valid = match subject {
        Subject::ImageReference => scanner::reference(candidate.as_bytes()).is_some(),
        Subject::Repository => scanner::is_path(candidate.as_bytes()),
        Subject::Tag => scanner::is_tag(candidate.as_bytes()),
    };
    (is_valid && candidate != input).then_some(candidate)
}

/// Removes slashes at the ends and duplicate slashes.
fn single_slashes(input: &str) -> String {
    let parts: Vec<_> = input.split('/').filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

/// Returns the image that a page of a registry's web site is about.
fn image_of_page(address: &str) -> Option<String> {
    let address = address.split(['?', '#']).next()?;
    for (page, registry) in [
        ("quay.io/repository/", "quay.io"),
        ("gallery.ecr.aws/", "public.ecr.aws"),
    ] {
        if let Some(image) = address.strip_prefix(page) {
            let mut parts = image.split('/');
            return Some(format!("{registry}/{}/{}", parts.next()?, parts.next()?));
        }
    }
    let path = address.strip_prefix("hub.docker.com/")?;
    let mut parts = path.split('/');
    match (parts.next()?, parts.next()?, parts.next()) {
        ("_", image, _) => Some(image.to_owned()),
        ("r", namespace, Some(image)) => Some(format!("{namespace}/{image}")),
        ("repository", "docker", Some(namespace)) => {
            parts.next().map(|image| format!("{namespace}/{image}"))
        }
        _ => None,
    }
}

/// Returns the input with its path in lower case, and unchanged host, tag and digest.
fn lowercase_path(input: &str) -> String {
    let name_end = input.find('@').unwrap_or(input.len());
    let slash = input[..name_end]
        .find('/')
        .filter(|&slash| input[..slash].contains(['.', ':']) || &input[..slash] == "localhost");
    let start = slash.map_or(0, |slash| slash + 1);
    let end = input[start..name_end]
        .find(':')
        .map_or(name_end, |colon| start + colon);
    let (host, path, rest) = (&input[..start], &input[start..end], &input[end..]);
    format!("{host}{}{rest}", path.to_ascii_lowercase())
}

const ALGORITHMS: [&str; 3] = ["sha256:", "sha384:", "sha512:"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_macros::assert_texts;

    #[test]
    fn each_rule_has_its_text() {
        assert_texts! { Rule:
            Rule::Blank = Rule::Blank => "blanks are not allowed";
            Rule::Character = Rule::Character =>
                "repository name may contain only a-z, 0-9 and the separators '.', '_', '-' and '/'";
            Rule::Digest(_) = Rule::Digest(digest::Rule::Algorithm) =>
                "the part after '@' is no digest: unsupported algorithm: use sha256, sha384 or sha512";
            Rule::Empty = Rule::Empty => "it is empty";
            Rule::EmptyComponent = Rule::EmptyComponent => "repository name has an empty part";
            Rule::Host = Rule::Host =>
                "host must be dotted labels of letters, digits and inner hyphens";
            Rule::Identifier = Rule::Identifier =>
                "64 hexadecimal digits alone are an image's id, not a reference";
            Rule::Ipv6 = Rule::Ipv6 =>
                "an IPv6 host must be hexadecimal digits and colons in brackets";
            Rule::NonAscii = Rule::NonAscii => "only ASCII is allowed";
            Rule::PathTooLong = Rule::PathTooLong => "repository name is longer than 255 bytes";
            Rule::Port = Rule::Port => "port must be a number";
            Rule::Scheme = Rule::Scheme => "it begins with a scheme";
            Rule::Separator = Rule::Separator =>
                "repository name needs a letter or digit on both sides of '.', '_', '__' or hyphens";
            Rule::TagCharacter = Rule::TagCharacter =>
                "tag may contain only letters, digits, '_', '.' and '-'";
            Rule::TagEmpty = Rule::TagEmpty => "tag is empty";
            Rule::TagStart = Rule::TagStart => "tag must start with a letter, a digit or '_'";
            Rule::TagTooLong = Rule::TagTooLong => "tag is longer than 128 bytes";
            Rule::Template = Rule::Template => "a variable was not replaced by its value";
            Rule::Underscore = Rule::Underscore => "host must not contain an underscore";
            Rule::Uppercase = Rule::Uppercase => "repository name must be lowercase";
            Rule::Userinfo = Rule::Userinfo => "it carries a user name or password before '@'";
        }
    }

    #[test]
    fn a_page_of_a_web_site_leads_to_its_image() {
        for (page, image) in [
            ("https://hub.docker.com/r/acme/app:1", "acme/app:1"),
            ("https://hub.docker.com/r/acme/app/", "acme/app"),
            ("https://hub.docker.com/r/acme/app/tags?page=2", "acme/app"),
            ("https://hub.docker.com/_/nginx", "nginx"),
            ("https://hub.docker.com/_/nginx/tags", "nginx"),
            (
                "https://hub.docker.com/repository/docker/acme/app/general",
                "acme/app",
            ),
            (
                "https://quay.io/repository/acme/app:1",
                "quay.io/acme/app:1",
            ),
            (
                "https://quay.io/repository/acme/app?tab=tags",
                "quay.io/acme/app",
            ),
            (
                "https://gallery.ecr.aws/acme/app",
                "public.ecr.aws/acme/app",
            ),
            ("https://ghcr.io/acme/app:1", "ghcr.io/acme/app:1"),
            ("https://quay.io/acme/app:1", "quay.io/acme/app:1"),
        ] {
            let suggested = suggest(Subject::ImageReference, page, Rule::Scheme);
            assert_eq!(suggested.as_deref(), Some(image), "{page}");
        }
    }
}
