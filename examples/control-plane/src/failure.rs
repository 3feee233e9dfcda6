//! The exit status for each outcome, and the message for each failure.

use std::error::Error;
use std::fmt;
use std::path::Path;

use choreo_deploy::deployment::Phase;
use choreo_deploy::intake::{IntakeError, IntakeErrorKind};
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::run::{Run, RunPhase};
use choreo_deploy::store::{StoreError, StoreErrorKind};
use choreo_deploy_kubernetes::credential_failure;
use choreo_deploy_sqlite::OpenError;
pub(crate) use choreo_webhook::snippet::ExitStatus;
use serde_json::{Value, json};

use crate::config::Problem;
use crate::nearest;

/// The reason why a command could not do its work. A failed deployment is not a failure of the command:
/// it is an outcome with its own [`ExitStatus`].
#[derive(Debug)]
pub(crate) struct Failure {
    status: ExitStatus,
    message: String,
    /// The problems of the configuration, if they are the reason.
    problems: Vec<Problem>,
}

impl Failure {
    /// Creates a failure for invalid arguments or an invalid configuration.
    pub(crate) fn wrong_use(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::WrongUse, message)
    }

    /// Creates a failure for a request that is rejected.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Refused, message)
    }

    /// Creates a failure for a name that does not exist. It lists those that do.
    pub(crate) fn missing(
        (what, word): (&str, impl fmt::Display),
        known: impl IntoIterator<Item = impl fmt::Display>,
    ) -> Self {
        let instead = nearest::instead(&word.to_string(), known);
        Self::refused(format!("{what} {word} does not exist: {instead}"))
    }

    /// Creates a failure of the store, a data plane or the network.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::NoAnswer, message)
    }

    /// Creates a failure for a configuration with problems.
    pub(crate) fn configuration(path: &Path, problems: &[Problem]) -> Self {
        let mut message = format!("configuration {path:?} is not valid");
        for problem in problems {
            message.push_str(&format!("\n  {problem}"));
        }
        Self {
            problems: problems.to_vec(),
            ..Self::wrong_use(message)
        }
    }

    /// Adds an error and its causes to the message.
    pub(crate) fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        if let Some(words) = credential_failure(error) {
            self.message.push_str(&format!(": {words}"));
            return self;
        }
        let (mut cause, mut last) = (Some(error), String::new());
        while let Some(error) = cause {
            let text = plain(&error.to_string());
            // Some errors contain their cause, and some causes repeat the error.
            let is_said = self.message.ends_with(&text);
            if !is_said && (last.is_empty() || !text.ends_with(&last)) {
                self.message.push_str(&format!(": {text}"));
            }
            (cause, last) = (error.source(), text);
        }
        self
    }

    /// Returns the failure as JSON.
    pub(crate) fn document(&self) -> Value {
        let (error, status) = (&self.message, self.status.code());
        match self.problems.is_empty() {
            true => json!({ "error": error, "exit_status": status }),
            false => json!({ "error": error, "exit_status": status, "problems": self.problems }),
        }
    }

    pub(crate) fn status(&self) -> ExitStatus {
        self.status
    }

    fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            problems: Vec::new(),
        }
    }
}

/// Returns the message of an error without the error number of the system, and without the lines of a
/// file that some errors quote: they may contain a secret.
pub(crate) fn plain(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    // Some errors quote a path twice.
    let text = text.replace("'\"", "\"").replace("\"'", "\"");
    match text.split_once(" (os error ") {
        Some((words, rest)) => {
            let rest = rest.split_once(')').map_or("", |(_, rest)| rest);
            format!("{words}{rest}")
        }
        None => text,
    }
}

/// Returns the message of an error with its causes.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    if let Some(words) = credential_failure(error) {
        return words;
    }
    let failure = Failure::unavailable(plain(&error.to_string()));
    failure.caused_by(error).message
}

/// Returns the exit status for a deployment in this phase.
pub(crate) fn of_phase(phase: Phase) -> ExitStatus {
    match phase {
        Phase::Ready => ExitStatus::Ready,
        Phase::Superseded => ExitStatus::Superseded,
        Phase::TimedOut => ExitStatus::TimedOut,
        _ => ExitStatus::Failed,
    }
}

