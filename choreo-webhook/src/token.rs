//! Deploy tokens: their format, how to mint and how to verify them.
//!
//! A token consists of `chd_`, a public id, `_`, a secret and a checksum, for example
//! `chd_k2mz7qv4xw5a_0123456789ABCDEFGHIJKLMNOPQRSTUV2Kd9Lp`:
//!
//! | part | characters | purpose |
//! |---|---|---|
//! | prefix | `chd_` | secret scanners and people recognise it |
//! | public id | 12 of `a`-`z`, `2`-`7` | identifies the record; not a secret, may be logged |
//! | secret | 32 of `0`-`9`, `A`-`Z`, `a`-`z` | 190 random bits |
//! | checksum | 6 of the same | CRC-32 of everything before it, so that a typing error needs no look-up |
//!
//! A token contains only letters, digits and `_`. So it needs no quoting in any shell, URL or CI
//! system, a double click selects all of it, and every CI system can mask it in its logs.
//!
//! The store contains the SHA-256 of the secret. A slow password hash protects secrets that can be
//! guessed. 190 random bits cannot be guessed, and a slow hash would let anyone exhaust a server's
//! processor with wrong tokens.

mod base62;
mod lifetime;

use std::fmt;
use std::str::FromStr;

use choreo_deploy::id::{ComponentKey, TokenId};
use choreo_deploy::token::{TokenDigest, TokenRecord};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub use self::lifetime::{Lifetime, LifetimeError};

/// A deploy token, which lets CI deploy images to one component until it expires or is revoked.
///
/// It is a secret: not `Clone`, not `Serialize`, not comparable, redacted in `Debug` and zeroized on
/// drop. Only [`expose`](Self::expose) returns its text; show it once, after minting.
///
/// ```
/// use choreo_deploy::id::ComponentKey;
/// use choreo_webhook::DeployToken;
/// use choreo_webhook::token::Lifetime;
/// use jiff::Timestamp;
///
/// let now: Timestamp = "2026-01-01T00:00:00Z".parse()?;
/// let orders = ComponentKey::new("acme".parse()?, "orders".parse()?);
/// let (token, record) = DeployToken::mint(orders, Lifetime::DEFAULT, now);
/// println!("copy this token, it is not shown again: {}", token.expose());
///
/// // CI sends the text; the record comes from the store.
/// let sent: DeployToken = token.expose().parse()?;
/// assert!(sent.verify(&record, now));
/// assert!(!sent.verify(&record, record.expires_at));
/// assert!(!format!("{token:?}").contains(token.expose()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeployToken {
    id: TokenId,
    text: Zeroizing<String>,
}

