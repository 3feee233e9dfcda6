//! Encryption of stored credentials.
//!
//! A [`Sealer`] encrypts a registry's credential before it reaches a store, and decrypts it for a step
//! of a deployment. Each credential has its own key, which the sealing key wraps (envelope
//! encryption): rotating the sealing key wraps these keys again and does not decrypt the credentials.
//! The cipher is XChaCha20-Poly1305 with random nonces
//! (<https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha-03>).
//!
//! The organization, registry and host of a credential are authenticated with it: a row that was
//! copied to another organization, registry or host cannot be opened. The version is not
//! authenticated: an attacker who can write an old credential into a row can also write its version.

use std::fmt;

use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use choreo_registry::{Credential, RegistryHost};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::id::{OrganizationId, RegistryId};

const KEY: usize = 32;
const NONCE: usize = 24;

/// Seals and opens credentials.
///
/// ```
/// use choreo_deploy::sealer::{SealingContext, SealingKey, Sealer};
/// use choreo_registry::Credential;
///
/// let sealer = Sealer::new(SealingKey::new("2026-11", [7; 32])?);
/// let (organization, registry) = ("acme".parse()?, "ghcr".parse()?);
/// let host = "ghcr.io".parse()?;
/// let context = SealingContext::new(&organization, &registry, &host);
///
/// let sealed = sealer.seal(&Credential::new("ada", "correct horse")?, &context)?;
/// let opened = sealer.open(&sealed, &context)?;
/// assert_eq!(opened.username(), "ada");
///
/// let elsewhere = "registry.example.com".parse()?;
/// let moved = SealingContext::new(&organization, &registry, &elsewhere);
/// assert!(sealer.open(&sealed, &moved).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sealer {
    current: SealingKey,
    older: Vec<SealingKey>,
}

impl Sealer {
    /// Creates a sealer that seals and opens with this key.
    #[must_use]
    pub fn new(current: SealingKey) -> Self {
        Self {
            current,
            older: Vec::new(),
        }
    }

    /// Adds a key that only opens, until [`rewrap`](Self::rewrap) has replaced it everywhere.
    #[must_use]
    pub fn with_older(mut self, key: SealingKey) -> Self {
        self.older.push(key);
        self
    }

    /// Seals a credential for its context.
    ///
    /// # Errors
    ///
    /// Returns [`SealError::Cipher`] if the cipher fails, which no input of this size causes.
    pub fn seal(
        &self,
        credential: &Credential,
        context: &SealingContext<'_>,
    ) -> Result<SealedCredential, SealError> {
        let mut key = Zeroizing::new([0; KEY]);
        fill(key.as_mut())?;
        let plain = plaintext(credential);
        let ciphertext = encrypt(&key, &plain, &context.bytes(b"credential"))?;
        Ok(SealedCredential {
            key_id: self.current.id.clone(),
            wrapped_key: self.wrap(&key, context)?,
            ciphertext,
        })
    }

    /// Opens a credential in its context.
    ///
    /// # Errors
    ///
    /// Returns [`SealError::UnknownKey`] if it was sealed with an unknown key, and
    /// [`SealError::NotAuthentic`] if the credential or its context differs from what was sealed.
    pub fn open(
        &self,
        sealed: &SealedCredential,
        context: &SealingContext<'_>,
    ) -> Result<Credential, SealError> {
        let key = self.unwrap(sealed, context)?;
        let plain = decrypt(&key, &sealed.ciphertext, &context.bytes(b"credential"))?;
        credential(&plain).ok_or(SealError::NotAuthentic)
    }

    /// Wraps a credential's key with the current sealing key, without opening the credential. Returns
    /// `None` if it is already wrapped with the current key.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`open`](Self::open).
    pub fn rewrap(
        &self,
        sealed: &SealedCredential,
        context: &SealingContext<'_>,
    ) -> Result<Option<SealedCredential>, SealError> {
        if sealed.key_id == self.current.id {
            return Ok(None);
        }
        let key = self.unwrap(sealed, context)?;
        Ok(Some(SealedCredential {
            key_id: self.current.id.clone(),
            wrapped_key: self.wrap(&key, context)?,
            ciphertext: sealed.ciphertext.clone(),
        }))
    }

