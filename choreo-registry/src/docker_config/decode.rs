//! One entry under `auths`, decoded.

use base64::Engine as _;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{AuthDefect, DockerConfigError, check_names, object, wrong_type};
use crate::secret_json::SecretJson;
use crate::{Credential, RegistryHost};

/// The fields of an entry that Docker or Kubernetes know.
pub(super) const ENTRY_FIELDS: [&str; 7] = [
    "auth",
    "email",
    "identitytoken",
    "password",
    "registrytoken",
    "serveraddress",
    "username",
];

/// Reads the credential of an entry; also tells whether its `auth` had to be repaired.
pub(super) fn entry(
    host: &RegistryHost,
    entry: &SecretJson,
) -> Result<(Credential, bool), DockerConfigError> {
    check_fields(host, entry)?;
    // An empty string means absent, as it does to Docker and to kubelets.
    let field = |name| {
        entry
            .get(name)
            .and_then(SecretJson::as_str)
            .filter(|text| !text.is_empty())
    };
    let host = || host.clone();
    // Without a password, a token is what the entry is about.
    let or_token = |error| match (field("identitytoken"), field("registrytoken")) {
        (Some(_), _) => DockerConfigError::IdentityToken { host: host() },
        (None, Some(_)) => DockerConfigError::RegistryToken { host: host() },
        (None, None) => error,
    };

    let (username, password) = (field("username"), field("password"));
    if let Some(auth) = field("auth") {
        let auth = decode_auth(auth)?;
        let (in_auth, password_in_auth) = auth.split()?;
        let agree = username.is_none_or(|username| username == in_auth)
            && password.is_none_or(|password| password == password_in_auth);
        if !agree {
            return Err(DockerConfigError::Mismatch { host: host() });
        }
        return match credential(in_auth, password_in_auth) {
            Err(error) if password_in_auth.is_empty() => Err(or_token(error)),
            credential => Ok((credential?, auth.repaired)),
        };
    }
    let incomplete = |missing| DockerConfigError::Incomplete {
        host: host(),
        missing,
    };
    match (username, password) {
        (Some(username), Some(password)) => Ok((credential(username, password)?, false)),
        (Some(_), None) => Err(or_token(incomplete("password"))),
        (None, Some(_)) => Err(or_token(incomplete("username"))),
        (None, None) => Err(or_token(DockerConfigError::EmptyEntry { host: host() })),
    }
}

fn check_fields(host: &RegistryHost, entry: &SecretJson) -> Result<(), DockerConfigError> {
    let place = format!("auths.\"{host}\"");
    check_names(object(entry, &place)?, &ENTRY_FIELDS, &place)?;
    for name in ENTRY_FIELDS {
        match entry.get(name) {
            None | Some(SecretJson::Null | SecretJson::String(_)) => {}
            Some(other) => return Err(wrong_type(&format!("{place}.{name}"), "a string", other)),
        }
    }
    Ok(())
}

fn credential(username: &str, password: &str) -> Result<Credential, DockerConfigError> {
    Credential::new(username, password).map_err(DockerConfigError::Credential)
}

/// The bytes of a decoded `auth`.
struct Auth {
    bytes: Zeroizing<Vec<u8>>,
    repaired: bool,
}

impl Auth {
    /// The user name and the password: the first colon divides.
    fn split(&self) -> Result<(&str, &str), DockerConfigError> {
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|_| DockerConfigError::Auth(AuthDefect::NotUtf8))?;
        text.trim_end_matches('\0')
            .split_once(':')
            .ok_or(DockerConfigError::Auth(AuthDefect::NoColon))
    }
}

/// Decodes base64 in any of the shapes in which people and tools write it.
fn decode_auth(auth: &str) -> Result<Auth, DockerConfigError> {
    let defect = DockerConfigError::Auth(AuthDefect::NotBase64);
    let mut clean = Zeroizing::new(String::with_capacity(auth.len()));
    for character in auth.chars() {
        match character {
            '\t' | '\n' | '\r' | ' ' => {}
            '-' => clean.push('+'),
            '_' => clean.push('/'),
            other => clean.push(other),
        }
    }
    let digits = clean.trim_end_matches('=');
    let is_padded = digits.len() < clean.len();
    if is_padded && !clean.len().is_multiple_of(4) {
        return Err(defect);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(auth.len()));
    LENIENT.decode_vec(digits, &mut bytes).map_err(|_| defect)?;
    let repaired = *clean != auth || bytes.ends_with(b"\0");
    Ok(Auth { bytes, repaired })
}

/// Go, in which the nodes' software is written, ignores the bits after the last byte too.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);
