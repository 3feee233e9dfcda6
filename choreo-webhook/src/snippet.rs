//! Ready-made steps for CI systems: they deploy an image and end with the deployment's outcome.
//!
//! All are generated from one [`Snippet`] and share one shell script, so that they treat secrets,
//! retries and outcomes alike:
//!
//! - The token comes from an environment variable and reaches curl through a pipe. It is in no
//!   command line, no URL, no file and no trace.
//! - Only `https` is spoken, and redirects are not followed: a redirect that curl takes for success
//!   would be a step that is green and deploys nothing.
//! - Whatever passes is tried again until the step's patience ends: connections that are refused,
//!   reset or cut, and answers that are not the webhook's, such as a proxy's 404 or 502. After a
//!   proxy gave up waiting, the step waits half as long at a time. Only a foreign 4xx to the POST
//!   ends the step after 2 minutes: the URL is wrong then.
//! - A retry sends the same idempotency key, so it never deploys twice.
//! - The exit status is the outcome: see [`ExitStatus`].

mod github_actions;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use choreo_deploy::id::ComponentId;

use crate::BaseUrl;

/// What a CI step needs to know to deploy to a component.
///
/// ```
/// use choreo_webhook::Snippet;
/// use choreo_webhook::snippet::Ci;
///
/// let snippet = Snippet::new("https://cd.example.com".parse()?, "orders".parse()?);
/// let script = snippet.render(Ci::Curl);
/// assert!(script.starts_with("#!/bin/sh\n"));
/// assert!(script.contains("url='https://cd.example.com/v1/deployments'"));
///
/// let workflow = snippet.render(Ci::GitHubActions);
/// assert!(workflow.contains("CHOREO_TOKEN: ${{ secrets.CHOREO_TOKEN_ORDERS }}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snippet {
    base_url: BaseUrl,
    component: ComponentId,
    example: String,
    patience: Duration,
}

impl Snippet {
    /// A snippet that deploys to a component through the webhook at this URL.
    #[must_use]
    pub fn new(base_url: BaseUrl, component: ComponentId) -> Self {
        let example = format!("registry.example.com/shop/{component}:1.4.0");
        Self {
            base_url,
            component,
            example,
            patience: Duration::from_secs(15 * 60),
        }
    }

    /// Shows the component's own registry and repository in the instructions.
    #[must_use]
    pub fn with_example_image(self, image: &choreo_registry::ImageReference) -> Self {
        Self {
            example: image.to_string(),
            ..self
        }
    }

    /// How long the step waits for the outcome; 15 minutes by default, whole seconds. Choose it
    /// longer than the component's progress deadline, so that the platform's reason comes first.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The text to copy.
    #[must_use]
    pub fn render(&self, ci: Ci) -> String {
        match ci {
            Ci::Curl => format!("#!/bin/sh\n{}", self.script()),
            Ci::GitHubActions => github_actions::render(self),
        }
    }

    /// The script that all CI systems share.
    fn script(&self) -> String {
        // None of these values holds a character that shells or `@…@` give a meaning to.
        include_str!("snippet/deploy.sh")
            .replace("@COMPONENT@", self.component.as_str())
            .replace("@EXAMPLE@", &self.example)
            .replace("@SCHEME@", self.base_url.scheme())
            .replace("@PATIENCE@", &self.patience.as_secs().to_string())
            .replace("@BASE_URL@", self.base_url.as_str())
    }
}

macro_rules! cis {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A CI system.
        ///
        /// ```
        /// use choreo_webhook::snippet::Ci;
        ///
        /// assert_eq!("github-actions".parse::<Ci>()?, Ci::GitHubActions);
        /// assert_eq!(Ci::Curl.to_string(), "curl");
        /// assert_eq!(
        ///     "jenkins".parse::<Ci>().unwrap_err().to_string(),
        ///     "CI system \"jenkins\" is not known: use one of curl, github-actions",
        /// );
        /// # Ok::<(), choreo_webhook::snippet::ParseCiError>(())
        /// ```
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Ci {
            $($(#[$doc])* $name,)*
        }

        impl Ci {
            /// Every CI system, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name, as it is parsed.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

cis! {
    /// Any CI system that runs a shell: a script for POSIX `sh` that needs `curl`.
    Curl = "curl",
    /// GitHub Actions: a workflow that other workflows call after they have pushed the image.
    GitHubActions = "github-actions",
}

impl fmt::Display for Ci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Ci {
    type Err = ParseCiError;

    fn from_str(text: &str) -> Result<Self, ParseCiError> {
        let known = Self::ALL.iter().find(|ci| ci.as_str() == text);
        known.copied().ok_or_else(|| ParseCiError {
            text: text.chars().take(64).collect(),
        })
    }
}

/// Why a text is no CI system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseCiError {
    text: String,
}

impl fmt::Display for ParseCiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Ci::ALL.iter().map(|ci| ci.as_str()).collect();
        write!(
            f,
            "CI system {:?} is not known: use one of {}",
            self.text,
            known.join(", ")
        )
    }
}

impl std::error::Error for ParseCiError {}

/// How a step ends: the same for every CI system.
///
/// ```
/// use choreo_webhook::snippet::ExitStatus;
///
/// assert_eq!(ExitStatus::Ready.code(), 0);
/// assert_eq!(ExitStatus::Superseded.code(), 3);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
#[repr(u8)]
pub enum ExitStatus {
    /// 0: the component runs the image.
    Ready = 0,
    /// 1: it cannot succeed; the reasons are in the output.
    Failed = 1,
    /// 2: an environment variable is missing or wrong. Nothing was sent.
    WrongUse = 2,
    /// 3: a newer deployment took its place. Nothing is wrong.
    Superseded = 3,
    /// 4: the target takes nothing from CI since a rollback.
    Held = 4,
    /// 5: not ready by the platform's deadline, or longer than the step's patience.
    TimedOut = 5,
    /// 6: the token, the image or the request is refused; the problem is in the output.
    Refused = 6,
    /// 7: the server does not answer, not now or not as choreo does.
    NoAnswer = 7,
}

impl ExitStatus {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}
