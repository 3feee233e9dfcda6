//! Reasons for the state of a rollout, a run or a deployment, which a developer can act on.

mod evidence;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code::codes;

pub use self::evidence::{Evidence, printable};

/// A reason for the state of a rollout, a run or a deployment.
///
/// It has a code for programs, a sentence for people, a help text and evidence. It contains no
/// secrets: evidence is redacted by [`Evidence::from_untrusted`].
///
/// ```
/// use choreo_deploy::reason::{Evidence, Reason, ReasonCode};
///
/// let reason = Reason::new(ReasonCode::ImageNotFound, "image registry.example.com/app:2 does not exist")
///     .with_help("check the tag, or push the image first")
///     .with_evidence(Evidence::from_untrusted("manifest unknown"));
/// assert_eq!(reason.code.as_str(), "image-not-found");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reason {
    /// The kind of the reason.
    pub code: ReasonCode,
    /// One sentence, without a trailing period.
    pub message: String,
    /// The next action of the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The report that the reason is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

impl Reason {
    /// Creates a reason from one sentence. Control characters are removed, because the sentence may
    /// contain names of objects on the data plane.
    #[must_use]
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: plain(message),
            help: None,
            evidence: None,
        }
    }

    /// Sets the help text.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(plain(help)),
            ..self
        }
    }

    /// Sets the evidence.
    #[must_use]
    pub fn with_evidence(self, evidence: Evidence) -> Self {
        Self {
            evidence: Some(evidence),
            ..self
        }
    }
}

/// Returns a text as one printable line.
pub(crate) fn plain(text: impl Into<String>) -> String {
    let text = text.into();
    match printable(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(plain) => plain,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, ": {help}"),
            None => Ok(()),
        }
    }
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The kind of a reason. It is stable, for programs.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[$doc])* $name,)*
        }

        codes!(ReasonCode, "reason", { $($name = $text,)* });
    };
}

reason_codes! {
    /// The data plane rejected an object, because of a policy, a quota or a schema.
    AdmissionRefused = "admission-refused",
    /// The data plane cannot be reached.
    BackendUnreachable = "backend-unreachable",
    /// A Secret, ConfigMap or key of the workload does not exist on the data plane.
    ConfigurationMissing = "configuration-missing",
    /// The container exits repeatedly.
    ContainerCrashed = "container-crashed",
    /// The container could not be created or started.
    ContainerStartFailed = "container-start-failed",
    /// The stored credential of the registry cannot be opened.
    CredentialUnavailable = "credential-unavailable",
    /// A prerequisite of the target, such as its namespace, does not exist on the data plane.
    EnvironmentMissing = "environment-missing",
    /// The program in the image is for another processor.
    ExecFormat = "exec-format",
    /// The registry has no such image.
    ImageNotFound = "image-not-found",
    /// The image does not support the platforms of the data plane.
    ImagePlatformMismatch = "image-platform-mismatch",
    /// The image cannot be pulled, and the cause is unknown.
    ImagePullFailed = "image-pull-failed",
    /// A node is pulling the image, or waits until it can pull it.
    ImagePulling = "image-pulling",
    /// A fault of the control plane itself. Its log has the details.
    InternalError = "internal-error",
    /// The target moved, and the workload at its previous place was removed or is being removed.
    Moved = "moved",
    /// A newer deployment of the target replaced this one.
    NewerDeployment = "newer-deployment",
    /// A failed deployment could not be taken back, or a late run could not be stopped: it may still
    /// be on the data plane.
    NotTakenBack = "not-taken-back",
    /// The container exceeded its memory limit.
    OutOfMemory = "out-of-memory",
    /// The rollout was paused on the data plane.
    Paused = "paused",
    /// The control plane has no permission for a call on the data plane.
    PermissionMissing = "permission-missing",
    /// The container runs but does not become ready.
    ProbeFailing = "probe-failing",
    /// The deadline is over.
    ProgressDeadlineExceeded = "progress-deadline-exceeded",
    /// The registry requires a credential and received none.
    RegistryCredentialMissing = "registry-credential-missing",
    /// The registry rejects the credential.
    RegistryCredentialRefused = "registry-credential-refused",
    /// The component's registry is no longer registered.
    RegistryMissing = "registry-missing",
    /// The credential has no permission to pull this image, or the image does not exist. The registry
    /// does not distinguish the two.
    RegistryPullDenied = "registry-pull-denied",
    /// The registry limits the rate of requests.
    RegistryRateLimited = "registry-rate-limited",
    /// The registry's certificate is not trusted, or the registry uses plain HTTP.
    RegistryTls = "registry-tls",
    /// The registry cannot be reached, or its answers are not those of a registry.
    RegistryUnreachable = "registry-unreachable",
    /// The image runs as root or as a user with an unknown number, which the data plane forbids.
    RunAsRoot = "run-as-root",
    /// A run ended with an exit code other than 0.
    RunFailed = "run-failed",
    /// A run was cancelled.
    RunCancelled = "run-cancelled",
    /// Nothing runs because the target is suspended.
    Suspended = "suspended",
    /// A failed deployment was taken back: the release that was ready before runs, or nothing does.
    TakenBack = "taken-back",
    /// No node can run it.
    Unschedulable = "unschedulable",
    /// It is in progress.
    Waiting = "waiting",
}
