//! The flags and exit statuses that `verify_access`, `resolve_image` and `list_tags` share.
//!
//! | exit status | meaning |
//! |---|---|
//! | 0 | the access works, or cannot be checked from here |
//! | 1 | the registry denies or hides the image |
//! | 2 | the usage is wrong |
//! | 3 | the host does not respond, or is not a registry |
//! | 4 | the egress policy blocks the connection |
//!
//! A password is read from standard input or from a docker config, never from an argument, because
//! every user of the machine can read arguments. The programs print no secret, and errors do not repeat
//! an unknown argument, because it may be one.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
    sync::Arc,
};

use choreo_registry::docker_config::DockerConfig;
use choreo_registry::host::ParseHostError;
use choreo_registry::reference::ParseReferenceError;
use choreo_registry::{Credential, ImageReference, RegistryHost};
use choreo_registry_client::{
    Access, AccessClass, RegistryClient,
    egress::{Egress, ParseNetworkError},
    transport::ReqwestTransport,
};
use serde::Serialize;

use crate::command_line::{read_file, read_password};

/// The help text of the flags.
pub const FLAGS: &str = "\
  --username USER        log in as this user, with --password-stdin
  --password-stdin       read the password from stdin; one line break at its end is dropped
  --docker-config FILE   log in with the entry for the host in a config.json
  --allow-plain-http     use plain HTTP for the host, which others on the network can read
  --allow-address CIDR   allow this network in addition to public addresses; repeatable
  --ca FILE              trust these certificates (PEM) besides the system's; repeatable
  --json                 write the result as one line of JSON

exit status: 0 works, or cannot be checked from here; 1 denied or hidden by the registry;
2 wrong usage; 3 the host does not respond or is not a registry; 4 blocked by the egress policy
";

/// A parsed command line: a client with the login and the egress policy of the flags.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asked {
    /// The client for the registry.
    pub client: RegistryClient,
    /// Whether to answer in JSON.
    pub json: bool,
}

impl Asked {
    /// Parses the arguments, and reads the password if it comes from standard input. `target` parses
    /// the positional argument: [`image`], or [`host_or_image`].
    ///
    /// # Errors
    ///
    /// Returns an answer with the reason and the usage if the arguments are not valid.
    pub fn parse<T>(
        usage: &str,
        target: impl FnOnce(&str) -> Result<(RegistryHost, T), String>,
        arguments: impl Iterator<Item = String>,
        stdin: impl Read,
    ) -> Result<(Self, T), Answer> {
        Flags::parse(arguments)
            .and_then(|flags| flags.ask(target, stdin))
            .map_err(|reason| Answer {
                status: 2,
                stdout: String::new(),
                stderr: format!("{reason}\n\n{usage}\n{FLAGS}"),
            })
    }
}

/// Parses an image, whose registry is Docker Hub by default.
///
/// # Errors
///
/// Returns a message if it is not a valid image reference.
pub fn image(target: &str) -> Result<(RegistryHost, ImageReference), String> {
    let image: ImageReference = target
        .parse()
        .map_err(|error: ParseReferenceError| error.to_string())?;
    let host = image.domain().parse();
    let host = host.map_err(|error: ParseHostError| error.to_string())?;
    Ok((host, image))
}

/// Parses a host, or an image with its host.
///
/// # Errors
///
/// Returns a message if it is neither.
pub fn host_or_image(target: &str) -> Result<(RegistryHost, Option<ImageReference>), String> {
    match target.parse::<RegistryHost>() {
        Ok(host) => Ok((host, None)),
        // An image never has a scheme, so the error of the host is more helpful.
        Err(error) if target.contains("://") || !target.contains('/') => Err(error.to_string()),
        Err(_) => image(target).map(|(host, image)| (host, Some(image))),
    }
}

/// The output of a program, and its exit status.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The exit status.
    pub status: u8,
    /// The text for standard output.
    pub stdout: String,
    /// The text for standard error.
    pub stderr: String,
}

impl Answer {
    /// Creates an answer from a result: `text` for people, or `value` with `--json`.
    pub fn found(asked: &Asked, text: String, value: &impl Serialize) -> Self {
        Self {
            status: 0,
            stdout: if asked.json { json(value) } else { text },
            stderr: String::new(),
        }
    }

    /// Creates an answer from the access of a login. Denied access is a result too, so it is written to
    /// standard output.
    pub fn access(asked: &Asked, access: &Access) -> Self {
        Self {
            status: status(access.class()),
            stdout: if asked.json {
                json(access)
            } else {
                words(access)
            },
            stderr: String::new(),
        }
    }

    /// Creates an answer from a failure, on standard error, or with `--json` on standard output.
    pub fn failed(asked: &Asked, access: &Access) -> Self {
        let answer = Self::access(asked, access);
        if asked.json {
            return answer;
        }
        Self {
            stderr: answer.stdout,
            stdout: String::new(),
            ..answer
        }
    }

