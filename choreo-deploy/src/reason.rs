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

impl ReasonCode {
    /// Whether waiting does not help: the image, the credential or the configuration must change.
    ///
    /// A task's container that cannot start for such a reason waits for ever by itself, so its run
    /// is ended.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        matches!(
            self,
            Self::AdmissionRefused
                | Self::ConfigurationMissing
                | Self::ExecFormat
                | Self::ImageNotFound
                | Self::ImagePlatformMismatch
                | Self::RegistryCredentialRefused
                | Self::RegistryPullDenied
                | Self::RunAsRoot
        )
    }
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
        // Far more than is kept, so that reading it is no work whatever its length.
        let read = end_of(text, 8 * Self::LIMIT);
        let cut = read.len() < text.len();
        Self(bounded(&redacted(read, cut)))
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

/// The text shown. Of a first word that is cut nobody knows what it is.
fn redacted(text: &str, is_cut: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut hide_next = is_cut;
    for word in text.split_inclusive(|c: char| c.is_whitespace()) {
        let (body, space) = match word.char_indices().last() {
            Some((at, last)) if last.is_whitespace() => word.split_at(at),
            _ => (word, ""),
        };
        if !hide_next || body.is_empty() || is_scheme(body) {
            hide_next = push_word(&mut out, body) || (hide_next && body.is_empty());
        } else {
            out.push_str("<redacted>");
            hide_next = false;
        }
        out.extend(space.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    }
    out.trim_end().to_owned()
}

/// Shows what may be shown of a word. Says whether the next word is a secret.
fn push_word(out: &mut String, mut word: &str) -> bool {
    while let Some(at) = word.find("://") {
        word = push_url(out, word.split_at(at + 3));
        if word.is_empty() {
            return false;
        }
    }
    if let Some((name, value)) = secret_in(word) {
        push_opaque(out, name);
        return if value.is_empty() || is_scheme(value) {
            push_opaque(out, value);
            // `token: unexpected status` is a sentence, `password: …` is not.
            is_scheme(value) || names(name, &["password", "passwd", "authorization"])
        } else {
            out.push_str("<redacted>");
            false
        };
    }
    push_opaque(out, word);
    is_scheme(word) || (word.starts_with("--") && names(word, SECRETS))
}

/// Shows a URL without user information and query. Returns the next one in the word.
fn push_url<'a>(out: &mut String, (scheme, rest): (&str, &'a str)) -> &'a str {
    let rest = without_user(rest);
    let path_end = rest.find(['?', '#']).unwrap_or(rest.len());
    // One URL may follow another, `a://b,c://d`. A comma in a query ends nothing.
    let next = rest[..path_end]
        .find([',', ';', '|'])
        .filter(|at| rest[*at..].contains("://"));
    push_opaque(out, scheme);
    if let Some(next) = next {
        push_opaque(out, &rest[..next]);
        return &rest[next..];
    }
    let (shown, query) = rest.split_at(path_end);
    push_opaque(out, shown);
    // What closes the URL in a sentence stays: `GET "https://…?x=1":`
    let closes = |c: char| matches!(c, '"' | '\'' | ':' | ')' | ',');
    let closing = query.trim_start_matches(|c: char| !closes(c));
    if closing.chars().all(closes) {
        push_opaque(out, closing);
    }
    ""
}

/// What follows the user information. A password may hold a slash, and what then looks like a port
/// is no number.
fn without_user(rest: &str) -> &str {
    let end = rest.find(['/', '?', '#', '"']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if let Some((_, host)) = authority.rsplit_once('@') {
        return &rest[authority.len() - host.len()..];
    }
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match (authority.rsplit_once(':'), tail.split_once('@')) {
        (Some((_, port)), Some((_, host))) if !is_port(port) && !authority.starts_with('[') => host,
        _ => rest,
    }
}

/// The first `name=` or `name:` of a word that names a secret, up to and with its sign, and what
/// follows.
fn secret_in(word: &str) -> Option<(&str, &str)> {
    word.match_indices(['=', ':']).find_map(|(at, sign)| {
        let (before, value) = (&word[..at], &word[at + 1..]);
        let name = before.trim_end_matches(['"', '\'']);
        let start = name.trim_end_matches(|c: char| c.is_alphanumeric() || "_-.".contains(c));
        // The tag of an image follows a colon too: `shop/issue-token:1.4`.
        let is_image = sign == ":" && start.ends_with('/');
        (names(name, SECRETS) && !is_image).then(|| (&word[..=at], value))
    })
}

const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "token",
    "secret",
    "authorization",
    "credential",
];

