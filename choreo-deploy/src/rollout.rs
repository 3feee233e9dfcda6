//! Rollouts: what a data plane says of a target.

use choreo_registry::Digest;
use serde::{Deserialize, Serialize};

use crate::code::codes;
use crate::deployment::Generation;
use crate::reason::Reason;
use crate::run::RunPhase;

/// What a backend sees of a target at one moment.
///
/// A failed rollout is an observation, never an `Err`: the error is kept for not being able to look.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rollout {
    /// The newest generation that was applied or removed here. `None`: nothing ever was.
    pub generation: Option<Generation>,
    /// How far that generation is.
    pub phase: RolloutPhase,
    /// Why it is no further, or why it failed.
    pub reasons: Vec<Reason>,
    /// The digest that the running containers report, when they all report one.
    pub running: Option<Digest>,
}

impl Rollout {
    /// Nothing was ever applied.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            generation: None,
            phase: RolloutPhase::Absent,
            reasons: Vec::new(),
            running: None,
        }
    }

    /// A generation in a phase.
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

    /// Says which digest runs.
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

/// How far a rollout is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RolloutPhase {
    /// Nothing of the component is there.
    Absent,
    /// On its way; it may still become ready.
    Progressing,
    /// Everything of this generation is in place and answers; nothing of an older one does. A
    /// Scheduled Task is ready when its first run could start, a Manual Task when it can be run.
    Ready,
    /// It does not become ready without a change. The reasons say what is wrong.
    Failed,
    /// Something of this generation is gone from the data plane, or somebody put something else in
    /// its place. Applying the same generation again brings it back.
    Missing,
}

codes!(RolloutPhase, "phase of a rollout", {
    Absent = "absent",
    Progressing = "progressing",
    Ready = "ready",
    Failed = "failed",
    Missing = "missing",
});

/// What a backend sees of one run of a task.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunStatus {
    /// How far it is. `None`: the backend knows no such run.
    pub phase: Option<RunPhase>,
    /// The exit code of its container, once it ended.
    pub exit_code: Option<i32>,
    /// Why it is no further, or why it failed.
    pub reasons: Vec<Reason>,
    /// Whether it waits for what does not come without a change, such as an image that does not
    /// exist: [`Rollout`]s are [`Failed`](RolloutPhase::Failed) for the same. The run is cancelled and
    /// has failed, for its container would wait until the deadline.
    #[serde(default)]
    pub is_stuck: bool,
}

impl RunStatus {
    /// The backend knows no such run.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            phase: None,
            exit_code: None,
            reasons: Vec::new(),
            is_stuck: false,
        }
    }

    /// A run in a phase.
    #[must_use]
    pub fn new(phase: RunPhase) -> Self {
        Self {
            phase: Some(phase),
            ..Self::unknown()
        }
    }

    /// Says that it does not start without a change.
    #[must_use]
    pub fn stuck(self) -> Self {
        Self {
            is_stuck: true,
            ..self
        }
    }

    /// Says with which code it ended.
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
