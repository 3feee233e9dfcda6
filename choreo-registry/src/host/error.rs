//! Why a host is not valid, and what to write instead.

use std::fmt;
use std::net::Ipv6Addr;

use crate::RegistryHost;
use crate::quote::Quoted;

/// Why a string is not a valid [`RegistryHost`](crate::RegistryHost), and what to do.
///
/// The message never repeats input that may contain a password or token: input with `@`, `?`, `#`
/// or `%`, with letters for a port, or one long word in place of a host.
///
/// ```
/// use choreo_registry::RegistryHost;
///
/// assert_eq!(
///     "ghcr.io/acme".parse::<RegistryHost>().unwrap_err().to_string(),
///     "invalid registry host \"ghcr.io/acme\": a host has no path: write \"ghcr.io\", the rest \
///      belongs to the image",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseHostError {
    /// `None` if the input contains a password or may be anything.
    input: Option<String>,
    rule: Rule,
}

impl ParseHostError {
    /// Returns `true` if the rejected input contained a user name or password, which may already
    /// have been logged or stored.
    ///
    /// ```
    /// # use choreo_registry::RegistryHost;
    /// let error = "alice:hunter2@ghcr.io".parse::<RegistryHost>().unwrap_err();
    /// assert!(error.carries_credential());
    /// assert!(!error.to_string().contains("hunter2"));
    /// # Ok::<(), choreo_registry::host::ParseHostError>(())
    /// ```
    #[must_use]
    pub fn carries_credential(&self) -> bool {
        self.rule == Rule::Userinfo
    }

    /// Returns a corrected host, if there is an obvious one.
    ///
    /// ```
    /// # use choreo_registry::RegistryHost;
    /// let error = "https://ghcr.io/acme".parse::<RegistryHost>().unwrap_err();
    /// assert_eq!(error.suggestion(), Some("ghcr.io".parse()?));
    /// assert_eq!("a host".parse::<RegistryHost>().unwrap_err().suggestion(), None);
    /// # Ok::<(), choreo_registry::host::ParseHostError>(())
    /// ```
    #[must_use]
    pub fn suggestion(&self) -> Option<RegistryHost> {
        match &self.rule {
            Rule::DotlessWithoutPort(Some(name)) => format!("{name}:443").parse().ok(),
            Rule::Path(Some(host)) => host.parse().ok(),
            Rule::WebSite => "docker.io".parse().ok(),
            _ => None,
        }
    }

    /// Returns the rule alone, and what to do.
    pub(crate) fn reason(&self) -> impl fmt::Display {
        &self.rule
    }

    /// Returns the same error without the input, for input that may be anything.
    pub(crate) fn into_unquoted(self) -> Self {
        Self {
            input: None,
            rule: self.rule.without_input(),
        }
    }

    pub(super) fn new(input: &str, rule: Rule) -> Self {
        // This rule comes first: text before an at sign may be a password.
        let rule = if input.contains('@') {
            Rule::Userinfo
        } else {
            rule
        };
        let rule = match &rule {
            Rule::DotlessWithoutPort(Some(part)) | Rule::Path(Some(part))
                if may_be_secret(part) =>
            {
                rule.without_input()
            }
            _ => rule,
        };
        Self {
            input: (!may_be_secret(input)).then(|| input.to_owned()),
            rule,
        }
    }
}

/// Returns `true` if the input is or contains text that must not be displayed: a login before a
/// host, a token in a query, `user:password` that looks like a port, or a token alone.
fn may_be_secret(input: &str) -> bool {
    let (_, rest) = input.split_once("://").unwrap_or(("", input));
    let authority = rest.split('/').next().unwrap_or(rest);
    let port = authority.split_once(':').map_or("", |(_, port)| port);
    let is_word = !authority.contains(['.', ':', ' ']) && authority.len() > WORD_MAX;
    let is_ipv6 = authority.starts_with('[') || authority.parse::<Ipv6Addr>().is_ok();
    let is_login = port.contains(char::is_alphabetic) || authority.contains('%');
    input.contains(['@', '?', '#']) || is_word || is_login && !is_ipv6
}

/// Names without a dot, a port and a path are rarely this long, and tokens are longer.
const WORD_MAX: usize = 15;

impl fmt::Display for ParseHostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid registry host")?;
        if let Some(input) = &self.input {
            write!(f, " {}", Quoted::new(input))?;
        }
        write!(f, ": {}", self.rule)
    }
}

impl std::error::Error for ParseHostError {}

/// The rule that a host breaks, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    Blank,
    /// The character, if it may be shown.
    Character(Option<char>),
    /// The name, if it may be shown.
    DotlessWithoutPort(Option<String>),
    Empty,
    HostTooLong,
    Hyphen,
    Ipv4,
    Ipv6,
    Ipv6Zone,
    Label,
    LabelTooLong,
    NonAscii,
    /// The text before the path, if it may be shown.
    Path(Option<String>),
    Port,
    Scheme,
    Template,
    UnbracketedIpv6,
    Underscore,
    Userinfo,
    WebSite,
}

