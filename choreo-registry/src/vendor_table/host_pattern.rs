//! Patterns for hosts, matched label by label.

use std::fmt;
use std::str::FromStr;

use super::ecr::{self, EcrHost};
use crate::RegistryHost;
use crate::host::ParseHostError;
use crate::quote::Quoted;

/// A host, or a pattern that several hosts match.
///
/// A `*` matches one or more characters within a label, and each label contains at most one. A
/// pattern without a port matches hosts without a port; `:5000` matches this port, `:*` any port or
/// none.
///
/// ```
/// use choreo_registry::vendor_table::HostPattern;
///
/// let pattern: HostPattern = "*-docker.pkg.dev".parse()?;
/// assert!(pattern.matches(&"europe-west1-docker.pkg.dev".parse()?));
/// assert!(!pattern.matches(&"a.b-docker.pkg.dev".parse()?));
/// assert!(!pattern.matches(&"europe-west1-docker.pkg.dev:5000".parse()?));
/// assert_eq!(pattern.as_str(), "*-docker.pkg.dev");
///
/// let any_port: HostPattern = "*.acme.example:*".parse()?;
/// assert!(any_port.matches(&"registry.acme.example:5000".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPattern {
    text: String,
    /// The position in `text` at which the name ends.
    name_end: usize,
    /// The position of the text after the last star, to reject most hosts fast.
    suffix_at: usize,
    port: Port,
    is_ecr: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Port {
    Any,
    Is(Option<u16>),
}

impl HostPattern {
    /// Returns the pattern, in lower case. The pattern of Amazon ECR shows only its most common
    /// form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` if the host matches. It does not allocate.
    #[must_use]
    pub fn matches(&self, host: &RegistryHost) -> bool {
        self.matches_authority(host.name(), host.port())
    }

    pub(crate) fn matches_authority(&self, name: &str, port: Option<u16>) -> bool {
        let is_port = match self.port {
            Port::Any => true,
            Port::Is(wanted) => port == wanted,
        };
        is_port && self.matches_name(name)
    }

    /// Returns the pattern of the hosts of Amazon ECR.
    pub(super) fn ecr() -> Self {
        let text = ecr::SHOWN.to_owned();
        Self {
            name_end: text.len(),
            suffix_at: 0,
            port: Port::Is(None),
            is_ecr: true,
            text,
        }
    }

    fn matches_name(&self, name: &str) -> bool {
        if self.is_ecr {
            return EcrHost::of_name(name).is_some();
        }
        let pattern = &self.text[..self.name_end];
        if self.suffix_at == 0 {
            return name == pattern;
        }
        name.ends_with(&pattern[self.suffix_at..]) && {
            let mut labels = name.split('.');
            pattern
                .split('.')
                .all(|pattern| labels.next().is_some_and(|label| is_label(pattern, label)))
                && labels.next().is_none()
        }
    }
}

