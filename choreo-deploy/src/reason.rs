//! Reasons: why something is not as it should be, in words that a developer can act on.

mod evidence;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code::codes;

pub use self::evidence::{Evidence, printable};

/// Why a rollout, a run or a deployment stands where it does.
///
/// A code for machines, a sentence for people, what to do, and what was seen. No secret is in it:
/// evidence goes through [`Evidence::from_untrusted`].
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
    /// What kind of reason.
    pub code: ReasonCode,
    /// One sentence, without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What was seen, as it was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

impl Reason {
    /// A reason in one sentence. Control characters are removed from it, because names of objects
    /// on the data plane may be in it.
    #[must_use]
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: plain(message),
            help: None,
            evidence: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(plain(help)),
            ..self
        }
    }

    /// Adds what was seen.
    #[must_use]
    pub fn with_evidence(self, evidence: Evidence) -> Self {
        Self {
            evidence: Some(evidence),
            ..self
        }
    }
}

/// A text of one line as it is shown.
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
        /// What kind of reason: stable, for machines.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[$doc])* $name,)*
        }

        codes!(ReasonCode, "reason", { $($name = $text,)* });
    };
}

reason_codes! {
    /// The data plane refused an object: a policy, a quota or a schema.
    AdmissionRefused = "admission-refused",
    /// The data plane cannot be reached.
    BackendUnreachable = "backend-unreachable",
    /// A Secret, ConfigMap or key that the workload names is not on the data plane.
    ConfigurationMissing = "configuration-missing",
    /// The container ended, again and again.
    ContainerCrashed = "container-crashed",
    /// The container could not be made or started.
    ContainerStartFailed = "container-start-failed",
    /// The stored credential of the registry cannot be opened.
    CredentialUnavailable = "credential-unavailable",
    /// What the target needs before it is applied, such as its namespace, is not on the data plane.
    EnvironmentMissing = "environment-missing",
    /// The program in the image is for another processor.
    ExecFormat = "exec-format",
    /// The registry has no such image.
    ImageNotFound = "image-not-found",
    /// The image is for other platforms than the data plane's.
    ImagePlatformMismatch = "image-platform-mismatch",
    /// The image cannot be pulled, for a reason that is not known better.
    ImagePullFailed = "image-pull-failed",
    /// A node is still pulling the image, or waits for its turn to pull it.
    ImagePulling = "image-pulling",
    /// A fault of the control plane itself; its log says more.
    InternalError = "internal-error",
    /// It moved, and what ran at its old place was removed or is being removed.
    Moved = "moved",
    /// Another deployment of the target took its place.
    NewerDeployment = "newer-deployment",
    /// A failed deployment could not be taken back, or a late run could not be stopped: it may still
    /// be on the data plane.
    NotTakenBack = "not-taken-back",
    /// The container used more memory than it may.
    OutOfMemory = "out-of-memory",
    /// Somebody paused the rollout on the data plane.
    Paused = "paused",
    /// The control plane may not do this on the data plane.
    PermissionMissing = "permission-missing",
    /// The container runs but does not become ready.
    ProbeFailing = "probe-failing",
    /// It took longer than it may.
    ProgressDeadlineExceeded = "progress-deadline-exceeded",
    /// The registry asks for a credential and got none.
    RegistryCredentialMissing = "registry-credential-missing",
    /// The registry does not accept the credential.
    RegistryCredentialRefused = "registry-credential-refused",
    /// The component's registry is not registered any more.
    RegistryMissing = "registry-missing",
    /// The credential may not pull this image, or there is no such image: the registry does not say.
    RegistryPullDenied = "registry-pull-denied",
    /// The registry has answered too often.
    RegistryRateLimited = "registry-rate-limited",
    /// The registry's certificate is not trusted, or it speaks plain HTTP.
    RegistryTls = "registry-tls",
    /// The registry cannot be reached or does not answer as one.
    RegistryUnreachable = "registry-unreachable",
    /// The image runs as root, or as a user whose number is not known, where that is forbidden.
    RunAsRoot = "run-as-root",
    /// A run ended with an exit code other than 0.
    RunFailed = "run-failed",
    /// A run was stopped by somebody.
    RunCancelled = "run-cancelled",
    /// Nothing runs because the target is suspended.
    Suspended = "suspended",
    /// What failed was taken back: what was ready before runs, or nothing does.
    TakenBack = "taken-back",
    /// No node can take it.
    Unschedulable = "unschedulable",
    /// It is on its way.
    Waiting = "waiting",
}