impl Rule {
    /// Returns the same rule without the input that broke it.
    fn without_input(self) -> Self {
        match self {
            Self::Character(_) => Self::Character(None),
            Self::DotlessWithoutPort(_) => Self::DotlessWithoutPort(None),
            Self::Path(_) => Self::Path(None),
            rule => rule,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = match self {
            Self::Blank => "blanks are not allowed: write one host",
            Self::Character(found) => {
                match found {
                    Some(found) => write!(f, "character {found:?} is not allowed")?,
                    None => f.write_str("it contains a character that is not allowed")?,
                }
                ": a host is letters, digits, hyphens and dots"
            }
            Self::DotlessWithoutPort(name) => {
                f.write_str(
                    "a host without a dot needs a port, or image references take it for a \
                     namespace of Docker Hub: write ",
                )?;
                match name {
                    Some(name) => return write!(f, "\"{name}:443\", or its full name"),
                    None => "host:443, or its full name",
                }
            }
            Self::Empty => "it is empty: write a host such as registry.example.com",
            Self::HostTooLong => "a host is at most 253 characters long",
            Self::Hyphen => "no part of a host begins or ends with a hyphen",
            Self::Ipv4 => {
                "it ends in a number and is no IPv4 address: write four numbers from 0 to 255, \
                 without leading zeros"
            }
            Self::Ipv6 => "the brackets do not contain an IPv6 address: write [2001:db8::1]:5000",
            Self::Ipv6Zone => "image references know no IPv6 zone: write the address without '%'",
            Self::Label => "it has an empty part: write single dots between names",
            Self::LabelTooLong => "each part of a host is at most 63 characters long",
            Self::NonAscii => {
                "write an international name in its ASCII form, which begins with xn--"
            }
            Self::Path(host) => {
                f.write_str("a host has no path: write ")?;
                match host {
                    Some(host) => write!(f, "{}", Quoted::new(host))?,
                    None => f.write_str("the host alone")?,
                }
                ", the rest belongs to the image"
            }
            Self::Port => "the port must be a number from 1 to 65535",
            Self::Scheme => "the scheme is unknown: write the host without it",
            Self::Template => "a variable was not replaced by its value: replace it first",
            Self::UnbracketedIpv6 => "an IPv6 address needs brackets: write [2001:db8::1]:5000",
            Self::Underscore => {
                "image references allow no underscore in a host: use another DNS name for it"
            }
            Self::Userinfo => {
                "it carries a user name or password before '@': write the host alone, enter the \
                 credential in its own fields, and change the password if this text was stored \
                 or sent"
            }
            Self::WebSite => "this is Docker Hub's web site: write docker.io",
        };
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_macros::assert_texts;

    #[test]
    fn each_rule_has_its_text() {
        assert_texts! { Rule:
            Rule::Blank = Rule::Blank => "blanks are not allowed: write one host";
            Rule::Character(Some(_)) = Rule::Character(Some('!')) =>
                "character '!' is not allowed: a host is letters, digits, hyphens and dots";
            Rule::Character(None) = Rule::Character(None) =>
                "it contains a character that is not allowed: a host is letters, digits, hyphens and \
                 dots";
            Rule::DotlessWithoutPort(Some(_)) = Rule::DotlessWithoutPort(Some("r".to_owned())) =>
                "a host without a dot needs a port, or image references take it for a namespace of \
                 Docker Hub: write \"r:443\", or its full name";
            Rule::DotlessWithoutPort(None) = Rule::DotlessWithoutPort(None) =>
                "a host without a dot needs a port, or image references take it for a namespace of \
                 Docker Hub: write host:443, or its full name";
            Rule::Empty = Rule::Empty => "it is empty: write a host such as registry.example.com";
            Rule::HostTooLong = Rule::HostTooLong => "a host is at most 253 characters long";
            Rule::Hyphen = Rule::Hyphen => "no part of a host begins or ends with a hyphen";
            Rule::Ipv4 = Rule::Ipv4 =>
                "it ends in a number and is no IPv4 address: write four numbers from 0 to 255, \
                 without leading zeros";
            Rule::Ipv6 = Rule::Ipv6 =>
                "the brackets do not contain an IPv6 address: write [2001:db8::1]:5000";
            Rule::Ipv6Zone = Rule::Ipv6Zone =>
                "image references know no IPv6 zone: write the address without '%'";
            Rule::Label = Rule::Label => "it has an empty part: write single dots between names";
            Rule::LabelTooLong = Rule::LabelTooLong =>
                "each part of a host is at most 63 characters long";
            Rule::NonAscii = Rule::NonAscii =>
                "write an international name in its ASCII form, which begins with xn--";
            Rule::Path(Some(_)) = Rule::Path(Some("ghcr.io".to_owned())) =>
                "a host has no path: write \"ghcr.io\", the rest belongs to the image";
            Rule::Path(None) = Rule::Path(None) =>
                "a host has no path: write the host alone, the rest belongs to the image";
            Rule::Port = Rule::Port => "the port must be a number from 1 to 65535";
            Rule::Scheme = Rule::Scheme => "the scheme is unknown: write the host without it";
            Rule::Template = Rule::Template =>
                "a variable was not replaced by its value: replace it first";
            Rule::UnbracketedIpv6 = Rule::UnbracketedIpv6 =>
                "an IPv6 address needs brackets: write [2001:db8::1]:5000";
            Rule::Underscore = Rule::Underscore =>
                "image references allow no underscore in a host: use another DNS name for it";
            Rule::Userinfo = Rule::Userinfo =>
                "it carries a user name or password before '@': write the host alone, enter the \
                 credential in its own fields, and change the password if this text was stored or \
                 sent";
            Rule::WebSite = Rule::WebSite => "this is Docker Hub's web site: write docker.io";
        }
    }

    #[test]
    fn an_unquoted_error_shows_nothing_of_the_input() {
        for (input, text) in [
            (
                "hunter2!",
                "it contains a character that is not allowed: a host is letters, digits, hyphens and \
                 dots",
            ),
            (
                "hunter2",
                "a host without a dot needs a port, or image references take it for a namespace of \
                 Docker Hub: write host:443, or its full name",
            ),
            (
                "ghcr.io/hunter2",
                "a host has no path: write the host alone, the rest belongs to the image",
            ),
        ] {
            let error = input.parse::<RegistryHost>().unwrap_err();
            assert_eq!(
                error.into_unquoted().to_string(),
                format!("invalid registry host: {text}"),
            );
        }
    }
}
