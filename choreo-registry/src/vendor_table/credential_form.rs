//! Forms of credentials: which user name belongs to which password, and when it expires.

use std::borrow::Cow;
use std::time::Duration;

use super::refusal::CredentialRefusal;
use super::{google, wildcard};
use crate::Credential;
use crate::finding::Code;

/// A form of a vendor's credentials.
///
/// In the patterns, `*` matches any number of characters, also none, and `?` matches one. Blanks
/// around a password are ignored.
///
/// ```
/// use std::time::Duration;
///
/// use choreo_registry::Credential;
/// use choreo_registry::vendor_table::CredentialForm;
///
/// let robot = CredentialForm::new("robot$*", "*")
///     .with_description("`robot$<name>`", "the robot's secret")
///     .with_lifetime(Duration::from_secs(3600));
/// assert!(robot.matches(&Credential::new("robot$ci", "hunter2")?));
/// assert!(!robot.matches(&Credential::new("alice", "hunter2")?));
/// assert_eq!(robot.username(), "`robot$<name>`");
/// assert_eq!(robot.password(), "the robot's secret");
/// assert_eq!(robot.lifetime(), Some(Duration::from_secs(3600)));
/// assert!(robot.is_accepted());
/// # Ok::<(), choreo_registry::credential::CredentialError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialForm {
    username_like: Cow<'static, str>,
    password_like: Password,
    username: Cow<'static, str>,
    password: Cow<'static, str>,
    lifetime: Option<Duration>,
    pub(super) verdict: Verdict,
}

impl CredentialForm {
    /// Creates a form that the vendor accepts, from a pattern for the user name and one for the
    /// password.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        let (username, password) = (username.into(), password.into());
        Self {
            username: shown(&username, "any").into(),
            password: shown(&password, "any").into(),
            username_like: username.into(),
            password_like: Password::Like(password.into()),
            lifetime: None,
            verdict: Verdict::Accepted,
        }
    }

    /// Sets the Markdown with which tables show the user name and the password.
    #[must_use]
    pub fn with_description(
        mut self,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.username = username.into().into();
        self.password = password.into().into();
        self
    }

    /// Sets the time from the creation of such a password to its expiry.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Returns the user name, as tables show it.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Returns what the password is, as tables show it.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Returns the lifetime of such a password by the vendor's rules; `None` if it is valid until
    /// it is revoked or until a date that its owner chose.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Returns `true` if registries accept the form; the other forms exist to explain the
    /// rejection.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.verdict == Verdict::Accepted
    }

    /// Returns `true` if the credential has this form.
    #[must_use]
    pub fn matches(&self, credential: &Credential) -> bool {
        let password = credential.expose_password().trim();
        wildcard::is_like(&self.username_like, credential.username())
            && match &self.password_like {
                Password::Like(pattern) => wildcard::is_like(pattern, password),
                Password::Key => google::is_key(password),
                Password::KeyInBase64 => google::is_key_in_base64(password),
            }
    }
}

/// The condition that a password must satisfy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Password {
    /// A Google service account key.
    Key,
    /// The same key in base64.
    KeyInBase64,
    Like(Cow<'static, str>),
}

/// The result for a credential of a form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Accepted,
    Doubtful {
        code: Code,
        message: &'static str,
        help: &'static str,
    },
    Refused(CredentialRefusal),
}

/// A form in the built-in table.
pub(super) struct Form {
    username: &'static str,
    password: Secret,
    shown: (&'static str, &'static str),
    hours: u64,
    verdict: Verdict,
}

/// [`Password`], for constants.
pub(super) enum Secret {
    Key,
    KeyInBase64,
    Like(&'static str),
}

pub(super) const ANY: Secret = Secret::Like("*");

/// Creates a form that works, with its user name and password as tables show them.
pub(super) const fn accepts(
    username: &'static str,
    password: Secret,
    shown: (&'static str, &'static str),
) -> Form {
    Form {
        username,
        password,
        shown,
        hours: 0,
        verdict: Verdict::Accepted,
    }
}

/// Creates a form that probably does not work.
pub(super) const fn doubts(
    username: &'static str,
    password: Secret,
    code: Code,
    (message, help): (&'static str, &'static str),
) -> Form {
    Form {
        username,
        password,
        shown: ("", ""),
        hours: 0,
        verdict: Verdict::Doubtful {
            code,
            message,
            help,
        },
    }
}

/// Creates a form that can never work.
pub(super) const fn refuses(
    username: &'static str,
    password: Secret,
    refusal: CredentialRefusal,
) -> Form {
    Form {
        username,
        password,
        shown: ("", ""),
        hours: 0,
        verdict: Verdict::Refused(refusal),
    }
}

impl Form {
    /// Returns the same form, for passwords that expire after this many hours.
    pub(super) const fn hours(self, hours: u64) -> Self {
        Self { hours, ..self }
    }
}

impl From<&'static Form> for CredentialForm {
    fn from(form: &'static Form) -> Self {
        let &Form {
            username,
            ref password,
            shown,
            hours,
            verdict,
        } = form;
        Self {
            username_like: username.into(),
            password_like: match *password {
                Secret::Key => Password::Key,
                Secret::KeyInBase64 => Password::KeyInBase64,
                Secret::Like(pattern) => Password::Like(pattern.into()),
            },
            username: shown.0.into(),
            password: shown.1.into(),
            lifetime: (hours > 0).then(|| Duration::from_secs(hours * 3600)),
            verdict,
        }
    }
}

fn shown(pattern: &str, any: &str) -> String {
    if pattern == "*" {
        any.to_owned()
    } else {
        format!("`{pattern}`")
    }
}
