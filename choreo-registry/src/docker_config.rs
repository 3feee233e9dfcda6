//! Docker configs: the parts of the `config.json` of `docker login` that are needed to pull images.
//!
//! Fields and meaning are those of
//! [docker/cli](https://github.com/docker/cli/blob/master/cli/config/types/authconfig.go) and of
//! [Kubernetes](https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/).
//! A config that a node could not use, or that tools read in different ways, is rejected with the
//! reason.

mod decode;
mod error;
mod fast_path;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use serde_json::value::RawValue;

pub use self::error::{AuthDefect, DockerConfigError};
use crate::finding::{Code, Finding};
use crate::host::ParseHostError;
use crate::secret_json::{Fields, LoneSurrogate, NoObject, Text, type_name};
use crate::{Credential, RegistryHost};

/// A docker config that contains the credential of exactly one registry.
///
/// ```
/// use choreo_registry::docker_config::DockerConfig;
///
/// let config: DockerConfig =
///     r#"{"auths": {"https://ghcr.io": {"auth": "YWxpY2U6aHVudGVyMg=="}}}"#.parse()?;
/// assert_eq!(config.host().as_str(), "ghcr.io");
/// assert_eq!(config.credential().username(), "alice");
/// assert!(config.findings().is_empty());
/// # Ok::<(), choreo_registry::docker_config::DockerConfigError>(())
/// ```
///
/// It accepts one entry under `auths`, with `auth`, or `username` and `password`, or all three if
/// they agree. Unknown fields are ignored. `auth` may lack its padding. A document that can be
/// repaired without ambiguity is repaired, and [`findings`](Self::findings) reports it:
///
/// - an `auth` with line breaks or blanks, in the URL-safe alphabet, or with NULs around the
///   password;
/// - a byte order mark before the document;
/// - a `.dockercfg`, which contains the entries without `auths` around them;
/// - an identity or registry token beside a password, which nodes ignore and Docker prefers;
/// - the identity token that `az acr login` leaves, which Azure Container Registry accepts as a
///   [password](https://learn.microsoft.com/azure/container-registry/container-registry-authentication#az-acr-login-with---expose-token).
///
/// # Stricter than the tools
///
/// Docker and kubelets accept some documents that are rejected here, because the tools disagree on
/// their meaning or find no credential in them: a duplicate name, also in another case,
/// `credsStore` and `credHelpers` (of any registry), an `auth` that disagrees with `username` or
/// `password`, an empty entry, a key that is not a host (a path, a pattern).
///
/// # What it does not do
///
/// It does not call credential helpers or exchange identity tokens, and keeps only the host and the
/// credential of the document.
#[derive(Debug)]
pub struct DockerConfig {
    host: RegistryHost,
    credential: Credential,
    repairs: Repairs,
}

/// The ambiguities in the document that have been repaired.
#[derive(Clone, Copy, Debug, Default)]
struct Repairs {
    auth: bool,
    byte_order_mark: bool,
    identity_token: bool,
    legacy_format: bool,
    /// The entry contained a token beside the password.
    second_token: bool,
}

impl DockerConfig {
    /// Parses the entry of one registry in a document that may contain several.
    ///
    /// The other entries are not read. If you do not know the host, parse the document: the error
    /// contains [the hosts to choose from](DockerConfigError::hosts).
    ///
    /// ```
    /// use choreo_registry::docker_config::DockerConfig;
    ///
    /// let document = r#"{"auths": {
    ///     "ghcr.io": {"auth": "YWxpY2U6aHVudGVyMg=="},
    ///     "https://index.docker.io/v1/": {"auth": "Ym9iOmh1bnRlcjM="}
    /// }}"#;
    /// let hosts = document.parse::<DockerConfig>().unwrap_err().hosts().to_vec();
    /// assert_eq!(hosts, ["ghcr.io".parse()?, "docker.io".parse()?]);
    ///
    /// let config = DockerConfig::for_host(document, &hosts[1])?;
    /// assert_eq!(config.credential().username(), "bob");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of parsing, except for several entries; [`DockerConfigError::NoEntryFor`] if
    /// there is no entry for the host, [`DockerConfigError::SeveralSpellings`] if two entries for
    /// it differ.
    pub fn for_host(document: &str, host: &RegistryHost) -> Result<Self, DockerConfigError> {
        Self::read(document, |entries| match of_host(entries, host)? {
            Some(entry) => Ok((host.clone(), entry)),
            None if entries.is_empty() => Err(DockerConfigError::NoEntry),
            None => Err(match nearly(entries, host) {
                Some(error) => DockerConfigError::Host(error),
                None => DockerConfigError::NoEntryFor {
                    host: host.clone(),
                    others: hosts(entries),
                },
            }),
        })
    }

