//! Content digests: names of content that are computed from its bytes.
//!
//! The grammar is that of the [OCI image
//! specification](https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests),
//! limited to the registered algorithms that kubelets verify: `sha256`, `sha384` and `sha512`, in
//! lower case and with the exact length.

mod borrowed;
mod error;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

pub use self::borrowed::DigestRef;
pub use self::error::ParseDigestError;
pub(crate) use self::error::Rule;
use crate::string_value::string_value;

/// The digest of some content, such as `sha256:` and 64 hexadecimal digits.
///
/// The text is stored inline: a digest is `Copy` and does not allocate.
///
/// ```
/// use choreo_registry::{Digest, digest::Algorithm};
///
/// let digest = Digest::sha256_of(b"hello");
/// assert_eq!(digest.algorithm(), Algorithm::Sha256);
/// assert_eq!(
///     digest.as_str(),
///     "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
/// );
/// assert!(digest.matches(b"hello"));
/// assert!(!digest.matches(b"hello!"));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest {
    /// `algorithm:hex`, followed by zeros.
    text: [u8; MAX_LEN],
    algorithm: Algorithm,
}

impl Digest {
    /// Hashes `content` with SHA-256, the algorithm that every registry supports.
    #[must_use]
    pub fn sha256_of(content: &[u8]) -> Self {
        Self::new(Algorithm::Sha256, &Sha256::digest(content))
    }

    /// Returns `true` if `content` has this digest, by this digest's own algorithm.
    #[must_use]
    pub fn matches(&self, content: &[u8]) -> bool {
        *self
            == match self.algorithm {
                Algorithm::Sha256 => Self::new(self.algorithm, &Sha256::digest(content)),
                Algorithm::Sha384 => Self::new(self.algorithm, &Sha384::digest(content)),
                Algorithm::Sha512 => Self::new(self.algorithm, &Sha512::digest(content)),
            }
    }

    /// Returns the algorithm before the colon.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hexadecimal digits after the colon, in lower case.
    ///
    /// ```
    /// # use choreo_registry::Digest;
    /// assert!(Digest::sha256_of(b"hello").hex().starts_with("2cf24dba5f"));
    /// ```
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.as_str()[self.algorithm.as_str().len() + 1..]
    }

    /// Returns the whole digest, `algorithm:hex`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.algorithm.as_str().len() + 1 + self.algorithm.hex_len();
        std::str::from_utf8(&self.text[..len]).expect("a digest is ASCII")
    }

    /// Borrows this digest, to compare it with the result of
    /// [`ImageReference::digest`](crate::ImageReference::digest).
    ///
    /// ```
    /// use choreo_registry::{Digest, ImageReference};
    ///
    /// let digest = Digest::sha256_of(b"the manifest");
    /// let image = "nginx".parse::<ImageReference>()?.with_digest(digest);
    /// assert_eq!(image.digest(), Some(digest.as_borrowed()));
    /// # Ok::<(), choreo_registry::reference::ParseReferenceError>(())
    /// ```
    #[must_use]
    pub fn as_borrowed(&self) -> DigestRef<'_> {
        DigestRef::checked(self.as_str(), self.algorithm)
    }

    fn copied(checked: &str, algorithm: Algorithm) -> Self {
        let mut text = [0; MAX_LEN];
        text[..checked.len()].copy_from_slice(checked.as_bytes());
        Self { text, algorithm }
    }

    fn new(algorithm: Algorithm, hash: &[u8]) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let name = algorithm.as_str().as_bytes();
        let mut text = [0; MAX_LEN];
        text[..name.len()].copy_from_slice(name);
        text[name.len()] = b':';
        for (pair, byte) in text[name.len() + 1..].chunks_exact_mut(2).zip(hash) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 0xf)];
        }
        Self { text, algorithm }
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        DigestRef::parse(input).map(DigestRef::to_owned)
    }
}

string_value!(Digest, ParseDigestError, "a digest such as \"sha256:…\"");

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Digest").field(&self.as_str()).finish()
    }
}

/// A registered digest algorithm.
///
/// ```
/// use choreo_registry::{Digest, digest::Algorithm};
///
/// assert_eq!(Digest::sha256_of(b"").algorithm(), Algorithm::Sha256);
/// assert_eq!(Algorithm::Sha512.as_str(), "sha512");
/// assert_eq!(Algorithm::Sha512.hex_len(), 128);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256, 64 hexadecimal digits.
    Sha256,
    /// SHA-384, 96 hexadecimal digits.
    Sha384,
    /// SHA-512, 128 hexadecimal digits.
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Returns the name as it is written in a digest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the number of hexadecimal digits in a digest of this algorithm.
    #[must_use]
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Returns the algorithm of a valid digest, or the rule that the string breaks.
pub(crate) fn check(input: &str) -> Result<Algorithm, Rule> {
    accept(input.as_bytes()).ok_or_else(|| broken_rule(input))
}

