//! Decodes one entry under `auths`.

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{AuthDefect, DockerConfigError, Problem, Repairs, Text, check_names, object, string};
use crate::credential::CredentialError;
use crate::secret_base64;
use crate::vendor_table::Vendor;
use crate::wiped::{Wiped, WipedText};
use crate::{Credential, RegistryHost};

/// The fields of an entry that Docker or Kubernetes know.
pub(super) const ENTRY_FIELDS: [&str; 7] = [
    "auth",
    "username",
    "password",
    "identitytoken",
    "registrytoken",
    "email",
    "serveraddress",
];

/// The values of an entry's known fields, in the order of [`ENTRY_FIELDS`].
pub(super) type Texts<'d> = [Option<Text<'d>>; 7];

/// Reads the credential of an entry and records the repairs.
pub(super) fn credential_of(
    host: &RegistryHost,
    texts: &Texts<'_>,
    repairs: &mut Repairs,
) -> Result<Credential, DockerConfigError> {
    // An empty string means absent, as it does to Docker and to kubelets.
    let [
        auth,
        username,
        password,
        identity_token,
        registry_token,
        _,
        _,
    ] = texts
        .each_ref()
        .map(|text| text.as_ref().map(Text::as_str).filter(|t| !t.is_empty()));
    let entry = Entry {
        host,
        username,
        password,
        identity_token,
        registry_token,
    };
    match auth {
        Some(auth) => entry.with_auth(auth, repairs),
        None => entry.without_auth(repairs),
    }
}

/// Returns the texts of an entry.
pub(super) fn texts<'d>(host: &RegistryHost, value: &'d RawValue) -> Result<Texts<'d>, Problem> {
    let place = || format!("auths.\"{host}\"");
    let Some(fields) = object(value, place)? else {
        return Err(Problem::wrong_type(place(), "an object", "null"));
    };
    check_names(&fields, &ENTRY_FIELDS, place)?;
    let mut texts = [const { None }; 7];
    for (text, name) in texts.iter_mut().zip(ENTRY_FIELDS) {
        *text = string(&fields, name, || format!("{}.{name}", place()))?;
    }
    Ok(texts)
}

/// The fields of an entry beside its `auth`; none of them is empty.
struct Entry<'a> {
    host: &'a RegistryHost,
    username: Option<&'a str>,
    password: Option<&'a str>,
    identity_token: Option<&'a str>,
    registry_token: Option<&'a str>,
}

impl Entry<'_> {
    fn with_auth(
        &self,
        auth: &str,
        repairs: &mut Repairs,
    ) -> Result<Credential, DockerConfigError> {
        let auth = decode_auth(auth)?;
        let (username, password) = auth.split();
        let agree = self.username.is_none_or(|name| name == username)
            && self.password.is_none_or(|word| word == password);
        if !agree {
            return Err(DockerConfigError::Mismatch {
                host: self.host.clone(),
            });
        }
        if password.is_empty() {
            let none = DockerConfigError::Credential(CredentialError::PasswordEmpty);
            return self.by_token(Some(username), none, repairs);
        }
        repairs.auth = auth.repaired;
        repairs.second_token = self.has_token();
        auth.into_credential()
    }

    fn without_auth(&self, repairs: &mut Repairs) -> Result<Credential, DockerConfigError> {
        let incomplete = |missing| DockerConfigError::Incomplete {
            host: self.host.clone(),
            missing,
        };
        match (self.username, self.password) {
            (Some(username), Some(password)) => {
                repairs.second_token = self.has_token();
                credential(username, password)
            }
            (username @ Some(_), None) => self.by_token(username, incomplete("password"), repairs),
            (None, Some(_)) => self.by_token(None, incomplete("username"), repairs),
            (None, None) => {
                let host = self.host.clone();
                self.by_token(None, DockerConfigError::EmptyEntry { host }, repairs)
            }
        }
    }

    fn has_token(&self) -> bool {
        self.identity_token.is_some() || self.registry_token.is_some()
    }

    /// Returns the error for an entry with a token but without a password; `or` is the error
    /// without a token.
    fn by_token(
        &self,
        username: Option<&str>,
        or: DockerConfigError,
        repairs: &mut Repairs,
    ) -> Result<Credential, DockerConfigError> {
        let host = self.host.clone();
        match (self.identity_token, self.registry_token) {
            (Some(token), _)
                if self.password.is_none()
                    && username.is_none_or(|name| matches!(name, "" | NULL_GUID))
                    && Vendor::of(&host).identity_token_is_password() =>
            {
                repairs.identity_token = true;
                credential(NULL_GUID, token)
            }
            (Some(_), _) => Err(DockerConfigError::IdentityToken { host }),
            (None, Some(_)) => Err(DockerConfigError::RegistryToken { host }),
            (None, None) => Err(or),
        }
    }
}

fn credential(username: &str, password: &str) -> Result<Credential, DockerConfigError> {
    Credential::new(username, password).map_err(DockerConfigError::Credential)
}

/// A decoded `auth`.
struct Auth {
    text: WipedText,
    /// The position of the first colon, which separates user name and password.
    colon: usize,
    repaired: bool,
}

impl Auth {
    fn new(bytes: Wiped, mut repaired: bool) -> Result<Self, AuthDefect> {
        let mut text = bytes.into_text().ok_or(AuthDefect::NotUtf8)?;
        let colon = text.as_str().find(':').ok_or(AuthDefect::NoColon)?;
        // Docker trims NULs, because other tools send them along.
        repaired |= text.trim_nuls(colon + 1);
        Ok(Self {
            text,
            colon,
            repaired,
        })
    }

    /// Returns the user name and the password.
    fn split(&self) -> (&str, &str) {
        let (username, password) = self.text.as_str().split_at(self.colon);
        (username, &password[1..])
    }

    fn into_credential(self) -> Result<Credential, DockerConfigError> {
        Credential::from_user_pass(self.text, self.colon).map_err(DockerConfigError::Credential)
    }
}

/// Decodes base64 in any of the variants that people and tools write.
fn decode_auth(auth: &str) -> Result<Auth, DockerConfigError> {
    // Almost every value is strict base64.
    if let Some(bytes) = secret_base64::decoded(auth) {
        return Auth::new(bytes, false).map_err(DockerConfigError::Auth);
    }
    let mut clean = Zeroizing::new(String::with_capacity(auth.len()));
    for character in auth.chars() {
        match character {
            '\t' | '\n' | '\r' | ' ' => {}
            '-' => clean.push('+'),
            '_' => clean.push('/'),
            other => clean.push(other),
        }
    }
    let bytes =
        secret_base64::decoded(&clean).ok_or(DockerConfigError::Auth(AuthDefect::NotBase64))?;
    Auth::new(bytes, true).map_err(DockerConfigError::Auth)
}

/// The user name that belongs to an ACR token.
const NULL_GUID: &str = "00000000-0000-0000-0000-000000000000";