    /// Returns the registry of the entry.
    #[must_use]
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// Returns the credential of the entry.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns what was ambiguous in the document and has been repaired.
    ///
    /// ```
    /// use choreo_registry::docker_config::DockerConfig;
    /// use choreo_registry::finding::Code;
    ///
    /// let dockercfg: DockerConfig = r#"{"ghcr.io": {"auth": "YWxpY2U6aHVudGVyMg=="}}"#.parse()?;
    /// assert_eq!(dockercfg.findings()[0].code(), Code::DockerConfigConverted);
    /// # Ok::<(), choreo_registry::docker_config::DockerConfigError>(())
    /// ```
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let repairs = self.repairs;
        let mut findings = Vec::new();
        if repairs.byte_order_mark {
            findings.push(Finding::new(
                Code::DockerConfigRepaired,
                "the docker config began with a byte order mark",
                "it is written afresh here; kubelets cannot read the original, save it as UTF-8 \
                 without one",
            ));
        }
        if repairs.legacy_format {
            findings.push(Finding::new(
                Code::DockerConfigConverted,
                "the docker config was a .dockercfg: entries without \"auths\"",
                "it is written afresh here; in a Secret of type kubernetes.io/dockerconfigjson, \
                 kubelets find no credential in the original",
            ));
        }
        if repairs.auth {
            findings.push(Finding::new(
                Code::DockerConfigRepaired,
                "the docker config's \"auth\" was no clean base64",
                "it is written afresh here; tools differ in what they make of the original",
            ));
        }
        if repairs.second_token {
            findings.push(Finding::new(
                Code::DockerConfigConverted,
                "the docker config held a token beside the user name and the password",
                "the password is used here, as nodes do, while Docker and Podman prefer the token: \
                 check which password is valid",
            ));
        }
        if repairs.identity_token {
            findings.push(Finding::new(
                Code::DockerConfigConverted,
                "the docker config held an identity token of az acr login, which nodes do not \
                 understand",
                "it is used as a password here, as ACR allows; it expires after about 3 hours, so \
                 enter a service principal or a repository token instead",
            ));
        }
        findings
    }

    fn read<'d>(
        document: &'d str,
        choose: impl FnOnce(&Fields<'d>) -> Result<(RegistryHost, &'d RawValue), DockerConfigError>,
    ) -> Result<Self, DockerConfigError> {
        if document.len() > MAX_LEN {
            return Err(DockerConfigError::TooLarge);
        }
        let text = document.strip_prefix('\u{feff}').unwrap_or(document);
        if text.trim_ascii_start().is_empty() {
            return Err(DockerConfigError::Empty);
        }
        let (entries, legacy_format) = entries(text).map_err(|problem| problem.into_error(text))?;
        let (host, entry) = choose(&entries)?;
        let texts = decode::texts(&host, entry).map_err(|problem| problem.into_error(text))?;
        let mut repairs = Repairs {
            byte_order_mark: text.len() < document.len(),
            legacy_format,
            ..Repairs::default()
        };
        Ok(Self {
            credential: decode::credential_of(&host, &texts, &mut repairs)?,
            host,
            repairs,
        })
    }

    /// The fast path; returns `None` for a document that the slow path must read, even if only to
    /// say why it is not valid.
    fn read_plain(document: &str) -> Option<Self> {
        if document.len() > MAX_LEN {
            return None;
        }
        let (key, texts) = fast_path::read(document)?;
        let host = key.parse().ok()?;
        let mut repairs = Repairs::default();
        Some(Self {
            credential: decode::credential_of(&host, &texts, &mut repairs).ok()?,
            host,
            repairs,
        })
    }

    /// The slow path, for every document that [`read_plain`](Self::read_plain) does not read.
    fn read_only(document: &str) -> Result<Self, DockerConfigError> {
        Self::read(document, |entries| {
            let mut all = entries.iter().filter(|(key, _)| !is_side_key(key));
            let Some((key, entry)) = all.next() else {
                return Err(DockerConfigError::NoEntry);
            };
            if all.next().is_some() {
                let hosts = hosts(entries);
                // Several spellings of one registry are one choice.
                if let [host] = &*hosts
                    && let Some(entry) = of_host(entries, host)?
                {
                    return Ok((host.clone(), entry));
                }
                if !hosts.is_empty() {
                    return Err(DockerConfigError::SeveralEntries(hosts));
                }
            }
            match key.parse() {
                Ok(host) => Ok((host, entry)),
                // A key that is not a host may be anything, even a password.
                Err(error) => Err(DockerConfigError::Host(error.into_unquoted())),
            }
        })
    }
}