    /// Prints the answer, and returns the exit code.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        // A closed pipe means that the reader needs no more output.
        let _ = io::stdout().write_all(self.stdout.as_bytes());
        let _ = io::stderr().write_all(self.stderr.as_bytes());
        self.status.into()
    }
}

/// Returns the exit status of a class. [`AccessClass::NotCheckable`] is 0, because a pipeline must not
/// fail for a registry that only the nodes can reach.
#[must_use]
pub fn status(class: AccessClass) -> u8 {
    match class {
        AccessClass::PullAllowed | AccessClass::LoginAccepted | AccessClass::NotCheckable => 0,
        AccessClass::Unreachable | AccessClass::NotARegistry => 3,
        AccessClass::Blocked => 4,
        // Missing or hidden, denied, refused, rate limited, no image.
        _ => 1,
    }
}

fn words(access: &Access) -> String {
    let help = access.help().map(|help| format!("  help: {help}\n"));
    format!(
        "{}: {}\n{}",
        access.class(),
        access.message(),
        help.unwrap_or_default()
    )
}

fn json(value: &impl Serialize) -> String {
    // Serialization of these types cannot fail: none contains a map with keys other than strings.
    let text = serde_json::to_string(value).expect("every key is a string");
    text + "\n"
}

/// The command line. [`Flags::ask`] checks its combinations.
#[derive(Default)]
struct Flags {
    target: Option<String>,
    username: Vec<String>,
    password_stdin: bool,
    docker_config: Vec<String>,
    plain_http: bool,
    networks: Vec<String>,
    ca: Vec<String>,
    json: bool,
}

impl Flags {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut flags = Self::default();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with('-') => (name, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            if let Some(switch) = flags.switch(name) {
                if value.is_some() {
                    return Err(format!("{name} takes no value"));
                }
                *switch = true;
            } else if let Some(values) = flags.values(name) {
                let value = value.or_else(|| arguments.next());
                values.push(value.ok_or_else(|| format!("{name} needs a value"))?);
            } else if name.starts_with('-') || flags.target.replace(argument).is_some() {
                // The argument may be a password, so the error does not repeat it.
                return Err("unknown argument".to_owned());
            }
        }
        Ok(flags)
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "--password-stdin" => Some(&mut self.password_stdin),
            "--allow-plain-http" => Some(&mut self.plain_http),
            "--json" => Some(&mut self.json),
            _ => None,
        }
    }

    fn values(&mut self, name: &str) -> Option<&mut Vec<String>> {
        match name {
            "--username" => Some(&mut self.username),
            "--docker-config" => Some(&mut self.docker_config),
            "--allow-address" => Some(&mut self.networks),
            "--ca" => Some(&mut self.ca),
            _ => None,
        }
    }

    fn ask<T>(
        &self,
        target: impl FnOnce(&str) -> Result<(RegistryHost, T), String>,
        stdin: impl Read,
    ) -> Result<(Asked, T), String> {
        let named = self.target.as_deref().ok_or("the registry is missing")?;
        let (host, what) = target(named)?;
        let credential = self.credential(&host, stdin)?;
        let transport =
            ReqwestTransport::new(self.egress(&host)?).map_err(|error| error.to_string())?;
        let asked = Asked {
            client: RegistryClient::new(host, credential, Arc::new(transport)),
            json: self.json,
        };
        Ok((asked, what))
    }

    /// Returns the policy for public addresses over `https`, extended by the flags.
    fn egress(&self, host: &RegistryHost) -> Result<Egress, String> {
        let mut egress = Egress::tenant();
        for network in &self.networks {
            let network = network.parse();
            let network = network.map_err(|error: ParseNetworkError| error.to_string())?;
            egress = egress.allow_network(network);
        }
        if self.plain_http {
            egress = egress.allow_plain_http(host.clone());
        }
        for file in &self.ca {
            egress = egress.add_root_certificate(read_file(file, &format!("{file:?}"))?.as_bytes());
        }
        Ok(egress)
    }

    fn credential(
        &self,
        host: &RegistryHost,
        stdin: impl Read,
    ) -> Result<Option<Credential>, String> {
        let (files, users) = (self.docker_config.as_slice(), self.username.as_slice());
        match (files, users, self.password_stdin) {
            ([], [], false) => Ok(None),
            ([file], [], false) => {
                let config = DockerConfig::for_host(&read_file(file, "the docker config")?, host);
                let config = config.map_err(|error| error.to_string())?;
                Ok(Some(config.credential().clone_secret()))
            }
            ([], [username], true) => {
                let password = read_password(stdin)?;
                let credential = Credential::new(username.as_str(), password.as_str());
                credential.map(Some).map_err(|error| error.to_string())
            }
            ([], ..) => {
                Err("--username and --password-stdin must be given together, once".to_owned())
            }
            ([..], ..) => {
                Err("--docker-config replaces --username and --password-stdin, once".to_owned())
            }
        }
    }
}
