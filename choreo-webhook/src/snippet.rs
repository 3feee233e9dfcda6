//! Ready-made steps for CI systems that deploy an image and end with the deployment's outcome.
//!
//! All are generated from one [`Snippet`] and share one shell script, so that they handle secrets,
//! retries and outcomes in the same way:
//!
//! - The token comes from an environment variable and reaches curl through a pipe. It does not
//!   appear in a command line, URL, file or trace.
//! - The script uses only `https` and does not follow redirects: if curl took a redirect for
//!   success, the step would pass without deploying anything.
//! - The script retries transient failures until the step's patience ends: connections that are
//!   refused, reset or cut, and responses that are not the webhook's, such as a proxy's 404 or 502.
//!   After a proxy's timeout, each request waits half as long. Only a foreign 4xx response to the
//!   POST ends the step after 2 minutes, because the URL is wrong then.
//! - A retry sends the same idempotency key, so it never deploys twice.
//! - The exit status is the outcome: see [`ExitStatus`].

mod github_actions;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use choreo_deploy::id::ComponentId;

use crate::BaseUrl;
use crate::token::{LENGTH, PREFIX};

/// The parameters of a CI step that deploys to a component.
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
    /// Creates a snippet that deploys to a component through the webhook at this URL.
    ///
    /// ```
    /// use choreo_webhook::Snippet;
    /// use choreo_webhook::snippet::Ci;
    ///
    /// let snippet = Snippet::new("https://cd.example.com".parse()?, "orders".parse()?);
    /// assert!(snippet.render(Ci::Curl).contains("https://cd.example.com/v1/deployments"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Sets the registry and repository that the instructions show.
    ///
    /// ```
    /// use choreo_webhook::Snippet;
    /// use choreo_webhook::snippet::Ci;
    ///
    /// let snippet = Snippet::new("https://cd.example.com".parse()?, "orders".parse()?)
    ///     .with_example_image(&"ghcr.io/acme/orders:1.4.0".parse()?);
    /// assert!(snippet.render(Ci::Curl).contains("ghcr.io/acme/orders:1.4.0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_example_image(self, image: &choreo_registry::ImageReference) -> Self {
        Self {
            example: image.to_string(),
            ..self
        }
    }

    /// Sets how long the step waits for the outcome; 15 minutes by default, in whole seconds.
    /// Choose a value longer than the component's progress deadline, so that the platform's reason
    /// comes first.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use choreo_webhook::Snippet;
    /// use choreo_webhook::snippet::Ci;
    ///
    /// let snippet = Snippet::new("https://cd.example.com".parse()?, "orders".parse()?)
    ///     .with_patience(Duration::from_secs(1800));
    /// assert!(snippet.render(Ci::Curl).contains("after 1800 seconds"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Returns the text to copy.
    ///
    /// ```
    /// use choreo_webhook::Snippet;
    /// use choreo_webhook::snippet::Ci;
    ///
    /// let snippet = Snippet::new("https://cd.example.com".parse()?, "orders".parse()?);
    /// assert!(snippet.render(Ci::GitHubActions).contains("workflow_call:"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn render(&self, ci: Ci) -> String {
        match ci {
            Ci::Curl => format!("#!/bin/sh\n{}", self.script()),
            Ci::GitHubActions => github_actions::render(self),
        }
    }

    /// Returns the script that all CI systems share.
    fn script(&self) -> String {
        // None of these values contains a character with a meaning in shells or in `@…@`.
        include_str!("snippet/deploy.sh")
            .replace("@COMPONENT@", self.component.as_str())
            .replace("@EXAMPLE@", &self.example)
            .replace("@PREFIX@", PREFIX)
            .replace("@LENGTH@", &LENGTH.to_string())
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
        ///     "CI system \"jenkins\" is unknown: use one of curl, github-actions",
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

            /// Returns its name, as it is parsed.
            ///
            /// ```
            /// use choreo_webhook::snippet::Ci;
            ///
            /// assert_eq!(Ci::GitHubActions.as_str(), "github-actions");
            /// ```
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

/// The error of a text that is not the name of a CI system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseCiError {
    text: String,
}

impl fmt::Display for ParseCiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Ci::ALL.iter().map(|ci| ci.as_str()).collect();
        write!(
            f,
            "CI system {:?} is unknown: use one of {}",
            self.text,
            known.join(", ")
        )
    }
}

impl std::error::Error for ParseCiError {}

/// The exit status of a step: the same for every CI system.
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
    /// 1: the deployment failed; the output contains the reasons.
    Failed = 1,
    /// 2: an environment variable is missing or not valid. Nothing was sent.
    WrongUse = 2,
    /// 3: a newer deployment superseded it. This is not an error.
    Superseded = 3,
    /// 4: the target does not accept deployments from CI since a rollback.
    Held = 4,
    /// 5: not ready within the platform's deadline or the step's patience.
    TimedOut = 5,
    /// 6: the token, the image or the request was rejected; the output contains the problem.
    Refused = 6,
    /// 7: the server does not respond, or not like choreo.
    NoAnswer = 7,
}

impl ExitStatus {
    /// Returns the number.
    ///
    /// ```
    /// use choreo_webhook::snippet::ExitStatus;
    ///
    /// assert_eq!(ExitStatus::TimedOut.code(), 5);
    /// ```
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}
