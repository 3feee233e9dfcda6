//! Why a docker config is rejected, and what to do instead.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::RegistryHost;
use crate::credential::CredentialError;
use crate::host::ParseHostError;

/// Why a document is not a usable docker config.
///
/// The messages contain hosts, field names and positions, and nothing else of the document: any
/// value in it may be a secret.
///
/// ```
/// use choreo_registry::docker_config::{DockerConfig, DockerConfigError};
///
/// let error = r#"{"auths": {"ghcr.io": {}}, "credsStore": "desktop"}"#
///     .parse::<DockerConfig>()
///     .unwrap_err();
/// assert_eq!(error, DockerConfigError::CredsStore);
/// assert_eq!(
///     error.to_string(),
///     "docker config names a credential store (\"credsStore\"), so the password is not in it: \
///      log in with an empty configuration (docker --config DIRECTORY login HOST) where no store \
///      is set, or enter user name and password",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DockerConfigError {
    /// `auth` cannot be decoded.
    Auth(AuthDefect),
    /// The document is a docker config in base64.
    Base64,
    /// The user name or the password is not valid.
    Credential(CredentialError),
    /// `credHelpers` is set, for these hosts and possibly others.
    CredHelpers(Vec<RegistryHost>),
    /// `credsStore` is set.
    CredsStore,
    /// The document contains a field twice in the same object.
    #[non_exhaustive]
    Duplicate {
        /// The field's name in quotes, if it is a known field or a host.
        field: String,
        /// The object that contains it.
        place: String,
    },
    /// The document is empty.
    Empty,
    /// The entry is empty.
    #[non_exhaustive]
    EmptyEntry {
        /// The entry's host.
        host: RegistryHost,
    },
    /// A known field is written in another case.
    #[non_exhaustive]
    FieldCase {
        /// The correct spelling of the field.
        field: String,
    },
    /// The entry's key is not a registry host.
    Host(ParseHostError),
    /// The entry contains an identity token instead of a password.
    #[non_exhaustive]
    IdentityToken {
        /// The entry's host.
        host: RegistryHost,
    },
    /// The entry contains a user name without a password, or the reverse.
    #[non_exhaustive]
    Incomplete {
        /// The entry's host.
        host: RegistryHost,
        /// The name of the missing field.
        missing: &'static str,
    },
    /// The document is a Secret or another Kubernetes manifest.
    KubernetesManifest,
    /// `auth` disagrees with `username` or `password`.
    #[non_exhaustive]
    Mismatch {
        /// The entry's host.
        host: RegistryHost,
    },
    /// There is no entry under `auths`.
    NoEntry,
    /// There is no entry for the requested host.
    #[non_exhaustive]
    NoEntryFor {
        /// The host.
        host: RegistryHost,
        /// The hosts of the other entries; keys that are not hosts are left out.
        others: Vec<RegistryHost>,
    },
    /// The document stops being JSON at this position; both numbers count from 1.
    #[non_exhaustive]
    NotJson {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
    },
    /// The entry contains a registry token instead of a password.
    #[non_exhaustive]
    RegistryToken {
        /// The entry's host.
        host: RegistryHost,
    },
    /// There are several entries under `auths`, for these hosts and possibly others.
    SeveralEntries(Vec<RegistryHost>),
    /// There are several entries for the requested host, under different spellings.
    #[non_exhaustive]
    SeveralSpellings {
        /// The host.
        host: RegistryHost,
    },
    /// The document is larger than 1 MiB.
    TooLarge,
    /// A known field has a value of the wrong type.
    #[non_exhaustive]
    WrongType {
        /// The field.
        path: String,
        /// The expected type.
        expected: &'static str,
        /// The actual type.
        found: &'static str,
    },
}

/// Why the value of `auth` is not valid.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AuthDefect {
    /// The decoded text does not contain a colon between user name and password.
    NoColon,
    /// It is not base64.
    NotBase64,
    /// The decoded bytes are not UTF-8.
    NotUtf8,
}