/// Returns the algorithm of a valid digest.
pub(crate) fn accept(text: &[u8]) -> Option<Algorithm> {
    let (algorithm, hex) = match text {
        [b's', b'h', b'a', b'2', b'5', b'6', b':', hex @ ..] => (Algorithm::Sha256, hex),
        [b's', b'h', b'a', b'3', b'8', b'4', b':', hex @ ..] => (Algorithm::Sha384, hex),
        [b's', b'h', b'a', b'5', b'1', b'2', b':', hex @ ..] => (Algorithm::Sha512, hex),
        _ => return None,
    };
    (hex.len() == algorithm.hex_len() && is_hex(hex)).then_some(algorithm)
}

/// Returns `true` if all bytes are hexadecimal digits in lower case.
///
/// It does not return early, so that the compiler can check many bytes at once.
pub(crate) fn is_hex(bytes: &[u8]) -> bool {
    let is_digit = |b: u8| (b.wrapping_sub(b'0') < 10) | (b.wrapping_sub(b'a') < 6);
    bytes.iter().fold(true, |all, &b| all & is_digit(b))
}

#[cold]
fn broken_rule(input: &str) -> Rule {
    let Some((name, hex)) = input.split_once(':') else {
        return Rule::NoAlgorithm;
    };
    let Some(algorithm) = Algorithm::ALL.into_iter().find(|a| a.as_str() == name) else {
        return Rule::Algorithm;
    };
    match hex.bytes().position(|b| !is_hex(&[b])) {
        Some(at) => Rule::Character {
            at: name.len() + 1 + at,
        },
        None => Rule::Length {
            algorithm,
            found: hex.len(),
        },
    }
}

/// The length of the longest digest: `sha512:` and its digits.
const MAX_LEN: usize = "sha512:".len() + 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_matches_its_own_content() {
        let empty = [
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da\
             274edebfe76f65fbd51ad2f14898b95b",
            "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ];
        for text in empty {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert!(digest.matches(b""), "{text}");
            assert!(!digest.matches(b"x"), "{text}");
        }
    }

    #[test]
    fn a_digest_takes_no_more_than_the_longest() {
        assert_eq!(MAX_LEN, format!("sha512:{}", "0".repeat(128)).len());
    }

    #[test]
    fn owned_and_borrowed_show_the_same() {
        let digest = Digest::sha256_of(b"hello");
        let hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let text = format!("sha256:{hex}");
        let borrowed = DigestRef::try_from(&*text).unwrap();
        assert_eq!((digest.hex(), borrowed.hex()), (hex, hex));
        assert_eq!(digest.algorithm(), Algorithm::Sha256);
        assert_eq!(borrowed.algorithm(), Algorithm::Sha256);
        assert_eq!(borrowed.as_ref(), text);
        assert_eq!(format!("{borrowed} {digest}"), format!("{text} {text}"));
        assert_eq!(format!("{borrowed:?}"), format!("DigestRef({text:?})"));
        assert_eq!(format!("{digest:?}"), format!("Digest({text:?})"));
        assert!(borrowed == digest && borrowed != Digest::sha256_of(b""));
        assert_eq!(digest.as_borrowed(), borrowed);
        assert_eq!(borrowed.to_owned(), digest);
        assert_eq!(format!("{:>8}", Algorithm::Sha512), "  sha512");
    }

    /// Tries each byte in each position: only the digits are accepted.
    #[test]
    fn only_the_digits_in_lower_case_are_accepted() {
        for byte in 0..=0x7f_u8 {
            for at in [7, 8, 40, 70] {
                let mut text = Digest::sha256_of(b"").to_string().into_bytes();
                text[at] = byte;
                let is_digit = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                let text = String::from_utf8(text).unwrap();
                let found = text.parse::<Digest>().is_ok();
                assert_eq!(found, is_digit, "{text:?}");
            }
        }
        for text in [
            "sha256:", "sha384:", "sha512:", "sha255:", "sha256-", "Sha256:",
        ] {
            for len in [0, 63, 64, 65, 96, 128, 129] {
                let is_digest = matches!(
                    (text, len),
                    ("sha256:", 64) | ("sha384:", 96) | ("sha512:", 128)
                );
                let text = format!("{text}{}", "0".repeat(len));
                assert_eq!(text.parse::<Digest>().is_ok(), is_digest, "{text}");
            }
        }
    }

    #[test]
    fn errors_name_the_rule() {
        let upper = format!("sha256:{}", "A".repeat(64));
        for (input, message) in [
            (
                "abc",
                "invalid digest \"abc\": no algorithm: a digest looks like sha256:…",
            ),
            (
                "sha256:abc",
                "invalid digest \"sha256:abc\": sha256 has 64 hexadecimal digits, found 3",
            ),
            (
                "SHA256:abc",
                "invalid digest \"SHA256:abc\": unsupported algorithm: use sha256, sha384 or sha512",
            ),
            (
                upper.as_str(),
                "invalid digest \"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA…\": \
                 byte 7 is not one of 0-9 and a-f: digests are in lower case",
            ),
        ] {
            assert_eq!(input.parse::<Digest>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn serde_goes_through_the_parser() {
        let digest = Digest::sha256_of(b"x");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:abc\"").is_err());
    }
}
