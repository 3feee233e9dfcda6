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
    let place = format!("auths.\"{host}\"");
    check_names(object(entry, &place)?, &ENTRY_FIELDS, &place)?;
    for name in ENTRY_FIELDS {
        match entry.get(name) {
            None | Some(SecretJson::Null | SecretJson::String(_)) => {}
            Some(other) => return Err(wrong_type(&format!("{place}.{name}"), "a string", other)),
        }
    }
    // An empty string means absent, as it does to Docker and to kubelets.
    let field = |name| {
        entry
            .get(name)
            .and_then(SecretJson::as_str)
            .filter(|text| !text.is_empty())
    };

    let decoded = field("auth").map(decode_auth).transpose()?;
    let has_token = || match (field("identitytoken"), field("registrytoken")) {
        (Some(_), _) => Some(DockerConfigError::IdentityToken { host: host.clone() }),
        (None, Some(_)) => Some(DockerConfigError::RegistryToken { host: host.clone() }),
        (None, None) => None,
    };
    match (&decoded, field("username"), field("password")) {
        (Some(auth), username, password) => {
            let (in_auth, password_in_auth) = auth.split()?;
            let agree = username.is_none_or(|username| username == in_auth)
                && password.is_none_or(|password| password == password_in_auth);
            if !agree {
                return Err(DockerConfigError::Mismatch { host: host.clone() });
            }
            if password_in_auth.is_empty()
                && let Some(error) = has_token()
            {
                return Err(error);
            }
            Ok((credential(in_auth, password_in_auth)?, auth.repaired))
        }
        (None, Some(username), Some(password)) => Ok((credential(username, password)?, false)),
        (None, None, None) => {
            Err(has_token().unwrap_or(DockerConfigError::EmptyEntry { host: host.clone() }))
        }
        (None, username, _) => Err(has_token().unwrap_or(DockerConfigError::Incomplete {
            host: host.clone(),
            missing: if username.is_none() {
                "username"
            } else {
                "password"
            },
        })),
    }
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