impl DeployToken {
    /// Creates a token of a component, and its record for the store.
    ///
    /// # Panics
    ///
    /// Panics if the operating system does not provide random numbers.
    ///
    /// ```
    /// use choreo_deploy::id::ComponentKey;
    /// use choreo_webhook::DeployToken;
    /// use choreo_webhook::token::Lifetime;
    ///
    /// let now = jiff::Timestamp::now();
    /// let orders = ComponentKey::new("acme".parse()?, "orders".parse()?);
    /// let (token, record) = DeployToken::mint(orders, Lifetime::from_days(30)?, now);
    /// assert_eq!(token.id(), &record.id);
    /// assert_eq!(record.expires_at, now + jiff::SignedDuration::from_hours(30 * 24));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn mint(
        component: ComponentKey,
        lifetime: Lifetime,
        now: Timestamp,
    ) -> (Self, TokenRecord) {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str(PREFIX);
        push_random(&mut text, ID_LETTERS, ID_LENGTH);
        let id = text[PREFIX.len()..]
            .parse()
            .expect("letters and digits make an id");
        text.push('_');
        push_random(&mut text, base62::DIGITS, SECRET_LENGTH);
        let checksum = base62::checksum(&text);
        text.push_str(&checksum);

        let token = Self { id, text };
        let validity = (now, lifetime.end(now));
        let record = TokenRecord::new(token.id.clone(), component, token.digest(), validity);
        (token, record)
    }

    /// Returns the public id, which is not a secret.
    ///
    /// ```
    /// use choreo_deploy::id::ComponentKey;
    /// use choreo_webhook::DeployToken;
    /// use choreo_webhook::token::Lifetime;
    ///
    /// let orders = ComponentKey::new("acme".parse()?, "orders".parse()?);
    /// let (token, record) = DeployToken::mint(orders, Lifetime::DEFAULT, jiff::Timestamp::now());
    /// assert!(token.expose().starts_with(&format!("chd_{}_", token.id())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// Returns the whole token in clear text. Show it once, to the user who created it.
    ///
    /// ```
    /// use choreo_deploy::id::ComponentKey;
    /// use choreo_webhook::DeployToken;
    /// use choreo_webhook::token::Lifetime;
    ///
    /// let orders = ComponentKey::new("acme".parse()?, "orders".parse()?);
    /// let (token, record) = DeployToken::mint(orders, Lifetime::DEFAULT, jiff::Timestamp::now());
    /// let header = format!("Authorization: Bearer {}", token.expose());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns `true` if this is the token of a record that is neither expired nor revoked.
    ///
    /// The comparison takes constant time.
    ///
    /// ```
    /// use choreo_deploy::id::ComponentKey;
    /// use choreo_webhook::DeployToken;
    /// use choreo_webhook::token::Lifetime;
    ///
    /// let now = jiff::Timestamp::now();
    /// let orders = ComponentKey::new("acme".parse()?, "orders".parse()?);
    /// let (token, mut record) = DeployToken::mint(orders, Lifetime::DEFAULT, now);
    /// assert!(token.verify(&record, now));
    /// record.revoked_at = Some(now);
    /// assert!(!token.verify(&record, now));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn verify(&self, record: &TokenRecord, now: Timestamp) -> bool {
        self.has_digest(&record.digest) & (self.id == record.id) & record.is_live(now)
    }

    pub(crate) fn has_digest(&self, digest: &TokenDigest) -> bool {
        self.digest().as_bytes().ct_eq(digest.as_bytes()).into()
    }

    fn digest(&self) -> TokenDigest {
        let secret = &self.text[SECRET_START..SECRET_START + SECRET_LENGTH];
        TokenDigest::new(Sha256::digest(secret.as_bytes()).into())
    }
}

impl FromStr for DeployToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let rest = text.strip_prefix(PREFIX).ok_or(ParseTokenError::Prefix)?;
        let (id, tail) = rest.split_once('_').ok_or(ParseTokenError::Shape)?;
        let id_fits = id.len() == ID_LENGTH && id.bytes().all(|byte| ID_LETTERS.contains(&byte));
        let tail_fits = tail.len() == SECRET_LENGTH + base62::CHECKSUM_LENGTH
            && tail.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !(id_fits && tail_fits) {
            return Err(ParseTokenError::Shape);
        }
        let (body, checksum) = text.split_at(LENGTH - base62::CHECKSUM_LENGTH);
        if base62::checksum(body) != checksum {
            return Err(ParseTokenError::Checksum);
        }
        let id = id.parse().map_err(|_| ParseTokenError::Shape)?;
        Ok(Self {
            id,
            text: Zeroizing::new(text.to_owned()),
        })
    }
}

impl fmt::Debug for DeployToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeployToken")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The error of a text that is not a deploy token. It never repeats the text.
///
/// ```
/// use choreo_webhook::DeployToken;
///
/// let error = "ghp_somethingelse".parse::<DeployToken>().unwrap_err();
/// assert_eq!(error.to_string(), "deploy token is not valid: it must begin with \"chd_\"");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTokenError {
    /// The checksum at the end does not match.
    #[error("deploy token is not valid: its checksum is wrong, copy it again")]
    Checksum,
    /// The text does not begin with `chd_`.
    #[error("deploy token is not valid: it must begin with \"chd_\"")]
    Prefix,
    /// The length or a character is wrong.
    #[error("deploy token is not valid: it must have {LENGTH} characters, copy all of it")]
    Shape,
}

