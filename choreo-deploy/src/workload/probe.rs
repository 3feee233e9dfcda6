use std::num::NonZeroU16;

use serde::Serialize;

/// How a Service or Web Application tells that it is ready and healthy.
///
/// Without a readiness probe a TCP check of the first endpoint's port stands in, so that a rollout
/// never counts a container as ready that does not listen. There is no liveness probe unless asked
/// for: a wrong one restarts healthy containers.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Probes {
    /// When traffic may come. `None`: a TCP check of the first endpoint's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// When the container must be restarted. `None`: never by a probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// When a slow start is over; the other probes wait for it. `None`: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
}

/// A check and how often it is made.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// What is checked.
    #[serde(flatten)]
    pub check: Check,
    /// Seconds between two checks. 5 by default.
    pub period_seconds: NonZeroU16,
    /// Seconds that a check may take. 2 by default.
    pub timeout_seconds: NonZeroU16,
    /// How many failures in a row count. 3 by default.
    pub failure_threshold: NonZeroU16,
}

impl Probe {
    /// A check every 5 s, within 2 s, failed after 3 in a row.
    #[must_use]
    pub fn new(check: Check) -> Self {
        Self {
            check,
            period_seconds: five(),
            timeout_seconds: two(),
            failure_threshold: three(),
        }
    }
}

/// What a probe checks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Check {
    /// A GET answers with a status from 200 to 399.
    Http {
        /// The path, beginning with `/`.
        path: String,
        /// The port.
        port: NonZeroU16,
    },
    /// The port takes a connection.
    Tcp {
        /// The port.
        port: NonZeroU16,
    },
    /// A command in the container ends with status 0.
    Exec {
        /// The command, exec form.
        command: Vec<String>,
    },
}

fn two() -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(1)
}

fn three() -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(2)
}

fn five() -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(4)
}
