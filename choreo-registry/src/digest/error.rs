//! Why a digest is not valid, and what to write instead.

use std::fmt;

use super::Algorithm;
use crate::quote::Quoted;

/// Why a string is not a valid [`Digest`](crate::Digest).
///
/// ```
/// use choreo_registry::Digest;
///
/// assert_eq!(
///     "md5:d41d8cd98f00b204e9800998ecf8427e".parse::<Digest>().unwrap_err().to_string(),
///     "invalid digest \"md5:d41d8cd98f00b204e9800998ecf8427e\": unsupported algorithm: \
///      use sha256, sha384 or sha512",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseDigestError {
    input: String,
    rule: Rule,
}

impl ParseDigestError {
    #[cold]
    pub(super) fn new(input: &str, rule: Rule) -> Self {
        let input = input.to_owned();
        Self { input, rule }
    }
}

impl fmt::Display for ParseDigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid digest {}: {}",
            Quoted::new(&self.input),
            self.rule
        )
    }
}

impl std::error::Error for ParseDigestError {}

/// The rule that a digest breaks, and what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    Algorithm,
    Character { at: usize },
    Length { algorithm: Algorithm, found: usize },
    NoAlgorithm,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm => f.write_str("unsupported algorithm: use sha256, sha384 or sha512"),
            Self::Character { at } => {
                write!(
                    f,
                    "byte {at} is not one of 0-9 and a-f: digests are in lower case"
                )
            }
            Self::Length { algorithm, found } => {
                let expected = algorithm.hex_len();
                write!(
                    f,
                    "{algorithm} has {expected} hexadecimal digits, found {found}"
                )
            }
            Self::NoAlgorithm => f.write_str("no algorithm: a digest looks like sha256:…"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_macros::assert_texts;

    #[test]
    fn each_rule_has_its_text() {
        assert_texts! { Rule:
            Rule::Algorithm = Rule::Algorithm =>
                "unsupported algorithm: use sha256, sha384 or sha512";
            Rule::Character { .. } = Rule::Character { at: 9 } =>
                "byte 9 is not one of 0-9 and a-f: digests are in lower case";
            Rule::Length { .. } = Rule::Length { algorithm: Algorithm::Sha512, found: 64 } =>
                "sha512 has 128 hexadecimal digits, found 64";
            Rule::NoAlgorithm = Rule::NoAlgorithm =>
                "no algorithm: a digest looks like sha256:…";
        }
        assert_eq!(
            ParseDigestError::new("x", Rule::NoAlgorithm).to_string(),
            "invalid digest \"x\": no algorithm: a digest looks like sha256:…",
        );
    }
}