/// Appends random characters, each character of the alphabet with the same probability.
fn push_random(text: &mut String, letters: &[u8], count: usize) {
    // Otherwise an alphabet whose length does not divide 256 would favour its first characters.
    let even = 256 - 256 % letters.len();
    let mut missing = count;
    while missing > 0 {
        let mut bytes = Zeroizing::new([0_u8; 64]);
        getrandom::fill(&mut *bytes).expect("the operating system provides random numbers");
        for byte in bytes
            .iter()
            .map(|byte| usize::from(*byte))
            .filter(|byte| *byte < even)
        {
            if missing > 0 {
                text.push(char::from(letters[byte % letters.len()]));
                missing -= 1;
            }
        }
    }
}

/// Returns `true` if a text contains the secret of a token, as it is or in percent escapes. The
/// checksum may be missing or wrong, because a token that is cut off still exposes its secret.
pub(crate) fn is_exposed_in(text: &str) -> bool {
    // Both, because an escape before a token may include its first letter.
    is_written_in(text) || is_written_in(&percent_decode_str(text).decode_utf8_lossy())
}

fn is_written_in(text: &str) -> bool {
    text.match_indices(PREFIX).any(|(at, _)| {
        let token = text
            .as_bytes()
            .get(at..at + LENGTH - base62::CHECKSUM_LENGTH);
        token.is_some_and(|token| {
            let (id, secret) = (
                &token[PREFIX.len()..SECRET_START - 1],
                &token[SECRET_START..],
            );
            id.iter().all(|byte| ID_LETTERS.contains(byte))
                && token[SECRET_START - 1] == b'_'
                && secret.iter().all(u8::is_ascii_alphanumeric)
        })
    })
}