impl FromStr for DockerConfig {
    type Err = DockerConfigError;

    fn from_str(document: &str) -> Result<Self, Self::Err> {
        Self::read_plain(document).map_or_else(|| Self::read_only(document), Ok)
    }
}

/// The problem, before its position in the document is known.
enum Problem {
    Error(DockerConfigError),
    Syntax {
        line: usize,
        column: usize,
    },
    /// An error inside a part of the document, so that its position would mislead.
    InnerSyntax,
}

impl Problem {
    fn into_error(self, document: &str) -> DockerConfigError {
        let (line, column) = match self {
            Self::Error(error) => return error,
            Self::Syntax { .. } if document.contains(".dockerconfigjson") => {
                return DockerConfigError::KubernetesManifest;
            }
            Self::Syntax { .. } if is_base64_of_object(document) => {
                return DockerConfigError::Base64;
            }
            Self::Syntax { line, column } => (line, column),
            // Of all invalid text, the first pass accepts only half a surrogate pair.
            Self::InnerSyntax => LoneSurrogate::place(document),
        };
        DockerConfigError::NotJson { line, column }
    }

    fn wrong_type(path: String, expected: &'static str, found: &'static str) -> Self {
        Self::Error(DockerConfigError::WrongType {
            path,
            expected,
            found,
        })
    }
}

impl From<DockerConfigError> for Problem {
    fn from(error: DockerConfigError) -> Self {
        Self::Error(error)
    }
}

impl From<LoneSurrogate> for Problem {
    fn from(_: LoneSurrogate) -> Self {
        Self::InnerSyntax
    }
}

/// Returns the entries of a document, and whether they are at the top level, without `auths`.
fn entries(document: &str) -> Result<(Fields<'_>, bool), Problem> {
    let root = Fields::parse(document).map_err(|why| match why {
        NoObject::Type(found) => Problem::wrong_type("the document".to_owned(), "an object", found),
        NoObject::Syntax { line, column } => Problem::Syntax { line, column },
    })?;
    check_names(&root, &TOP_LEVEL_FIELDS, || "the document".to_owned())?;
    check_helpers(&root)?;
    let (entries, legacy_format) = match root.get("auths") {
        Some(auths) => match object(auths, || "auths".to_owned())? {
            Some(entries) => (entries, false),
            None => return Err(DockerConfigError::NoEntry.into()),
        },
        None if root.get("apiVersion").is_some() && root.get("kind").is_some() => {
            return Err(DockerConfigError::KubernetesManifest.into());
        }
        None => (root.into_filtered(is_entry), true),
    };
    check_names(&entries, &[], || "auths".to_owned())?;
    Ok((entries, legacy_format))
}

/// Rejects fields that keep the credential outside the document.
fn check_helpers(root: &Fields<'_>) -> Result<(), Problem> {
    if let Some(store) = string(root, "credsStore", || "credsStore".to_owned())?
        && !store.as_str().is_empty()
    {
        return Err(DockerConfigError::CredsStore.into());
    }
    let Some(helpers) = root.get("credHelpers") else {
        return Ok(());
    };
    match object(helpers, || "credHelpers".to_owned())? {
        Some(helpers) if !helpers.is_empty() => {
            Err(DockerConfigError::CredHelpers(hosts(&helpers)).into())
        }
        _ => Ok(()),
    }
}

/// Returns `true` if a text is base64 of text that begins with a brace, as in a Secret's `data`.
fn is_base64_of_object(document: &str) -> bool {
    let mut signs = document.bytes().filter(|byte| !byte.is_ascii_whitespace());
    signs.next() == Some(b'e')
        && matches!(signs.next(), Some(b'w'..=b'z' | b'0'..=b'9' | b'+' | b'/'))
        && signs.all(|sign| sign.is_ascii_alphanumeric() || b"+/-_=".contains(&sign))
}

/// Returns `true` if a value of a `.dockercfg` is the entry of a registry.
fn is_entry(value: &RawValue) -> bool {
    Fields::of(value).is_ok_and(|fields| {
        fields
            .iter()
            .any(|(name, _)| known(&decode::ENTRY_FIELDS, name).is_some())
    })
}