/// Returns the exit status for a run in this state.
pub(crate) fn of_run(run: &Run) -> ExitStatus {
    let late = |code| code == ReasonCode::ProgressDeadlineExceeded;
    match run.phase {
        RunPhase::Succeeded => ExitStatus::Ready,
        RunPhase::Failed if run.reasons.iter().any(|reason| late(reason.code)) => {
            ExitStatus::TimedOut
        }
        _ => ExitStatus::Failed,
    }
}

fn of_refusal(kind: IntakeErrorKind) -> ExitStatus {
    match kind {
        IntakeErrorKind::Held => ExitStatus::Held,
        IntakeErrorKind::Internal | IntakeErrorKind::Unavailable => ExitStatus::NoAnswer,
        _ => ExitStatus::Refused,
    }
}

fn of_store(kind: StoreErrorKind) -> ExitStatus {
    match kind {
        StoreErrorKind::Conflict | StoreErrorKind::NotFound => ExitStatus::Refused,
        _ => ExitStatus::NoAnswer,
    }
}

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Self {
        let failure = Self::new(of_refusal(error.kind()), error.to_string());
        error.source().into_iter().fold(failure, Self::caused_by)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = Self::new(of_store(error.kind()), error.to_string());
        error.source().into_iter().fold(failure, Self::caused_by)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::unavailable("the store cannot be opened").caused_by(&error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_exit_status() {
        for (phase, status) in [
            (Phase::Ready, 0),
            (Phase::Failed, 1),
            (Phase::Superseded, 3),
            (Phase::TimedOut, 5),
        ] {
            assert_eq!(of_phase(phase).code(), status, "{phase}");
        }
    }

    #[test]
    fn each_refusal_has_its_exit_status() {
        for (kind, status) in [
            (IntakeErrorKind::Held, 4),
            (IntakeErrorKind::ImageNotInRegistry, 6),
            (IntakeErrorKind::KeyReused, 6),
            (IntakeErrorKind::NotPossible, 6),
            (IntakeErrorKind::TokenRefused, 6),
            (IntakeErrorKind::UnknownComponent, 6),
            (IntakeErrorKind::UnknownEnvironment, 6),
            (IntakeErrorKind::Internal, 7),
            (IntakeErrorKind::Unavailable, 7),
        ] {
            let failure = Failure::from(IntakeError::new(kind, "no"));
            assert_eq!(failure.status().code(), status, "{kind:?}");
        }
        for (kind, status) in [
            (StoreErrorKind::Conflict, 6),
            (StoreErrorKind::NotFound, 6),
            (StoreErrorKind::Corrupt, 7),
            (StoreErrorKind::Unavailable, 7),
        ] {
            assert_eq!(of_store(kind).code(), status, "{kind:?}");
        }
        assert_eq!(Failure::wrong_use("no").status().code(), 2);
    }

    #[test]
    fn a_failure_contains_each_cause_once() {
        let said = |cause: &str| {
            let cause = std::io::Error::other(cause.to_owned());
            let error = StoreError::new(StoreErrorKind::Unavailable, "store fails");
            Failure::from(error.with_source(cause)).to_string()
        };
        assert_eq!(said("disk is full"), "store fails: disk is full");
        assert_eq!(
            said("No such file or directory (os error 2)"),
            "store fails: No such file or directory"
        );
    }

    /// Guards that a line of a kubeconfig is not shown. Its reader quotes the line with the error.
    #[test]
    fn a_line_of_a_file_is_not_shown() {
        let text = "failed to parse kubeconfig '\"a.yaml\"': line 1: unclosed (os error 5)\n  |\n1 | \
                    token: hunter2";
        let error = std::io::Error::other(text);
        assert_eq!(
            with_causes(&error),
            "failed to parse kubeconfig \"a.yaml\": line 1: unclosed"
        );
    }

    /// Guards that a repetition is left out: SQLite reports "database is locked", and as its cause "Error
    /// code 5: database is locked".
    #[test]
    fn a_cause_that_repeats_its_effect_is_left_out() {
        #[derive(Debug)]
        struct Chain(&'static str, Option<Box<Self>>);

        impl fmt::Display for Chain {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        impl Error for Chain {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|cause| cause as _)
            }
        }

        let cause = Chain("Error code 5: database is locked", None);
        let error = Chain("database is locked", Some(Box::new(cause)));
        assert_eq!(
            Failure::unavailable("it cannot be opened")
                .caused_by(&error)
                .to_string(),
            "it cannot be opened: database is locked"
        );
    }
}
