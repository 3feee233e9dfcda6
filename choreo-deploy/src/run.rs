//! Runs: the executions of Manual Tasks, and requested executions of Scheduled Tasks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Target;
use crate::code::codes;
use crate::deployment::Generation;
use crate::document::{Node, Read, deserialize_strictly, document, stored};
use crate::id::{DataPlaneId, RunId};
use crate::reason::Reason;
use crate::release::ReleaseNumber;
use crate::workload::{VariableName, too_long};

/// An execution of a task.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// The id. A duplicate start of an id runs once.
    pub id: RunId,
    /// The target.
    pub target: Target,
    /// The data plane.
    pub data_plane: DataPlaneId,
    /// The generation of its release.
    pub generation: Generation,
    /// The release.
    pub release: ReleaseNumber,
    /// The version of the target's settings.
    pub settings_version: u64,
    /// The changes of this run to the workload.
    #[serde(deserialize_with = "stored")]
    pub overrides: RunOverrides,
    /// The phase.
    pub phase: RunPhase,
    /// The exit code of its container, after it ended.
    pub exit_code: Option<i32>,
    /// The reasons for the phase.
    pub reasons: Vec<Reason>,
    /// The time of the request.
    pub accepted_at: Timestamp,
    /// The deadline.
    pub deadline_at: Timestamp,
    /// `true` if the run was requested to stop.
    pub cancel_requested: bool,
    /// The time of the last change.
    pub changed_at: Timestamp,
    /// The revision, which grows with every change.
    pub revision: u64,
}

/// The changes of a run to its workload.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunOverrides {
    /// Arguments that replace those of the workload, unless they are empty.
    pub args: Vec<String>,
    /// Environment variables that are added or replace others.
    pub variables: BTreeMap<VariableName, String>,
}

document!(RunOverrides);
deserialize_strictly!(RunOverrides);

impl Read for RunOverrides {
    fn read(node: Node<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let args: Option<Vec<String>> = fields.or_default("args");
        let variables: Option<BTreeMap<VariableName, String>> = fields.or_default("variables");
        let literals = variables.iter().flatten();
        let literals = literals.map(|(name, text)| (name, text.len()));
        if !fields.is_stored()
            && let Some(message) = too_long(args.iter().flatten(), literals)
        {
            fields.invalid_here::<()>(message);
        }
        fields.finish();
        Some(Self {
            args: args?,
            variables: variables?,
        })
    }
}

impl RunOverrides {
    /// Creates overrides with arguments.
    #[must_use]
    pub fn args(args: Vec<String>) -> Self {
        Self {
            args,
            variables: BTreeMap::new(),
        }
    }
}

/// The phase of a run. The last three are final.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RunPhase {
    /// Accepted and stored, or started but not yet running.
    Pending,
    /// The container runs.
    Running,
    /// The container exited with code 0.
    Succeeded,
    /// The container exited with another code, or the run could not start or be stopped. The reasons say
    /// why.
    Failed,
    /// The run was stopped.
    Cancelled,
}

codes!(RunPhase, "phase of a run", {
    Pending = "pending",
    Running = "running",
    Succeeded = "succeeded",
    Failed = "failed",
    Cancelled = "cancelled",
});

impl RunPhase {
    /// Returns `true` if the phase never changes again.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}