/// Rejects names that tools read in different ways: duplicates, and names in another case.
fn check_names(
    fields: &Fields<'_>,
    known_names: &[&'static str],
    place: impl FnOnce() -> String,
) -> Result<(), DockerConfigError> {
    for (name, _) in fields.iter() {
        if let Some(spelling) = known(known_names, name)
            && spelling != name
        {
            return Err(DockerConfigError::FieldCase {
                field: spelling.to_owned(),
            });
        }
    }
    let Some(name) = fields.duplicate() else {
        return Ok(());
    };
    // If no name is known, the names are hosts; elsewhere they may be anything.
    let host = name.parse::<RegistryHost>();
    let host = host.ok().filter(|_| known_names.is_empty());
    let field = match (known(known_names, name), host) {
        (Some(name), _) => format!("\"{name}\""),
        (None, Some(host)) => format!("\"{host}\""),
        (None, None) => "a field".to_owned(),
    };
    Err(DockerConfigError::Duplicate {
        field,
        place: place(),
    })
}

/// Returns the known name that Go's case-insensitive readers would match with this one.
fn known(names: &[&'static str], name: &str) -> Option<&'static str> {
    names.iter().copied().find(|known| {
        known.eq_ignore_ascii_case(name)
                // Go also folds these two letters.
                || !name.is_ascii()
                    && known.eq_ignore_ascii_case(&name.replace('ſ', "s").replace('\u{212a}', "k"))
    })
}

/// Returns `true` for the tokens that `docker login` writes beside Docker Hub's entry if no
/// credential store is configured. Pulls never use them.
fn is_side_key(key: &str) -> bool {
    const SIDE_KEYS: [&str; 2] = [
        "https://index.docker.io/v1/access-token",
        "https://index.docker.io/v1/refresh-token",
    ];
    SIDE_KEYS.contains(&key)
}

/// Returns the entry of a host. Several spellings of the host count as one entry if their contents
/// are equal.
fn of_host<'d>(
    entries: &Fields<'d>,
    host: &RegistryHost,
) -> Result<Option<&'d RawValue>, DockerConfigError> {
    let mut chosen = entries
        .iter()
        .filter(|(key, _)| key.parse().is_ok_and(|key: RegistryHost| key == *host))
        .map(|(_, entry)| entry);
    let first = chosen.next();
    let differs = |other: &RawValue| first.is_some_and(|first| first.get() != other.get());
    if chosen.any(differs) {
        return Err(DockerConfigError::SeveralSpellings { host: host.clone() });
    }
    Ok(first)
}

/// Returns the keys that are hosts, without duplicates. Other keys are left out: a key may be
/// anything, even a password.
fn hosts(entries: &Fields<'_>) -> Vec<RegistryHost> {
    let mut seen = std::collections::HashSet::new();
    entries
        .iter()
        .filter_map(|(key, _)| key.parse().ok())
        .filter(|host: &RegistryHost| seen.insert(host.clone()))
        .collect()
}

/// Returns the error of a key that contains this host and a path, and so is not a host.
fn nearly(entries: &Fields<'_>, host: &RegistryHost) -> Option<ParseHostError> {
    entries
        .iter()
        .filter_map(|(key, _)| key.parse::<RegistryHost>().err())
        .find(|error| error.suggestion().as_ref() == Some(host))
        .map(ParseHostError::into_unquoted)
}

/// Returns the fields of an object; `None` for null, which counts as absent.
fn object(value: &RawValue, path: impl FnOnce() -> String) -> Result<Option<Fields<'_>>, Problem> {
    match Fields::of(value) {
        Ok(fields) => Ok(Some(fields)),
        Err(NoObject::Type("null")) => Ok(None),
        Err(NoObject::Type(found)) => Err(Problem::wrong_type(path(), "an object", found)),
        Err(NoObject::Syntax { .. }) => Err(Problem::InnerSyntax),
    }
}

/// Returns the text of a field; `None` if it is absent or null.
fn string<'d>(
    fields: &Fields<'d>,
    name: &str,
    path: impl FnOnce() -> String,
) -> Result<Option<Text<'d>>, Problem> {
    let Some(value) = fields.get(name) else {
        return Ok(None);
    };
    match (Text::of(value)?, type_name(value)) {
        (None, "null") => Ok(None),
        (None, found) => Err(Problem::wrong_type(path(), "a string", found)),
        (text, _) => Ok(text),
    }
}

/// The maximum size of a Secret in Kubernetes.
const MAX_LEN: usize = 1024 * 1024;
const TOP_LEVEL_FIELDS: [&str; 3] = ["auths", "credHelpers", "credsStore"];