impl fmt::Display for DockerConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("docker config ")?;
        match self {
            Self::Auth(defect) => write!(f, "has an \"auth\" that {defect}"),
            Self::Base64 => f.write_str("is encoded in base64: paste what base64 -d makes of it"),
            Self::Credential(error) => write!(f, "cannot be used: {error}"),
            Self::CredHelpers(hosts) => {
                f.write_str("names credential helpers (\"credHelpers\")")?;
                list(f, hosts)?;
                f.write_str(
                    ": nodes cannot run them, remove \"credHelpers\" and give the one registry's \
                     credential under \"auths\"",
                )
            }
            Self::CredsStore => f.write_str(
                "names a credential store (\"credsStore\"), so the password is not in it: log in \
                 with an empty configuration (docker --config DIRECTORY login HOST) where no \
                 store is set, or enter user name and password",
            ),
            Self::Duplicate { field, place } => {
                write!(
                    f,
                    "has {field} twice in {place}: tools disagree on which counts, keep one"
                )
            }
            Self::EmptyEntry { host }
            | Self::IdentityToken { host }
            | Self::Incomplete { host, .. }
            | Self::Mismatch { host }
            | Self::RegistryToken { host } => self.fmt_entry(host, f),
            Self::Empty => f.write_str("is empty: paste the contents of config.json"),
            Self::FieldCase { field } => {
                write!(f, "has a field in the wrong case: write \"{field}\"")
            }
            Self::Host(error) => write!(f, "has a key under \"auths\" that names no host: {error}"),
            Self::KubernetesManifest => f.write_str(
                "is a Kubernetes manifest: paste its \".dockerconfigjson\", decoded with \
                 base64 -d",
            ),
            Self::NoEntry => {
                f.write_str("has no entry under \"auths\": log in first, or choose public access")
            }
            Self::NoEntryFor { host, others } => {
                write!(f, "has no entry for \"{host}\" under \"auths\"")?;
                if !others.is_empty() {
                    f.write_str(", only for others")?;
                    list(f, others)?;
                }
                f.write_str(": log in to that registry first, or choose another entry")
            }
            Self::NotJson { line, column } => {
                write!(
                    f,
                    "is not JSON: see line {line}, column {column}; paste the whole file, from \"{{\" to \"}}\""
                )
            }
            Self::SeveralEntries(hosts) => {
                f.write_str("has several entries under \"auths\"")?;
                list(f, hosts)?;
                f.write_str(": choose one, or keep only the one of this registry")
            }
            Self::SeveralSpellings { host } => write!(
                f,
                "has several entries for \"{host}\" under \"auths\", in different spellings: \
                 keep one"
            ),
            Self::TooLarge => f.write_str("is larger than 1 MiB: check what was pasted"),
            Self::WrongType {
                path,
                expected,
                found,
            } => {
                write!(
                    f,
                    "has the wrong type in {path}: expected {expected}, found {found}"
                )
            }
        }
    }
}

impl DockerConfigError {
    /// Returns the hosts to pass to [`DockerConfig::for_host`](super::DockerConfig::for_host), if
    /// the document contains more than one entry or none for the requested host. Empty for every
    /// other error.
    ///
    /// ```
    /// use choreo_registry::docker_config::DockerConfig;
    ///
    /// let several = r#"{"auths": {"ghcr.io": {}, "quay.io": {}}}"#;
    /// let error = several.parse::<DockerConfig>().unwrap_err();
    /// assert_eq!(error.hosts(), ["ghcr.io".parse()?, "quay.io".parse()?]);
    /// assert_eq!(
    ///     error.to_string(),
    ///     "docker config has several entries under \"auths\" (ghcr.io, quay.io): choose one, or \
    ///      keep only the one of this registry",
    /// );
    /// # Ok::<(), choreo_registry::host::ParseHostError>(())
    /// ```
    #[must_use]
    pub fn hosts(&self) -> &[RegistryHost] {
        match self {
            Self::NoEntryFor { others: hosts, .. } | Self::SeveralEntries(hosts) => hosts,
            _ => &[],
        }
    }

    /// Writes what is wrong with the entry of `host`.
    fn fmt_entry(&self, host: &RegistryHost, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = |f: &mut fmt::Formatter<'_>, kind| {
            write!(
                f,
                "has only {kind} token for \"{host}\", which nodes do not understand: enter user \
                 name and password instead"
            )
        };
        match self {
            Self::IdentityToken { .. } => token(f, "an identity"),
            Self::RegistryToken { .. } => token(f, "a registry"),
            Self::Incomplete { missing, .. } => {
                write!(
                    f,
                    "has no \"{missing}\" for \"{host}\": add it, or \"auth\""
                )
            }
            Self::Mismatch { .. } => write!(
                f,
                "has an \"auth\" for \"{host}\" that disagrees with \"username\" and \
                 \"password\": remove the outdated one"
            ),
            _ => write!(
                f,
                "has an empty entry for \"{host}\": the password is in a credential store of the \
                 machine it comes from, enter user name and password instead"
            ),
        }
    }
}

impl std::error::Error for DockerConfigError {}

impl fmt::Display for AuthDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoColon => {
                "contains no colon: encode user name, colon and password together, \
                 printf '%s:%s' USER PASSWORD | base64"
            }
            Self::NotBase64 => {
                "is not base64: paste it anew, or give \"username\" and \"password\""
            }
            Self::NotUtf8 => {
                "does not encode UTF-8 text: give \"username\" and \"password\" instead"
            }
        })
    }
}

/// Writes the first few hosts in parentheses.
fn list(f: &mut fmt::Formatter<'_>, hosts: &[RegistryHost]) -> fmt::Result {
    for (index, host) in hosts.iter().take(LISTED).enumerate() {
        f.write_str(if index == 0 { " (" } else { ", " })?;
        write!(f, "{host}")?;
    }
    match hosts.len() {
        0 => Ok(()),
        count if count > LISTED => write!(f, " and {} more)", count - LISTED),
        _ => f.write_str(")"),
    }
}

const LISTED: usize = 5;