pub(crate) const PREFIX: &str = "chd_";
/// Lower case, because ids are DNS labels.
const ID_LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const ID_LENGTH: usize = 12;
const SECRET_START: usize = PREFIX.len() + ID_LENGTH + 1;
const SECRET_LENGTH: usize = 32;
pub(crate) const LENGTH: usize = SECRET_START + SECRET_LENGTH + base62::CHECKSUM_LENGTH;

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    use super::*;

    fn mint() -> (DeployToken, TokenRecord) {
        let orders = ComponentKey::new("acme".parse().unwrap(), "orders".parse().unwrap());
        DeployToken::mint(orders, Lifetime::DEFAULT, now())
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_minted_token_parses_and_verifies() {
        let (token, record) = mint();
        assert_eq!(token.expose().len(), LENGTH);
        assert!(
            token
                .expose()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        );
        let sent: DeployToken = token.expose().parse().unwrap();
        assert_eq!(sent.id(), &record.id);
        assert!(sent.verify(&record, now()));
    }

    #[test]
    fn is_valid_for_ninety_days_by_default() {
        let (token, record) = mint();
        assert_eq!(record.expires_at, now() + (90 * 24).hours());
        assert!(token.verify(&record, record.expires_at - 1.second()));
        assert!(!token.verify(&record, record.expires_at));
    }

    #[test]
    fn a_revoked_token_does_not_verify() {
        let (token, mut record) = mint();
        record.revoked_at = Some(now());
        assert!(!token.verify(&record, now()));
    }

    #[test]
    fn a_token_verifies_for_its_own_record_only() {
        let ((mine, my_record), (_, mut other)) = (mint(), mint());
        assert!(!mine.verify(&other, now()));
        // Not even if the other record has its id, or its secret.
        other.id = my_record.id.clone();
        assert!(!mine.verify(&other, now()));
        let (_, mut stolen) = mint();
        stolen.digest = my_record.digest.clone();
        assert!(!mine.verify(&stolen, now()));
    }

    #[test]
    fn two_tokens_have_nothing_in_common() {
        let ((one, _), (two, _)) = (mint(), mint());
        assert_ne!(one.id(), two.id());
        assert_ne!(one.expose()[SECRET_START..], two.expose()[SECRET_START..]);
    }

    #[test]
    fn errors_do_not_repeat_the_token() {
        let (token, _) = mint();
        let text = token.expose();
        let swapped = format!("{}{}{}", &text[..17], &text[18..19], &text[17..18]) + &text[19..];
        for (bad, error) in [
            ("", ParseTokenError::Prefix),
            ("CHD_", ParseTokenError::Prefix),
            ("chd_", ParseTokenError::Shape),
            (&text[..LENGTH - 1], ParseTokenError::Shape),
            (&format!("{text}0"), ParseTokenError::Shape),
            (
                // The same number of bytes. Only one letter, because the prefix may contain it too.
                &format!("{}é{}", &text[..20], &text[22..]),
                ParseTokenError::Shape,
            ),
            (&format!("{}!", &text[..LENGTH - 1]), ParseTokenError::Shape),
        ] {
            assert_eq!(bad.parse::<DeployToken>().unwrap_err(), error, "{bad:?}");
            assert!(!error.to_string().contains(&text[20..]));
        }
        if swapped != text {
            assert_eq!(
                swapped.parse::<DeployToken>().unwrap_err(),
                ParseTokenError::Checksum
            );
        }
    }

    #[test]
    fn finds_exposed_secrets() {
        let (token, _) = mint();
        let text = token.expose();
        let cut = &text[..LENGTH - base62::CHECKSUM_LENGTH];
        for exposing in [
            text,
            cut,
            &format!("chd_é{text}"),
            &format!("chd_chd_{cut}.x"),
            &cut.replace('_', "%5F"),
            &format!("%63{}", &cut[1..]),
            &format!("%a{cut}"),
        ] {
            assert!(is_exposed_in(exposing), "{exposing}");
        }
        let wrong_id = format!("chd_0{}", &cut[5..]);
        let no_underscore = cut.replacen('_', "x", 2).replacen('x', "_", 1);
        for harmless in ["", "chd_", &cut[..cut.len() - 1], &wrong_id, &no_underscore] {
            assert!(!is_exposed_in(harmless), "{harmless}");
        }
        let symbol = format!("{}-", &cut[..cut.len() - 1]);
        assert!(!is_exposed_in(&symbol), "{symbol}");
    }

    #[test]
    fn is_redacted_in_debug() {
        let (token, record) = mint();
        let secret = &token.expose()[SECRET_START..SECRET_START + SECRET_LENGTH];
        assert_eq!(
            format!("{token:?}"),
            format!("DeployToken {{ id: {:?}, .. }}", token.id())
        );
        assert!(!format!("{record:?} {record:#?} {token:#?}").contains(secret));
        assert!(!serde_json::to_string(&record).unwrap().contains(secret));
    }

    /// An id with a character outside its alphabet, and a correct checksum.
    #[test]
    fn the_alphabet_of_ids_is_checked() {
        let body = format!("chd_0bcdefghijkl_{}", "0".repeat(SECRET_LENGTH));
        let text = format!("{body}{}", base62::checksum(&body));
        assert_eq!(
            text.parse::<DeployToken>().unwrap_err(),
            ParseTokenError::Shape
        );
        // The control: a character of the alphabet.
        let body = body.replacen('0', "a", 1);
        let text = format!("{body}{}", base62::checksum(&body));
        assert_eq!(
            text.parse::<DeployToken>().unwrap().id().as_str(),
            "abcdefghijkl"
        );
    }

    #[test]
    fn random_characters_are_drawn_evenly() {
        let mut text = String::new();
        push_random(&mut text, base62::DIGITS, 62 * 10_000);
        assert_eq!(text.len(), 62 * 10_000);
        for digit in base62::DIGITS {
            let count = text.bytes().filter(|byte| byte == digit).count();
            // Ten standard deviations around 10,000. With `byte % 62`, the first eight have 12,100.
            assert!(
                (9_000..11_000).contains(&count),
                "{} appears {count} times",
                *digit as char
            );
        }
    }

    proptest! {
        #[test]
        fn any_changed_character_is_rejected(at in 0..LENGTH, to in "[0-9A-Za-z_]") {
            let (token, _) = mint();
            let mut text = token.expose().to_owned();
            text.replace_range(at..=at, &to);
            prop_assert_eq!(text.parse::<DeployToken>().is_ok(), text == token.expose());
        }

        #[test]
        fn never_panics(text in "(chd_)?.{0,80}") {
            let _ = text.parse::<DeployToken>();
            let _ = is_exposed_in(&text);
        }
    }
}