impl FromStr for HostPattern {
    type Err = ParseHostPatternError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        let refused = |why| ParseHostPatternError {
            input: input.to_owned(),
            why,
        };
        let (host, any_port) = match input.strip_suffix(":*") {
            Some(host) => (host, true),
            None => (input, false),
        };
        let stars_too_many = |label: &str| label.bytes().filter(|&byte| byte == b'*').count() > 1;
        if host.split('.').any(stars_too_many) {
            return Err(refused(Why::Stars));
        }
        // With a letter in place of each star, the pattern must be a host in canonical spelling.
        let sample: RegistryHost = host
            .replace('*', "x")
            .parse()
            .map_err(|error: ParseHostError| refused(Why::Host(error.into_unquoted())))?;
        let mut text = host.to_ascii_lowercase();
        if !text.contains('*') {
            sample.as_str().clone_into(&mut text);
        } else if text.replace('*', "x") != sample.as_str() {
            return Err(refused(Why::Decorated));
        }
        if any_port && sample.port().is_some() {
            return Err(refused(Why::TwoPorts));
        }
        let name_end = sample.name().len();
        if any_port {
            text.push_str(":*");
        }
        Ok(Self {
            suffix_at: text[..name_end].rfind('*').map_or(0, |star| star + 1),
            port: if any_port {
                Port::Any
            } else {
                Port::Is(sample.port())
            },
            is_ecr: false,
            name_end,
            text,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Why a string is not a valid [`HostPattern`].
///
/// ```
/// use choreo_registry::vendor_table::HostPattern;
///
/// assert_eq!(
///     "**.acme.example".parse::<HostPattern>().unwrap_err().to_string(),
///     "invalid host pattern \"**.acme.example\": a label has more than one *: write one, as in \
///      a-*.acme.example",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseHostPatternError {
    input: String,
    why: Why,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Why {
    Decorated,
    /// With letters in place of the stars, it is not a host.
    Host(ParseHostError),
    Stars,
    TwoPorts,
}

impl fmt::Display for ParseHostPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid host pattern {}: ", Quoted::new(&self.input))?;
        f.write_str(match &self.why {
            Why::Host(error) => return write!(f, "{}", error.reason()),
            Why::Decorated => {
                "beside a * write the name and the port alone, without scheme, slash or port 443"
            }
            Why::Stars => "a label has more than one *: write one, as in a-*.acme.example",
            Why::TwoPorts => "it has a port and any port: write one of both",
        })
    }
}

impl std::error::Error for ParseHostPatternError {}

fn is_label(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((start, end)) => {
            label.len() > start.len() + end.len()
                && label.starts_with(start)
                && label.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> RegistryHost {
        host.parse().unwrap()
    }

    #[test]
    fn stars_stay_within_a_label_and_take_at_least_one_character() {
        for (pattern, at, expected) in [
            ("*.a.example", "b.a.example", true),
            ("*.a.example", "c.b.a.example", false),
            ("*.a.example", "a.example", false),
            ("*.a.example", "b.a.example.com", false),
            ("b-*.a.example", "b-1.a.example", true),
            ("b-*.a.example", "c-1.a.example", false),
            ("*-b.a.example", "1-b.a.example", true),
            ("1*1.a.example", "11.a.example", false),
            ("1*1.a.example", "111.a.example", true),
            ("rg.*.scw.cloud", "rg.fr-par.scw.cloud", true),
            ("rg.*.scw.cloud", "rg.scw.cloud", false),
            ("rg.*.scw.cloud", "rgx.fr-par.scw.cloud", false),
            ("*.*.example", "a.b.example", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("A.Example", "a.example", true),
            ("a.example", "b.example", false),
        ] {
            let matches = pattern.parse::<HostPattern>().unwrap().matches(&host(at));
            assert_eq!(matches, expected, "{pattern} {at}");
        }
    }

    #[test]
    fn ports_are_none_one_or_any() {
        for (pattern, at, expected) in [
            ("a.example", "a.example:5000", false),
            ("a.example:5000", "a.example:5000", true),
            ("a.example:5000", "a.example:5001", false),
            ("a.example:5000", "a.example", false),
            ("a.example:443", "a.example", true),
            ("*.example:5000", "a.example:5000", true),
            ("*.example:5000", "a.example", false),
            ("a.example:*", "a.example", true),
            ("a.example:*", "a.example:5000", true),
            ("a.example:*", "b.example:5000", false),
            ("[2001:db8::1]:*", "[2001:db8::1]:5000", true),
            ("index.docker.io", "docker.io", true),
        ] {
            let matches = pattern.parse::<HostPattern>().unwrap().matches(&host(at));
            assert_eq!(matches, expected, "{pattern} {at}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let decorated =
            "beside a * write the name and the port alone, without scheme, slash or port 443";
        let stars = "a label has more than one *: write one, as in a-*.acme.example";
        let dotless = "a host without a dot needs a port, or image references take it for a \
                       namespace of Docker Hub: write host:443, or its full name";
        for (input, why) in [
            ("", "it is empty: write a host such as registry.example.com"),
            ("*", dotless),
            ("registry", dotless),
            ("a*b*.example", stars),
            ("*.", dotless),
            ("*.a.example.", decorated),
            ("https://*.a.example", decorated),
            (
                "*.a.example/acme",
                "a host has no path: write the host alone, the rest belongs to the image",
            ),
            ("*.a.example:443", decorated),
            ("*.a.example:x", "the port must be a number from 1 to 65535"),
            (
                "a.example:5000:*",
                "it has a port and any port: write one of both",
            ),
            (
                "*_.example",
                "image references allow no underscore in a host: use another DNS name for it",
            ),
        ] {
            let error = input.parse::<HostPattern>().unwrap_err().to_string();
            assert_eq!(error, format!("invalid host pattern \"{input}\": {why}"));
        }
        let shown: HostPattern = "*.A.example:*".parse().unwrap();
        assert_eq!(format!("{shown:>15}"), "  *.a.example:*");
        assert_eq!(shown.as_str(), "*.a.example:*");
    }
}