    fn wrap(&self, key: &[u8; KEY], context: &SealingContext<'_>) -> Result<Vec<u8>, SealError> {
        encrypt(
            &self.current.key,
            key,
            &context.bytes(self.current.id.as_bytes()),
        )
    }

    fn unwrap(
        &self,
        sealed: &SealedCredential,
        context: &SealingContext<'_>,
    ) -> Result<Zeroizing<[u8; KEY]>, SealError> {
        let wrapping = std::iter::once(&self.current)
            .chain(&self.older)
            .find(|key| key.id == sealed.key_id)
            .ok_or_else(|| SealError::UnknownKey(sealed.key_id.chars().take(64).collect()))?;
        let aad = context.bytes(wrapping.id.as_bytes());
        let plain = decrypt(&wrapping.key, &sealed.wrapped_key, &aad)?;
        let key = <[u8; KEY]>::try_from(plain.as_slice()).map_err(|_| SealError::NotAuthentic)?;
        Ok(Zeroizing::new(key))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("current", &self.current.id)
            .field(
                "older",
                &self.older.iter().map(|key| &key.id).collect::<Vec<_>>(),
            )
            .finish()
    }
}

/// A key that wraps the keys of credentials: 32 random bytes and a name.
///
/// The name is stored with each sealed credential. Give each key a new name, such as the month of its
/// creation.
pub struct SealingKey {
    id: String,
    key: Zeroizing<[u8; KEY]>,
}

impl SealingKey {
    /// Creates a key with a name of 1 to 64 visible ASCII characters.
    ///
    /// # Errors
    ///
    /// Returns [`SealError::KeyName`] if the name is not valid.
    pub fn new(id: impl Into<String>, key: [u8; KEY]) -> Result<Self, SealError> {
        let id = id.into();
        if (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self {
                id,
                key: Zeroizing::new(key),
            })
        } else {
            Err(SealError::KeyName)
        }
    }

    /// Creates a key from 64 hexadecimal digits, as in a file or an environment variable. Surrounding
    /// whitespace is ignored.
    ///
    /// # Errors
    ///
    /// Returns [`SealError::KeyName`] if the name is not valid, and [`SealError::KeyText`] if the text is
    /// not valid.
    pub fn from_hex(id: impl Into<String>, hex: &str) -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; KEY]);
        let hex = hex.trim().as_bytes();
        if hex.len() != 2 * KEY {
            return Err(SealError::KeyText);
        }
        for (byte, pair) in key.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |b: u8| char::from(b).to_digit(16);
            let (high, low) = digit(pair[0])
                .zip(digit(pair[1]))
                .ok_or(SealError::KeyText)?;
            *byte = u8::try_from(high << 4 | low).map_err(|_| SealError::KeyText)?;
        }
        Self::new(id, *key)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The context of a credential: the organization, registry and host that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct SealingContext<'a> {
    organization: &'a OrganizationId,
    registry: &'a RegistryId,
    host: &'a RegistryHost,
}

impl<'a> SealingContext<'a> {
    /// Creates the context of a registry's credential.
    #[must_use]
    pub fn new(
        organization: &'a OrganizationId,
        registry: &'a RegistryId,
        host: &'a RegistryHost,
    ) -> Self {
        Self {
            organization,
            registry,
            host,
        }
    }

