use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Resources;

/// The one container of a component, without its image.
///
/// All fields are optional: by default the image's own entrypoint runs, as the image's own user.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Container {
    /// The command that replaces the image's entrypoint; exec form, no shell. If empty, the image's
    /// is used.
    pub command: Vec<String>,
    /// The arguments that replace the image's. If empty, the image's are used. `$(NAME)` is
    /// expanded and `$$` escapes
    /// (<https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/>).
    pub args: Vec<String>,
    /// Environment variables by name.
    pub variables: BTreeMap<VariableName, Value>,
    /// Files that contain keys from the data plane, by absolute path.
    pub files: BTreeMap<MountPath, KeyReference>,
    /// CPU and memory. 100m of CPU and 256Mi of memory by default.
    pub resources: Resources,
    /// The user to run as. `None` uses the image's, which must be a number other than 0 if the data
    /// plane forbids root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as: Option<RunAs>,
}

/// The source of the value of an environment variable.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Value {
    /// The value itself. Not for secrets: it is stored and shown in the clear.
    Literal(String),
    /// A key of a Secret or ConfigMap on the data plane.
    From(KeyReference),
}

/// A key of a Secret or ConfigMap in the target's namespace on the data plane.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyReference {
    /// A key of a Secret. The platform never reads the secret itself.
    Secret {
        /// The name of the Secret.
        name: String,
        /// The key in the Secret.
        key: String,
    },
    /// A key of a ConfigMap.
    ConfigMap {
        /// The name of the ConfigMap.
        name: String,
        /// The key in the ConfigMap.
        key: String,
    },
}

/// Creates a reference from the name of its kind.
pub(super) fn key_reference(kind: &str, name: String, key: String) -> KeyReference {
    match kind {
        "secret" => KeyReference::Secret { name, key },
        _ => KeyReference::ConfigMap { name, key },
    }
}

/// The numeric user (and group) of the container's processes, never root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunAs {
    /// The user id.
    pub user: NonZeroU32,
    /// The group id; the same as the user id by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<NonZeroU32>,
}

impl RunAs {
    /// Creates a user without a group.
    #[must_use]
    pub fn user(user: NonZeroU32) -> Self {
        Self { user, group: None }
    }
}

/// The name of an environment variable: a letter or `_`, then letters, digits, `_`, `.` and `-`.
///
/// The rule is narrower than that of Kubernetes, which relaxed it to almost all of ASCII
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>),
/// because shells and language runtimes drop such names.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariableName(String);

impl VariableName {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariableName {
    type Err = ParseContainerError;

    fn from_str(text: &str) -> Result<Self, ParseContainerError> {
        let start = |b: u8| b.is_ascii_alphabetic() || b == b'_';
        let rest = |b: u8| start(b) || b.is_ascii_digit() || b == b'.' || b == b'-';
        match text.as_bytes() {
            [first, others @ ..]
                if start(*first) && others.iter().all(|b| rest(*b)) && text.len() <= 253 =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ParseContainerError::VariableName(bounded(text))),
        }
    }
}

impl TryFrom<String> for VariableName {
    type Error = ParseContainerError;

    fn try_from(text: String) -> Result<Self, ParseContainerError> {
        text.parse()
    }
}

impl From<VariableName> for String {
    fn from(name: VariableName) -> Self {
        name.0
    }
}

impl AsRef<str> for VariableName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The absolute path of a mounted file, such as `/etc/app/config.yaml`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MountPath(String);

impl MountPath {
    /// Returns the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MountPath {
    type Err = ParseContainerError;

    fn from_str(text: &str) -> Result<Self, ParseContainerError> {
        let part = |part: &str| !part.is_empty() && part != "." && part != "..";
        let fits = text.len() <= 1024
            && !text.contains([':', '\0'])
            && text
                .strip_prefix('/')
                .is_some_and(|path| path.split('/').all(part));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseContainerError::MountPath(bounded(text)))
        }
    }
}

impl TryFrom<String> for MountPath {
    type Error = ParseContainerError;

    fn try_from(text: String) -> Result<Self, ParseContainerError> {
        text.parse()
    }
}

impl From<MountPath> for String {
    fn from(path: MountPath) -> Self {
        path.0
    }
}

impl AsRef<str> for MountPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a part of a container is not valid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseContainerError {
    /// The text is not a valid name of an environment variable.
    #[error(
        "environment variable name {0:?} is not valid: start with a letter or '_', then letters, digits, '_', '.' or '-'"
    )]
    VariableName(String),
    /// The text is not a path at which a file can be mounted.
    #[error("mount path {0:?} is not valid: use an absolute path without '.', '..' or ':'")]
    MountPath(String),
}

fn bounded(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_names_are_what_every_runtime_keeps() {
        for good in ["A", "_x", "spring.datasource.url", "A-1"] {
            assert!(good.parse::<VariableName>().is_ok(), "{good}");
        }
        for bad in ["", "1A", "A B", "A=B", "Ä"] {
            assert!(bad.parse::<VariableName>().is_err(), "{bad}");
        }
        assert_eq!(
            "A B".parse::<VariableName>().unwrap_err().to_string(),
            "environment variable name \"A B\" is not valid: start with a letter or '_', then letters, digits, '_', '.' or '-'"
        );
    }

    #[test]
    fn mount_paths_stay_where_they_say() {
        assert!("/etc/app/config.yaml".parse::<MountPath>().is_ok());
        for bad in [
            "",
            "/",
            "etc/app",
            "/etc/../shadow",
            "/etc//app",
            "/a:b",
            "/a/",
        ] {
            assert!(bad.parse::<MountPath>().is_err(), "{bad}");
        }
    }
}
