use std::fmt;

use choreo_registry::finding::{Code, Finding};
use serde::Serialize;

use crate::config::{Login, RegistryEntry};

/// A finding: it may be intended, or a mistake.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Doubt {
    /// The path in the configuration.
    pub(super) path: String,
    /// The kind. It is stable, for programs.
    pub(super) code: &'static str,
    /// `info` or `warning`.
    pub(super) severity: &'static str,
    pub(super) message: String,
    /// The action that resolves it.
    pub(super) help: String,
}

impl Doubt {
    pub(super) fn warning(
        path: impl Into<String>,
        code: &'static str,
        (message, help): (impl Into<String>, impl Into<String>),
    ) -> Self {
        Self {
            path: path.into(),
            code,
            severity: "warning",
            message: message.into(),
            help: help.into(),
        }
    }

    /// Creates a doubt from a finding about a registry, at the field that it is about.
    pub(super) fn of_registry(entry: &RegistryEntry, finding: &Finding) -> Self {
        let (path, field) = (&entry.path, field(finding.code(), &entry.login));
        Self {
            path: format!("{path}.{field}"),
            code: finding.code().as_str(),
            severity: finding.severity().as_str(),
            message: finding.message().to_owned(),
            help: finding.help().to_owned(),
        }
    }
}

fn field(code: Code, login: &Login) -> &'static str {
    let of_login = |field| match login {
        Login::DockerConfig(_) => "docker_config",
        _ => field,
    };
    match code {
        Code::Ipv6WithoutPort | Code::LoopbackHost | Code::WebSiteHost => "host",
        Code::DockerConfigConverted | Code::DockerConfigRepaired => "docker_config",
        Code::DockerHubEmailUsername
        | Code::TokenAsUsername
        | Code::UsernameMangled
        | Code::UsernameSurroundedByBlanks => of_login("username"),
        Code::AccountPassword
        | Code::EcrTokenUndecoded
        | Code::GhcrAppToken
        | Code::PasswordSurroundedByBlanks
        | Code::ShortLivedPassword
        | Code::TokenOfAnotherVendor => of_login("password"),
        _ => "authentication",
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            severity,
            message,
            help,
            ..
        } = self;
        write!(f, "{severity}: {path}: {message}; {help}")
    }
}