    /// Returns length-prefixed parts, so that different contexts have different bytes.
    fn bytes(&self, purpose: &[u8]) -> Vec<u8> {
        let parts = [
            b"choreo credential 2".as_slice(),
            purpose,
            self.organization.as_str().as_bytes(),
            self.registry.as_str().as_bytes(),
            self.host.as_str().as_bytes(),
        ];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// An encrypted credential, which only a [`Sealer`] with its key opens.
#[derive(Clone, Serialize, Deserialize)]
pub struct SealedCredential {
    key_id: String,
    #[serde(with = "base64_text")]
    wrapped_key: Vec<u8>,
    #[serde(with = "base64_text")]
    ciphertext: Vec<u8>,
}

impl SealedCredential {
    /// Returns the name of the sealing key that wraps it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Returns `true` if both are the same sealing, with any sealing key. Sealing the same credential
    /// again gives another one.
    pub(crate) fn is_same_sealing(&self, other: &Self) -> bool {
        self.ciphertext == other.ciphertext
    }
}

impl fmt::Debug for SealedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedCredential")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// An error of sealing or opening a credential.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The cipher or the random numbers failed.
    #[error("credential cannot be sealed: the cipher failed")]
    Cipher,
    /// The name of a key is not 1 to 64 visible ASCII characters.
    #[error("sealing key's name is not valid: use 1 to 64 visible ASCII characters")]
    KeyName,
    /// The text of a key is not 64 hexadecimal digits.
    #[error("sealing key is not valid: write 32 random bytes as 64 hexadecimal digits")]
    KeyText,
    /// The credential or its context differs from what was sealed.
    #[error("sealed credential is not authentic: enter the registry's credential again")]
    NotAuthentic,
    /// The credential was sealed with an unknown key.
    #[error("sealing key {0:?} is not known: add it as an older key")]
    UnknownKey(String),
}

fn fill(bytes: &mut [u8]) -> Result<(), SealError> {
    getrandom::fill(bytes).map_err(|_| SealError::Cipher)
}

fn encrypt(key: &[u8; KEY], plain: &[u8], aad: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE];
    fill(&mut nonce)?;
    let sealed = XChaCha20Poly1305::new(&Key::from(*key))
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad })
        .map_err(|_| SealError::Cipher)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn decrypt(key: &[u8; KEY], sealed: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, sealed) = sealed
        .split_first_chunk::<NONCE>()
        .ok_or(SealError::NotAuthentic)?;
    XChaCha20Poly1305::new(&Key::from(*key))
        .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad })
        .map(Zeroizing::new)
        .map_err(|_| SealError::NotAuthentic)
}

/// Returns the length of the username, the username and the password.
fn plaintext(credential: &Credential) -> Zeroizing<Vec<u8>> {
    let (username, password) = (credential.username(), credential.expose_password());
    let mut plain = Zeroizing::new(Vec::with_capacity(8 + username.len() + password.len()));
    plain.extend_from_slice(&(username.len() as u64).to_be_bytes());
    plain.extend_from_slice(username.as_bytes());
    plain.extend_from_slice(password.as_bytes());
    plain
}

fn credential(plain: &[u8]) -> Option<Credential> {
    let (length, rest) = plain.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    let (username, password) = rest.split_at_checked(length)?;
    Credential::new(
        std::str::from_utf8(username).ok()?,
        std::str::from_utf8(password).ok()?,
    )
    .ok()
}

mod base64_text {
    use serde::{Deserializer, Serializer, de};

    use base64::Engine as _;

