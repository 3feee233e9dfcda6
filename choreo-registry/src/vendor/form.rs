//! Forms of credentials: which user name goes with which password, and for how long it holds.

use std::borrow::Cow;
use std::time::Duration;

use super::refusal::CredentialRefusal;
use super::{google, like};
use crate::Credential;
use crate::finding::Code;

/// A form that a vendor's credentials have.
///
/// In the patterns, `*` stands for any characters, also none, and `?` for one. Blanks around a
/// password do not count.
///
/// ```
/// use std::time::Duration;
///
/// use choreo_registry::Credential;
/// use choreo_registry::vendor::CredentialForm;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialForm {
    username_like: Cow<'static, str>,
    password_like: Password,
    username: Cow<'static, str>,
    password: Cow<'static, str>,
    lifetime: Option<Duration>,
    pub(super) verdict: Verdict,
}

impl CredentialForm {
    /// A form that the vendor accepts, by a pattern for the user name and one for the password.
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

    /// Sets how tables show the user name and the password, in Markdown.
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

    /// Sets for how long such a password holds after it was made.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// The user name, as tables show it.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// What the password is, as tables show it.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// For how long such a password holds by the vendor's rules; `None` when it holds until
    /// somebody revokes it or until a date that its owner chose.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Whether registries accept the form; others stand in a row in order to be explained.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.verdict == Verdict::Accepted
    }

    /// Whether the credential has this form.
    #[must_use]
    pub fn matches(&self, credential: &Credential) -> bool {
        let password = credential.expose_password().trim();
        like::is_like(&self.username_like, credential.username())
            && match &self.password_like {
                Password::Like(pattern) => like::is_like(pattern, password),
                Password::Key => google::is_key(password),
                Password::KeyInBase64 => google::is_key_in_base64(password),
            }
    }
}

/// What a password has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Password {
    /// A service account key of Google.
    Key,
    /// The same in base64.
    KeyInBase64,
    Like(Cow<'static, str>),
}

/// What happens with a credential of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A form that works, and its user name and password as tables show them.
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

/// A form that probably does not work.
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

/// A form that can never work.
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
    /// The same, for passwords that hold for so many hours.
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
