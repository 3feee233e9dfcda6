//! Findings: what was accepted and yet is doubtful.

use std::fmt;

use choreo_registry::finding::{Code, Finding as RegistryFinding, Severity};
use serde::{Serialize, Serializer};

/// Something doubtful about a deployment that was accepted, in words for the person who deploys.
///
/// It does not stop the deployment, and holds no secret. As JSON it is an object of the strings `code`,
/// `severity`, `message` and `help`, as a finding of a [registry](choreo_registry::Finding) is.
///
/// ```
/// use choreo_deploy::finding::{Finding, FindingCode};
///
/// let finding = Finding::new(FindingCode::LatestTag, "the tag \"latest\" moves", "give each build a tag");
/// assert_eq!(finding.to_string(), "warning: the tag \"latest\" moves: give each build a tag (latest-tag)");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which finding it is; stable, for programs.
    pub code: FindingCode,
    /// How much it matters.
    pub severity: Severity,
    /// What is doubtful, in one sentence.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Finding {
    /// A finding of a code, with the code's severity.
    #[must_use]
    pub fn new(code: FindingCode, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            help: help.into(),
        }
    }
}

impl From<RegistryFinding> for Finding {
    fn from(finding: RegistryFinding) -> Self {
        let code = FindingCode::Registry(finding.code());
        Self::new(code, finding.message(), finding.help())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            severity,
            message,
            help,
        } = self;
        write!(f, "{severity}: {message}: {help} ({code})")
    }
}

/// The name of a finding: stable, for machines.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FindingCode {
    /// What is deployed is not what the catalog has now: the request is one that was accepted before.
    CatalogChanged,
    /// The image has the tag `latest`, which names another image after each push.
    LatestTag,
    /// The data plane does not say which platforms its nodes have.
    PlatformUnknown,
    /// A finding about the image's reference or its registry.
    Registry(Code),
    /// The control plane cannot ask the registry whether the image exists.
    RegistryNotCheckable,
}

impl FindingCode {
    /// The code as it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CatalogChanged => "catalog-changed",
            Self::LatestTag => "latest-tag",
            Self::PlatformUnknown => "platform-unknown",
            Self::Registry(code) => code.as_str(),
            Self::RegistryNotCheckable => "registry-not-checkable",
        }
    }

    /// How much findings of this code matter.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::CatalogChanged | Self::LatestTag => Severity::Warning,
            Self::PlatformUnknown | Self::RegistryNotCheckable => Severity::Info,
            Self::Registry(code) => code.severity(),
        }
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FindingCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