/// Whether a name, with the sign after it or not, ends in one of these words.
fn names(name: &str, words: &[&str]) -> bool {
    let name = name
        .trim_end_matches(['=', ':', '"', '\''])
        .to_ascii_lowercase();
    words.iter().any(|word| name.ends_with(word))
}

/// Whether a word ends in the name of an authentication scheme, which a secret follows.
fn is_scheme(word: &str) -> bool {
    let word = word.trim_end_matches(['"', '\'', ':', '=']);
    let start = word.trim_end_matches(|c: char| c.is_ascii_alphanumeric());
    ["bearer", "basic"]
        .iter()
        .any(|scheme| word[start.len()..].eq_ignore_ascii_case(scheme))
}

/// Shows a text without control characters, and without long opaque tokens.
fn push_opaque(out: &mut String, text: &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-+=".contains(c);
    let mut rest = text;
    while !rest.is_empty() {
        let other = rest.find(is_part).unwrap_or(rest.len());
        out.extend(rest[..other].chars().filter(|c| !c.is_control()));
        rest = &rest[other..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        out.push_str(if is_opaque(run) { "<redacted>" } else { run });
        rest = after;
    }
}

/// Whether it looks drawn by lot: capitals, small letters and digits in a long row, or the
/// beginning of a known kind of token. Digests, UUIDs and names of pods have no capitals, names of
/// classes hardly a digit.
fn is_opaque(run: &str) -> bool {
    let count = |is: fn(&u8) -> bool| run.bytes().filter(is).count();
    let is_mixed = count(u8::is_ascii_uppercase) > 0
        && count(u8::is_ascii_lowercase) > 0
        && count(u8::is_ascii_digit) > 1;
    let is_known = TOKEN_PREFIXES.iter().any(|prefix| run.starts_with(prefix));
    (run.len() >= 32 && is_mixed) || (run.len() >= 20 && is_known)
}

/// A deploy token, a JSON web token, and those of GitHub, GitLab and Docker Hub.
const TOKEN_PREFIXES: [&str; 8] = [
    "chd_",
    "eyJ",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "dckr_pat_",
];

fn bounded(text: &str) -> String {
    if text.len() <= Evidence::LIMIT {
        return text.to_owned();
    }
    let mark = "… ";
    format!("{mark}{}", end_of(text, Evidence::LIMIT - mark.len()))
}

/// The last characters that fit into so many bytes.
fn end_of(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
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
            ("password: hunter2", "password: <redacted>"),
            (
                "--password hunter2 --quiet",
                "--password <redacted> --quiet",
            ),
            (
                r#"{"auths":{"r":{"password":"hunter2","user":"u"}}}"#,
                r#"{"auths":{"r":{"password":<redacted>"#,
            ),
            (
                r#"{"authorization":"Bearer hunter2"}"#,
                r#"{"authorization":"Bearer <redacted>"#,
            ),
            (
                "Authorization:Bearer hunter2",
                "Authorization:Bearer <redacted>",
            ),
            ("user=me,password=hunter2", "user=me,password=<redacted>"),
            (
                "https://a.example/x,https://u:hunter2@b.example/y",
                "https://a.example/x,https://b.example/y",
            ),
            ("https://u:hun/ter2@b.example/y", "https://b.example/y"),
            (
                "got ghp_16C7e42F292c6912E7710c838347Ae178B4a.",
                "got <redacted>.",
            ),
            (
                "token_type=x eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln",
                "token_type=x <redacted>.<redacted>.c2ln",
            ),
            // Digests, ids and the names of pods are what people need to see.
            (
                "r.example/app@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
                "r.example/app@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            ),
            (
                "pod orders-development-7c9d8b6f5d-x2x4z of 6f1c2f0e-8a55-4a0e-9f0b-0c1d2e3f4a5b",
                "pod orders-development-7c9d8b6f5d-x2x4z of 6f1c2f0e-8a55-4a0e-9f0b-0c1d2e3f4a5b",
            ),
            (
                "ReplicaFailureBecauseTheSecretNameIsMissingInTheNamespace",
                "ReplicaFailureBecauseTheSecretNameIsMissingInTheNamespace",
            ),
            (
                "unauthorized: the token is not valid",
                "unauthorized: the token is not valid",
            ),
            (
                "secret \"orders-pull\" was not found",
                "secret \"orders-pull\" was not found",
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

    #[test]
    fn evidence_of_any_length_is_read_at_once() {
        for word in ["a://,", "=:", "a:b@", "token=", "Bearer "] {
            let evidence = Evidence::from_untrusted(&word.repeat(1_000_000));
            assert!(evidence.as_str().len() <= Evidence::LIMIT, "{word}");
        }
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
