//! Findings: doubts about deployments that were accepted.

use std::fmt;

use choreo_registry::finding::{Code, Finding as RegistryFinding, Severity};
use serde::{Serialize, Serializer};

/// A doubt about an accepted deployment, for the person who deploys.
///
/// It does not stop the deployment and contains no secrets. In JSON it is an object with the strings
/// `code`, `severity`, `message` and `help`, like a finding of a [registry](choreo_registry::Finding).
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
    /// The kind of the finding. It is stable, for programs.
    pub code: FindingCode,
    /// The severity.
    pub severity: Severity,
    /// One sentence about the doubt.
    pub message: String,
    /// The next action of the reader.
    pub help: String,
}

impl Finding {
    /// Creates a finding with the severity of its code.
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

/// The kind of a finding. It is stable, for programs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FindingCode {
    /// The request is a duplicate, and the catalog has changed since the deployment was accepted.
    CatalogChanged,
    /// The image has the tag `latest`, which moves with each push.
    LatestTag,
    /// The data plane does not declare the platforms of its nodes.
    PlatformUnknown,
    /// A finding about the image's reference or its registry.
    Registry(Code),
    /// The control plane cannot check that the image exists.
    RegistryNotCheckable,
}

impl FindingCode {
    /// Returns the code that is sent.
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

    /// Returns the severity of findings with this code.
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
