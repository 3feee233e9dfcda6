//! Credentials: a user name and a password that are ready to use.
//!
//! The rules are those of HTTP Basic authentication ([RFC
//! 7617](https://www.rfc-editor.org/rfc/rfc7617#section-2)), the only form in which a kubelet
//! passes credentials on.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::secret_base64;
use crate::wiped::{Wiped, WipedText};

/// A user name and password, with an optional expiry time.
///
/// A credential is not `Clone`, `PartialEq` or `Serialize`. Its `Debug` output never contains the
/// password, even if the password was also entered as the user name. Its memory is overwritten on
/// drop.
///
/// ```
/// use choreo_registry::Credential;
///
/// let credential = Credential::new("alice", "hunter2")?;
/// assert_eq!(credential.username(), "alice");
/// assert_eq!(credential.expose_password(), "hunter2");
/// assert!(!format!("{credential:?}").contains("hunter2"));
///
/// // A token that expires after some hours, for two owners.
/// let end = "2030-01-01T12:00:00Z".parse()?;
/// let token = Credential::new("AWS", "eyJwYXlsb2Fk")?.with_expiry(end);
/// assert_eq!(token.clone_secret().expires_at(), Some(end));
/// assert_eq!(credential.expires_at(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it does not do
///
/// It does not check that a registry accepts the credential: only the registry can.
pub struct Credential {
    /// The Basic authentication form, `username ":" password`, in one buffer: requests and the
    /// `auth` field of a docker config encode exactly this.
    user_pass: WipedText,
    colon: usize,
    expires_at: Option<Timestamp>,
}

impl Credential {
    /// Creates a credential from a user name and a password.
    ///
    /// # Errors
    ///
    /// Returns an error if the user name is empty, longer than 255 bytes, or contains a colon or a
    /// control character; or if the password is empty, longer than 16 KiB, or begins or ends with a
    /// NUL, which Docker
    /// [drops](https://github.com/docker/cli/blob/master/cli/config/configfile/file.go). The error
    /// never includes the user name: people paste passwords into the wrong field.
    pub fn new(
        username: impl AsRef<str>,
        password: impl Into<String>,
    ) -> Result<Self, CredentialError> {
        let password = WipedText::new(password.into());
        let (username, password) = (username.as_ref(), password.as_str());
        check_password(password)?;
        check_username(username)?;
        // An exact capacity: a growing buffer would leave copies behind.
        let len = username.len() + ":".len() + password.len();
        let mut user_pass = WipedText::new(String::with_capacity(len));
        for part in [username, ":", password] {
            user_pass.push_str(part);
        }
        Ok(Self {
            user_pass,
            colon: username.len(),
            expires_at: None,
        })
    }

    /// Takes ownership of a decoded user name and password. The first colon separates them, and is
    /// at this position.
    pub(crate) fn from_user_pass(
        user_pass: WipedText,
        colon: usize,
    ) -> Result<Self, CredentialError> {
        let credential = Self {
            user_pass,
            colon,
            expires_at: None,
        };
        check_password(credential.expose_password())?;
        check_username(credential.username())?;
        Ok(credential)
    }

    /// Sets the time at which the credential expires.
    #[must_use]
    pub fn with_expiry(mut self, expires_at: Timestamp) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Returns the user name, as the registry expects it.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.user_pass.as_str()[..self.colon]
    }

    /// Returns the password, token or key. Do not log or store it.
    #[must_use]
    pub fn expose_password(&self) -> &str {
        &self.user_pass.as_str()[self.colon + 1..]
    }

    /// Returns `base64(username ":" password)`: the text after `Basic ` in an `Authorization`
    /// header, and the value of `auth` in a docker config. It is as secret as the password.
    ///
    /// ```
    /// use choreo_registry::Credential;
    ///
    /// let credential = Credential::new("Aladdin", "open sesame")?;
    /// assert_eq!(*credential.expose_basic(), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    /// # Ok::<(), choreo_registry::credential::CredentialError>(())
    /// ```
    #[must_use]
    pub fn expose_basic(&self) -> Zeroizing<String> {
        secret_base64::encoded(self.user_pass.as_str().as_bytes())
    }

    /// Appends what [`expose_basic`](Self::expose_basic) returns.
    pub(crate) fn push_basic(&self, out: &mut Vec<u8>) {
        secret_base64::push_encoded(out, self.user_pass.as_str().as_bytes());
    }

    /// The length of what [`expose_basic`](Self::expose_basic) returns.
    pub(crate) fn basic_len(&self) -> usize {
        secret_base64::encoded_len(self.user_pass.as_str().len())
    }

    /// Decodes a credential that [`expose_basic`](Self::expose_basic) returned.
    pub(crate) fn from_basic(encoded: &str) -> Option<Self> {
        let user_pass = secret_base64::decoded(encoded)?.into_text()?;
        let colon = user_pass.as_str().find(':')?;
        Self::from_user_pass(user_pass, colon).ok()
    }

    /// Returns the time at which the credential expires; `None` if it is not known.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Returns `true` if the user name contains the password or 8 bytes of it, as it is or in
    /// base64: some registries accept the token in both fields.
    pub(crate) fn username_tells_password(&self) -> bool {
        let (username, password) = (self.username(), self.expose_password());
        let decoded = secret_base64::decoded(username.trim_end_matches('='));
        let decoded = decoded.as_ref().map_or(&b""[..], Wiped::as_bytes);
        [username.as_bytes(), decoded]
            .into_iter()
            .any(|text| tells(text, password.as_bytes()))
    }

    /// Copies the secret, for a second owner.
    #[must_use]
    pub fn clone_secret(&self) -> Self {
        Self {
            user_pass: self.user_pass.clone_secret(),
            colon: self.colon,
            expires_at: self.expires_at,
        }
    }
}

