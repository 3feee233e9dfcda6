//! Reasons: why something is not as it should be, in words that a developer can act on.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// A reason in one sentence.
    #[must_use]
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: None,
            evidence: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
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
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ReasonCode {
            /// Every code, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is stored and sent.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
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
    /// The program in the image is for another processor.
    ExecFormat = "exec-format",
    /// The registry has no such image.
    ImageNotFound = "image-not-found",
    /// The image is for other platforms than the data plane's.
    ImagePlatformMismatch = "image-platform-mismatch",
    /// The image cannot be pulled, for a reason that is not known better.
    ImagePullFailed = "image-pull-failed",
    /// Another deployment of the target took its place.
    NewerDeployment = "newer-deployment",
    /// The container used more memory than it may.
    OutOfMemory = "out-of-memory",
    /// The container runs but does not become ready.
    ProbeFailing = "probe-failing",
    /// It took longer than it may.
    ProgressDeadlineExceeded = "progress-deadline-exceeded",
    /// The registry does not accept the credential.
    RegistryCredentialRefused = "registry-credential-refused",
    /// The component's registry is not registered any more.
    RegistryMissing = "registry-missing",
    /// The credential may not pull this image, or there is no such image: the registry does not say.
    RegistryPullDenied = "registry-pull-denied",
    /// The registry has answered too often.
    RegistryRateLimited = "registry-rate-limited",
    /// The registry's certificate is not trusted.
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
    /// No node has room for it.
    Unschedulable = "unschedulable",
    /// It is on its way.
    Waiting = "waiting",
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a machine reported, kept for people: bounded, without control characters, and with whatever
/// looks like a credential taken out.
///
/// Container runtimes put whole URLs into their messages, and URLs carry tokens and signatures.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(String);

impl Evidence {
    /// The most bytes that are kept; the beginning gives way, because causes stand at the end.
    pub const LIMIT: usize = 2048;

    /// Takes a text from outside: URLs lose user information and query, authorization values and
    /// long opaque tokens are replaced by `<redacted>`.
    ///
    /// ```
    /// use choreo_deploy::reason::Evidence;
    ///
    /// let evidence = Evidence::from_untrusted(
    ///     "GET https://user:pw@r.example/v2/?sig=abc: Authorization: Bearer ey.secret",
    /// );
    /// assert_eq!(evidence.as_str(), "GET https://r.example/v2/: Authorization: Bearer <redacted>");
    /// ```
    #[must_use]
    pub fn from_untrusted(text: &str) -> Self {
        Self(bounded(&redacted(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut hide_next = false;
    for word in text.split_inclusive(|c: char| c.is_whitespace()) {
        let (body, space) = match word.char_indices().last() {
            Some((at, last)) if last.is_whitespace() => word.split_at(at),
            _ => (word, ""),
        };
        if hide_next && !body.is_empty() {
            out.push_str("<redacted>");
            hide_next = false;
        } else {
            push_word(&mut out, body);
        }
        let lower = body
            .trim_matches(['"', '\'', ':', '='])
            .to_ascii_lowercase();
        hide_next |= matches!(lower.as_str(), "bearer" | "basic");
        out.extend(space.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    }
    out.trim_end().to_owned()
}

fn push_word(out: &mut String, word: &str) {
    let visible = |out: &mut String, text: &str| {
        out.extend(text.chars().filter(|c| !c.is_control()));
    };
    let Some(at) = word.find("://") else {
        return match word.split_once('=') {
            Some((name, value)) if names_a_secret(name) && !value.is_empty() => {
                visible(out, name);
                out.push_str("=<redacted>");
            }
            _ => visible(out, word),
        };
    };
    let (scheme, rest) = word.split_at(at + 3);
    let end = rest.find(['/', '?', '#', '"']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let path_end = tail.find(['?', '#']).unwrap_or(tail.len());
    let (path, query) = tail.split_at(path_end);
    visible(out, scheme);
    visible(out, host);
    visible(out, path);
    // What closes the URL in a sentence stays: `GET "https://…?x=1":`
    let closing = query.trim_start_matches(|c: char| !matches!(c, '"' | '\'' | ':' | ')' | ','));
    if closing
        .chars()
        .all(|c| matches!(c, '"' | '\'' | ':' | ')' | ','))
    {
        visible(out, closing);
    }
}

fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "token",
        "secret",
        "authorization",
        "credential",
    ]
    .iter()
    .any(|word| name.ends_with(word))
}

fn bounded(text: &str) -> String {
    if text.len() <= Evidence::LIMIT {
        return text.to_owned();
    }
    let mark = "… ";
    let mut start = text.len() - (Evidence::LIMIT - mark.len());
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!("{mark}{}", &text[start..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        for (i, code) in ReasonCode::ALL.iter().enumerate() {
            let text = code.as_str();
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{text}"
            );
            assert!(
                ReasonCode::ALL[..i]
                    .iter()
                    .all(|other| other.as_str() != text),
                "{text}"
            );
            assert_eq!(serde_json::to_value(code).unwrap(), text);
        }
    }

    #[test]
    fn evidence_loses_what_looks_like_a_credential() {
        for (text, shown) in [
            ("https://u:hunter2@r.example/v2/", "https://r.example/v2/"),
            (
                "Head \"https://r.example/v2/app?X-Amz-Signature=abc\": 403 Forbidden",
                "Head \"https://r.example/v2/app\": 403 Forbidden",
            ),
            (
                "authorization: Basic dXNlcjpwYXNz next",
                "authorization: Basic <redacted> next",
            ),
            (
                "login with password=hunter2 failed",
                "login with password=<redacted> failed",
            ),
            (
                "back-off pulling image \"r/app:1\"",
                "back-off pulling image \"r/app:1\"",
            ),
        ] {
            assert_eq!(Evidence::from_untrusted(text).as_str(), shown);
        }
    }

    #[test]
    fn evidence_keeps_its_end() {
        let text = format!("{}the cause", "x".repeat(5000));
        let evidence = Evidence::from_untrusted(&text);
        assert!(evidence.as_str().ends_with("the cause"));
        assert!(evidence.as_str().len() <= Evidence::LIMIT);
    }

    proptest! {
        #[test]
        fn evidence_is_bounded_and_never_panics(text in ".{0,3000}") {
            let evidence = Evidence::from_untrusted(&text);
            prop_assert!(evidence.as_str().len() <= Evidence::LIMIT);
            prop_assert!(!evidence.as_str().chars().any(|c| c.is_control() && c != '\n'));
        }

        #[test]
        fn evidence_never_shows_a_query_or_a_password(secret in "[A-Za-z0-9]{12,40}") {
            for text in [
                format!("Get \"https://r.example/v2/?token={secret}\": EOF"),
                format!("https://me:{secret}@r.example/x"),
                format!("Bearer {secret}"),
                format!("password={secret}"),
            ] {
                let evidence = Evidence::from_untrusted(&text);
                prop_assert!(!evidence.as_str().contains(&secret), "{}", evidence);
            }
        }
    }
}
