//! Docker configs: the `config.json` that `docker login` writes, as far as it can pull images.
//!
//! Fields and meaning are those of
//! [docker/cli](https://github.com/docker/cli/blob/master/cli/config/types/authconfig.go) and of
//! [Kubernetes](https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/).
//! A config that a node could not use is refused, with the reason; so is one that tools read in
//! different ways.

mod decode;
mod error;
#[cfg(test)]
mod tests;

use std::str::FromStr;

pub use self::error::{AuthDefect, DockerConfigError};
use crate::finding::{Code, Finding};
use crate::secret_json::SecretJson;
use crate::{Credential, RegistryHost};

/// A docker config with the credential of exactly one registry in it.
///
/// ```
/// use choreo_registry::docker_config::DockerConfig;
///
/// let config: DockerConfig =
///     r#"{"auths": {"https://ghcr.io": {"auth": "YWxpY2U6aHVudGVyMg=="}}}"#.parse()?;
/// assert_eq!(config.host().as_str(), "ghcr.io");
/// assert_eq!(config.credential().username(), "alice");
/// # Ok::<(), choreo_registry::docker_config::DockerConfigError>(())
/// ```
///
/// Accepted: one entry under `auths`, with `auth`, or `username` and `password`, or all three in
/// agreement. Unknown fields are ignored. `auth` may lack its padding. Where it holds line breaks
/// or blanks, uses the URL-safe alphabet or ends in NULs, it is put right, and
/// [`findings`](Self::findings) tells.
///
/// # What it does not do
///
/// It calls no credential helper, exchanges no identity token, and keeps nothing of the document
/// but the host and the credential.
#[derive(Debug)]
pub struct DockerConfig {
    host: RegistryHost,
    credential: Credential,
    repaired: bool,
}

impl DockerConfig {
    /// The registry of the one entry.
    #[must_use]
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// The credential of the one entry.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// What was doubtful and has been put right.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let repaired = self.repaired.then(|| {
            Finding::new(
                Code::DockerConfigRepaired,
                "the docker config's \"auth\" was no clean base64",
                "it is written afresh here; tools differ in what they make of the original",
            )
        });
        repaired.into_iter().collect()
    }
}

impl FromStr for DockerConfig {
    type Err = DockerConfigError;

    fn from_str(document: &str) -> Result<Self, Self::Err> {
        if document.len() > MAX_LEN {
            return Err(DockerConfigError::TooLarge);
        }
        if document.starts_with('\u{feff}') {
            return Err(DockerConfigError::ByteOrderMark);
        }
        if document.trim().is_empty() {
            return Err(DockerConfigError::Empty);
        }
        let root = SecretJson::parse(document).map_err(|at| DockerConfigError::NotJson {
            line: at.line,
            column: at.column,
        })?;
        let fields = object(&root, "the document")?;
        check_names(fields, &TOP_LEVEL_FIELDS, "the document")?;
        check_helpers(&root)?;
        let (key, entry) = single_entry(&root)?;
        // What is no host may be anything, even a password.
        let host: RegistryHost = key.parse().map_err(|error: crate::host::ParseHostError| {
            DockerConfigError::Host(error.into_unquoted())
        })?;
        let (credential, repaired) = decode::entry(&host, entry)?;
        Ok(Self {
            host,
            credential,
            repaired,
        })
    }
}

type Fields = [(zeroize::Zeroizing<String>, SecretJson)];

/// Refuses what keeps the credential outside the document.
fn check_helpers(root: &SecretJson) -> Result<(), DockerConfigError> {
    match root.get("credsStore") {
        None | Some(SecretJson::Null) => {}
        Some(SecretJson::String(store)) if store.is_empty() => {}
        Some(SecretJson::String(_)) => return Err(DockerConfigError::CredsStore),
        Some(other) => return Err(wrong_type("credsStore", "a string", other)),
    }
    match root.get("credHelpers") {
        None | Some(SecretJson::Null) => Ok(()),
        Some(helpers) => {
            let helpers = object(helpers, "credHelpers")?;
            if helpers.is_empty() {
                Ok(())
            } else {
                Err(DockerConfigError::CredHelpers(hosts(helpers)))
            }
        }
    }
}

fn single_entry(root: &SecretJson) -> Result<(&str, &SecretJson), DockerConfigError> {
    let auths = match root.get("auths") {
        None if is_legacy(root) => return Err(DockerConfigError::LegacyFormat),
        None | Some(SecretJson::Null) => return Err(DockerConfigError::NoEntry),
        Some(auths) => object(auths, "auths")?,
    };
    check_names(auths, &[], "auths")?;
    match auths {
        [] => Err(DockerConfigError::NoEntry),
        [(key, entry)] => Ok((key, entry)),
        several => Err(DockerConfigError::SeveralEntries(hosts(several))),
    }
}

/// Whether this is a `.dockercfg`: the entries without `auths` around them.
fn is_legacy(root: &SecretJson) -> bool {
    root.as_object()
        .unwrap_or_default()
        .iter()
        .any(|(_, entry)| {
            decode::ENTRY_FIELDS
                .iter()
                .any(|name| entry.get(name).is_some())
        })
}

/// Refuses names that tools read in different ways: twice, or in another case.
fn check_names(fields: &Fields, known: &[&str], place: &str) -> Result<(), DockerConfigError> {
    for (index, (name, _)) in fields.iter().enumerate() {
        let spelling = known.iter().find(|known| known.eq_ignore_ascii_case(name));
        if let Some(spelling) = spelling
            && **spelling != **name
        {
            return Err(DockerConfigError::FieldCase {
                field: (*spelling).to_owned(),
            });
        }
        if fields[..index].iter().any(|(earlier, _)| earlier == name) {
            let field = match (spelling, name.parse::<RegistryHost>()) {
                (Some(spelling), _) => format!("\"{spelling}\""),
                (None, Ok(host)) => format!("\"{host}\""),
                (None, Err(_)) => "a field".to_owned(),
            };
            return Err(DockerConfigError::Duplicate {
                field,
                place: place.to_owned(),
            });
        }
    }
    Ok(())
}

/// The keys that are hosts. Others are not repeated: a key may be anything, even a password.
fn hosts(entries: &Fields) -> Vec<RegistryHost> {
    entries
        .iter()
        .filter_map(|(key, _)| key.parse().ok())
        .collect()
}

fn object<'a>(value: &'a SecretJson, path: &str) -> Result<&'a Fields, DockerConfigError> {
    value
        .as_object()
        .ok_or_else(|| wrong_type(path, "an object", value))
}

fn wrong_type(path: &str, expected: &'static str, found: &SecretJson) -> DockerConfigError {
    DockerConfigError::WrongType {
        path: path.to_owned(),
        expected,
        found: found.type_name(),
    }
}

/// The size to which Kubernetes limits a Secret.
const MAX_LEN: usize = 1024 * 1024;
const TOP_LEVEL_FIELDS: [&str; 3] = ["auths", "credHelpers", "credsStore"];
