//! Runs: each execution of a Manual Task, or of a Scheduled Task that somebody asked for.

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

/// One execution of a task.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// Its identity. Starting the same id twice runs once.
    pub id: RunId,
    /// Where it runs.
    pub target: Target,
    /// The data plane it runs on.
    pub data_plane: DataPlaneId,
    /// The generation whose release it runs.
    pub generation: Generation,
    /// The release it runs.
    pub release: ReleaseNumber,
    /// The version of the target's settings that it uses.
    pub settings_version: u64,
    /// What this run adds to the workload.
    #[serde(deserialize_with = "stored")]
    pub overrides: RunOverrides,
    /// How far it is.
    pub phase: RunPhase,
    /// The exit code of its container, once it ended.
    pub exit_code: Option<i32>,
    /// Why it is no further, or why it failed.
    pub reasons: Vec<Reason>,
    /// When it was asked for.
    pub accepted_at: Timestamp,
    /// When it must have ended.
    pub deadline_at: Timestamp,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Grows with every change.
    pub revision: u64,
}

/// What one run adds to its workload.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunOverrides {
    /// Arguments in place of the workload's. Empty: the workload's.
    pub args: Vec<String>,
    /// Environment variables, added to the others or in their place.
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
    /// Arguments in place of the workload's.
    #[must_use]
    pub fn args(args: Vec<String>) -> Self {
        Self {
            args,
            variables: BTreeMap::new(),
        }
    }
}

/// How far a run is. The last three are final.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RunPhase {
    /// Accepted and stored, or started but not running yet.
    Pending,
    /// Its container runs.
    Running,
    /// It ended with exit code 0.
    Succeeded,
    /// It ended otherwise, or could not run. The reasons say why.
    Failed,
    /// It was stopped.
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
    /// Whether it never changes again.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}