    use super::{Deserialize, STANDARD};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD
            .decode(text)
            .map_err(|_| de::Error::custom("sealed bytes are not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(
        organization: &str,
        registry: &str,
        host: &str,
    ) -> (OrganizationId, RegistryId, RegistryHost) {
        (
            organization.parse().unwrap(),
            registry.parse().unwrap(),
            host.parse().unwrap(),
        )
    }

    fn secret() -> Credential {
        Credential::new("ada", "correct horse battery staple").unwrap()
    }

    #[test]
    fn opens_only_at_its_place() {
        let sealer = Sealer::new(SealingKey::new("one", [1; KEY]).unwrap());
        let (o, r, h) = place("acme", "ghcr", "ghcr.io");
        let sealed = sealer
            .seal(&secret(), &SealingContext::new(&o, &r, &h))
            .unwrap();
        let opened = sealer
            .open(&sealed, &SealingContext::new(&o, &r, &h))
            .unwrap();
        assert_eq!(opened.expose_password(), "correct horse battery staple");
        for (organization, registry, host) in [
            ("other", "ghcr", "ghcr.io"),
            ("acme", "other", "ghcr.io"),
            ("acme", "ghcr", "evil.example"),
        ] {
            let (o, r, h) = place(organization, registry, host);
            let error = sealer
                .open(&sealed, &SealingContext::new(&o, &r, &h))
                .unwrap_err();
            assert_eq!(
                error,
                SealError::NotAuthentic,
                "{organization} {registry} {host}"
            );
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealer = Sealer::new(SealingKey::new("one", [1; KEY]).unwrap());
        let (o, r, h) = place("acme", "ghcr", "ghcr.io");
        let context = SealingContext::new(&o, &r, &h);
        let sealed = sealer.seal(&secret(), &context).unwrap();
        for at in 0..sealed.ciphertext.len() * 8 {
            let mut broken = sealed.clone();
            broken.ciphertext[at / 8] ^= 1 << (at % 8);
            assert!(
                sealer.open(&broken, &context).is_err(),
                "ciphertext bit {at}"
            );
        }
        for at in 0..sealed.wrapped_key.len() * 8 {
            let mut broken = sealed.clone();
            broken.wrapped_key[at / 8] ^= 1 << (at % 8);
            assert!(sealer.open(&broken, &context).is_err(), "key bit {at}");
        }
    }

    #[test]
    fn keys_rotate_without_touching_the_credential() {
        let (o, r, h) = place("acme", "ghcr", "ghcr.io");
        let context = SealingContext::new(&o, &r, &h);
        let old = || SealingKey::new("old", [1; KEY]).unwrap();
        let new = || SealingKey::new("new", [2; KEY]).unwrap();
        let sealed = Sealer::new(old()).seal(&secret(), &context).unwrap();

        let both = Sealer::new(new()).with_older(old());
        let rewrapped = both
            .rewrap(&sealed, &context)
            .unwrap()
            .expect("it has the old key");
        assert_eq!(rewrapped.key_id(), "new");
        assert_eq!(rewrapped.ciphertext, sealed.ciphertext);
        assert!(both.rewrap(&rewrapped, &context).unwrap().is_none());

        let alone = Sealer::new(new());
        assert_eq!(alone.open(&rewrapped, &context).unwrap().username(), "ada");
        assert_eq!(
            alone.open(&sealed, &context).unwrap_err().to_string(),
            "sealing key \"old\" is not known: add it as an older key"
        );
    }

    #[test]
    fn stored_form_reads_back_and_shows_nothing() {
        let sealer = Sealer::new(SealingKey::new("one", [1; KEY]).unwrap());
        let (o, r, h) = place("acme", "ghcr", "ghcr.io");
        let context = SealingContext::new(&o, &r, &h);
        let sealed = sealer.seal(&secret(), &context).unwrap();
        let json = serde_json::to_string(&sealed).unwrap();
        let read: SealedCredential = serde_json::from_str(&json).unwrap();
        assert_eq!(sealer.open(&read, &context).unwrap().username(), "ada");
        for shown in [json, format!("{sealed:?}"), format!("{sealer:?}")] {
            assert!(
                !shown.contains("correct") && !shown.contains("ada"),
                "{shown}"
            );
        }
    }

    #[test]
    fn keys_are_read_from_hex() {
        assert!(SealingKey::from_hex("k", &format!("{}\n", "0a".repeat(32))).is_ok());
        for bad in ["", "0a", &"0g".repeat(32), &"0a".repeat(33)] {
            assert_eq!(
                SealingKey::from_hex("k", bad).unwrap_err(),
                SealError::KeyText
            );
        }
        assert_eq!(
            SealingKey::new("", [0; KEY]).unwrap_err(),
            SealError::KeyName
        );
    }
}
