//! Rollouts: observations of targets on a data plane.

use choreo_registry::Digest;
use serde::{Deserialize, Serialize};

use crate::code::codes;
use crate::deployment::Generation;
use crate::reason::Reason;
use crate::run::RunPhase;

/// An observation of a target at one time.
///
/// A failed rollout is an observation and not an error. An error means that a backend cannot observe
/// the target.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rollout {
    /// The newest generation that was applied or removed, or `None` if there was none.
    pub generation: Option<Generation>,
    /// The phase of that generation.
    pub phase: RolloutPhase,
    /// The reasons for the phase.
    pub reasons: Vec<Reason>,
    /// The digest that all running containers report, if they report the same one.
    pub running: Option<Digest>,
}

impl Rollout {
    /// Creates an observation of a target to which nothing was applied.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            generation: None,
            phase: RolloutPhase::Absent,
            reasons: Vec::new(),
            running: None,
        }
    }

    /// Creates an observation of a generation.
    #[must_use]
    pub fn new(generation: Generation, phase: RolloutPhase) -> Self {
        Self {
            generation: Some(generation),
            ..Self::absent()
        }
        .in_phase(phase)
    }

    /// Adds a reason.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.reasons.push(reason);
        self
    }

    /// Sets the digest that runs.
    #[must_use]
    pub fn running(self, digest: Digest) -> Self {
        Self {
            running: Some(digest),
            ..self
        }
    }

    fn in_phase(self, phase: RolloutPhase) -> Self {
        Self { phase, ..self }
    }
}

/// The phase of a rollout.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RolloutPhase {
    /// There are no objects of the target.
    Absent,
    /// The rollout may still become ready.
    Progressing,
    /// All objects of this generation are in place and its containers answer; no container of an older
    /// generation does. A Scheduled Task is ready if its first run could start, and a Manual Task if it
    /// can be run.
    Ready,
    /// The rollout does not become ready without a change. The reasons say why.
    Failed,
    /// Objects of this generation were deleted or replaced by another party. Applying the same
    /// generation again restores them.
    Missing,
}

codes!(RolloutPhase, "phase of a rollout", {
    Absent = "absent",
    Progressing = "progressing",
    Ready = "ready",
    Failed = "failed",
    Missing = "missing",
});

/// An observation of a run of a task.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunStatus {
    /// The phase of the run, or `None` if the backend has no such run.
    pub phase: Option<RunPhase>,
    /// The exit code of its container, after it ended.
    pub exit_code: Option<i32>,
    /// The reasons for the phase.
    pub reasons: Vec<Reason>,
    /// `true` if the run cannot start without a change, such as an image that does not exist. A
    /// [`Rollout`] is [`Failed`](RolloutPhase::Failed) for the same causes. The run is cancelled and
    /// fails, because its container would wait until the deadline.
    #[serde(default)]
    pub is_stuck: bool,
}

impl RunStatus {
    /// Creates the status of a run that the backend does not have.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            phase: None,
            exit_code: None,
            reasons: Vec::new(),
            is_stuck: false,
        }
    }

    /// Creates the status of a run in a phase.
    #[must_use]
    pub fn new(phase: RunPhase) -> Self {
        Self {
            phase: Some(phase),
            ..Self::unknown()
        }
    }

    /// Marks the run as unable to start without a change.
    #[must_use]
    pub fn stuck(self) -> Self {
        Self {
            is_stuck: true,
            ..self
        }
    }

    /// Sets the exit code.
    #[must_use]
    pub fn with_exit_code(self, exit_code: i32) -> Self {
        Self {
            exit_code: Some(exit_code),
            ..self
        }
    }

    /// Adds a reason.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.reasons.push(reason);
        self
    }
}
