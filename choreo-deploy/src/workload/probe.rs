use std::num::NonZeroU16;

use serde::Serialize;

/// The checks of whether a Service or Web Application is ready and healthy.
///
/// Without a readiness probe, a TCP check of the first endpoint's port is used, so that a rollout
/// never counts a container as ready before it listens. There is no liveness probe by default: a
/// wrong one restarts healthy containers.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Probes {
    /// Checks whether the container can receive traffic. `None` uses a TCP check of the first
    /// endpoint's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Checks whether the container must be restarted. `None` disables it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// Checks whether a slow start is complete; the other probes wait for it. `None` disables it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
}

/// A check and how often it runs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// The check.
    #[serde(flatten)]
    pub check: Check,
    /// The seconds between two checks. 5 by default.
    pub period_seconds: NonZeroU16,
    /// The maximum duration of a check in seconds. 2 by default.
    pub timeout_seconds: NonZeroU16,
    /// The number of consecutive failures after which the probe fails. 3 by default.
    pub failure_threshold: NonZeroU16,
}

impl Probe {
    /// Creates a probe that runs every 5 s, with a timeout of 2 s, and fails after 3 failures in a
    /// row.
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

/// The check of a probe.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Check {
    /// A GET request returns a status from 200 to 399.
    Http {
        /// The path, beginning with `/`.
        path: String,
        /// The port.
        port: NonZeroU16,
    },
    /// The port accepts a connection.
    Tcp {
        /// The port.
        port: NonZeroU16,
    },
    /// A command in the container exits with status 0.
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
