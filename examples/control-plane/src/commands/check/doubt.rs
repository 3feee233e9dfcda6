use std::fmt;

use choreo_registry::finding::Finding;
use serde::Serialize;

/// What may be meant so, and may be a mistake.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Doubt {
    /// Where it stands in the configuration.
    pub(super) path: String,
    /// What kind: stable, for machines.
    pub(super) code: &'static str,
    /// `info` or `warning`.
    pub(super) severity: &'static str,
    pub(super) message: String,
    /// What to do.
    pub(super) help: String,
}

impl Doubt {
    pub(super) fn warning(
        path: impl Into<String>,
        code: &'static str,
        (message, help): (impl Into<String>, impl Into<String>),
    ) -> Self {
        Self {
            path: path.into(),
            code,
            severity: "warning",
            message: message.into(),
            help: help.into(),
        }
    }

    pub(super) fn of_finding(path: &str, finding: &Finding) -> Self {
        Self {
            path: path.to_owned(),
            code: finding.code().as_str(),
            severity: finding.severity().as_str(),
            message: finding.message().to_owned(),
            help: finding.help().to_owned(),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            severity,
            message,
            help,
            ..
        } = self;
        write!(f, "{severity}: {path}: {message}; {help}")
    }
}