/// Returns `true` if a text contains a password or 8 bytes of it.
fn tells(text: &[u8], password: &[u8]) -> bool {
    if password.len() < 8 {
        return text.windows(password.len()).any(|part| part == password);
    }
    // Passwords may be thousands of bytes long. Any eight bytes in a row contain the four that
    // begin at a multiple of five, so only those are compared, as numbers, until one is found in
    // both.
    let quad = |bytes: &[u8]| bytes.iter().fold(0, shifted);
    let quads: Vec<u32> = text.windows(4).map(quad).collect();
    let common = |at: usize| {
        let near = &password[at.saturating_sub(4)..(at + 8).min(password.len())];
        near.windows(8)
            .any(|part| text.windows(8).any(|other| part == other))
    };
    text.len() >= 8
        && (0..password.len() - 3)
            .step_by(5)
            .any(|at| quads.contains(&quad(&password[at..at + 4])) && common(at))
}

/// Appends `byte` to the last four bytes and drops the first of them.
fn shifted(bytes: u32, byte: &u8) -> u32 {
    bytes << 8 | u32::from(*byte)
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let username = if self.username_tells_password() {
            "[redacted]"
        } else {
            self.username()
        };
        f.debug_struct("Credential")
            .field("username", &username)
            .field("password", &format_args!("[redacted]"))
            .field("expires_at", &self.expires_at.map(|at| at.to_string()))
            .finish()
    }
}

/// A password, token or key: never shown, never serialised, overwritten on drop.
///
/// ```
/// use choreo_registry::credential::Password;
///
/// let password: Password = "hunter2".parse()?;
/// assert_eq!(format!("{password:?}"), "[redacted]");
/// assert_eq!(password.expose(), "hunter2");
/// assert_eq!(password.clone_secret().expose(), "hunter2");
/// assert!(Password::new("").is_err());
/// # Ok::<(), choreo_registry::credential::CredentialError>(())
/// ```
pub struct Password(WipedText);

impl Password {
    /// Takes ownership of a password; nothing is trimmed.
    ///
    /// # Errors
    ///
    /// Returns an error if it is empty, longer than 16 KiB, or begins or ends with a NUL.
    pub fn new(password: impl Into<String>) -> Result<Self, CredentialError> {
        let password = WipedText::new(password.into());
        check_password(password.as_str())?;
        Ok(Self(password))
    }

    /// Returns the characters. Do not log or store them.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// Copies the secret, for a second owner.
    #[must_use]
    pub fn clone_secret(&self) -> Self {
        Self(self.0.clone_secret())
    }
}

impl FromStr for Password {
    type Err = CredentialError;

    fn from_str(password: &str) -> Result<Self, Self::Err> {
        Self::new(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn check_username(username: &str) -> Result<(), CredentialError> {
    if username.is_empty() {
        return Err(CredentialError::UsernameEmpty);
    }
    if username.len() > USERNAME_MAX {
        return Err(CredentialError::UsernameTooLong);
    }
    if username.contains(':') {
        return Err(CredentialError::UsernameColon);
    }
    if username.chars().any(char::is_control) {
        return Err(CredentialError::UsernameControlCharacter);
    }
    Ok(())
}

fn check_password(password: &str) -> Result<(), CredentialError> {
    if password.is_empty() {
        return Err(CredentialError::PasswordEmpty);
    }
    if password.len() > PASSWORD_MAX {
        return Err(CredentialError::PasswordTooLong);
    }
    if password.starts_with('\0') || password.ends_with('\0') {
        return Err(CredentialError::PasswordNul);
    }
    Ok(())
}

/// Why a user name and a password are not a valid [`Credential`].
///
/// ```
/// use choreo_registry::Credential;
///
/// assert_eq!(
///     Credential::new("a:b", "hunter2").unwrap_err().to_string(),
///     "user name contains a colon: Basic authentication cannot carry it, check that the password \
///      is in its own field",
/// );
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CredentialError {
    /// The password is empty.
    PasswordEmpty,
    /// The password begins or ends with a NUL, which some tools drop and others keep.
    PasswordNul,
    /// The password is longer than 16 KiB.
    PasswordTooLong,
    /// The user name contains a colon, which would end it.
    UsernameColon,
    /// The user name contains a control character.
    UsernameControlCharacter,
    /// The user name is empty.
    UsernameEmpty,
    /// The user name is longer than 255 bytes.
    UsernameTooLong,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PasswordEmpty => {
                "password is empty: enter the password or token, or choose public access"
            }
            Self::PasswordNul => {
                "password begins or ends with a NUL character: enter it without, for tools \
                 disagree on it"
            }
            Self::PasswordTooLong => "password is longer than 16 KiB: check what was pasted",
            Self::UsernameColon => {
                "user name contains a colon: Basic authentication cannot carry it, check that the \
                 password is in its own field"
            }
            Self::UsernameControlCharacter => {
                "user name contains a line break or another control character: remove it"
            }
            Self::UsernameEmpty => {
                "user name is empty: enter the name that goes with the password or token"
            }
            Self::UsernameTooLong => "user name is longer than 255 bytes: check what was pasted",
        })
    }
}

impl std::error::Error for CredentialError {}

const USERNAME_MAX: usize = 255;
const PASSWORD_MAX: usize = 16 * 1024;
