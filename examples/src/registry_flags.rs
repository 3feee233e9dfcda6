//! What the programs that ask a registry have in common: `verify_access`, `resolve_image` and
//! `list_tags` read the same flags and end with the same exit statuses.
//!
//! | exit status | when |
//! |---|---|
//! | 0 | it works; also when it may work and cannot be told from here |
//! | 1 | the registry refused it, or hides it |
//! | 2 | the program was used wrongly |
//! | 3 | the host does not answer, or not as a registry |
//! | 4 | the egress policy forbids the way |
//!
//! A password comes from standard input or from a docker config, never from an argument: everyone on
//! the machine can read those. No secret is printed, and an argument that is not known is not
//! repeated, for it may be one.

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

/// The flags, as the programs explain them.
pub const FLAGS: &str = "\
  --username USER        log in as this user, with --password-stdin
  --password-stdin       read the password from stdin; one line break at its end is dropped
  --docker-config FILE   log in with the entry for the host in a config.json
  --allow-plain-http     speak plain HTTP to the host: readable by everyone on the way
  --allow-address CIDR   go to this network too, not only to public addresses; repeatable
  --ca FILE              trust these certificates (PEM) besides the system's; repeatable
  --json                 answer as one line of JSON

exit status: 0 it works, or may work; 1 refused or hidden by the registry; 2 wrong use;
3 no answer, or none of a registry; 4 forbidden by the egress policy
";

/// How a program was asked to ask: a client with the login and the egress policy of the flags.
#[derive(Debug)]
#[non_exhaustive]
pub struct Asked {
    /// Asks the registry.
    pub client: RegistryClient,
    /// Whether to answer in JSON.
    pub json: bool,
}

impl Asked {
    /// Reads the arguments, and the password if it comes from standard input. `target` reads what
    /// to ask about: [`image`], or [`host_or_image`].
    ///
    /// # Errors
    ///
    /// The answer to wrong use: the reason, and the usage.
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

/// An image, which names its registry; Docker Hub when it names none.
///
/// # Errors
///
/// Why it is none, in words.
pub fn image(target: &str) -> Result<(RegistryHost, ImageReference), String> {
    let image: ImageReference = target
        .parse()
        .map_err(|error: ParseReferenceError| error.to_string())?;
    let host = image.domain().parse();
    let host = host.map_err(|error: ParseHostError| error.to_string())?;
    Ok((host, image))
}

/// A host alone, or an image with its host.
///
/// # Errors
///
/// Why it is neither, in words.
pub fn host_or_image(target: &str) -> Result<(RegistryHost, Option<ImageReference>), String> {
    match target.parse::<RegistryHost>() {
        Ok(host) => Ok((host, None)),
        // A scheme is part of no image; what the host says of it fits better.
        Err(error) if target.contains("://") || !target.contains('/') => Err(error.to_string()),
        Err(_) => image(target).map(|(host, image)| (host, Some(image))),
    }
}

/// What a program prints, and its exit status.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The exit status.
    pub status: u8,
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
}

impl Answer {
    /// What was asked for: `text` for people, or `value` for machines.
    pub fn found(asked: &Asked, text: String, value: &impl Serialize) -> Self {
        Self {
            status: 0,
            stdout: if asked.json { json(value) } else { text },
            stderr: String::new(),
        }
    }

    /// What a registry lets a login do, good or bad. That is an answer as well, so it goes to
    /// standard output in any case.
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

    /// Why there is nothing to print, on standard error; in JSON it is the answer all the same.
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

    /// Writes it out.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        // A reader who has gone away has read enough.
        let _ = io::stdout().write_all(self.stdout.as_bytes());
        let _ = io::stderr().write_all(self.stderr.as_bytes());
        self.status.into()
    }
}

/// The exit status for each class. What cannot be told from here may work, and a pipeline that
/// stopped for it would stop for registries that only the nodes reach: 0.
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
    // None of these types can fail to serialise: no map with keys that are not strings.
    let text = serde_json::to_string(value).expect("a plain value serialises");
    text + "\n"
}

/// The command line; what its parts mean together is for [`Flags::ask`].
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
                // Not repeated: it may be a password.
                return Err("an argument is not known".to_owned());
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
        let named = self.target.as_deref().ok_or("no registry is named")?;
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

    /// Public addresses over `https`, and what the flags add.
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
                Ok(Some(config.credential().duplicate()))
            }
            ([], [username], true) => {
                let password = read_password(stdin)?;
                let credential = Credential::new(username.as_str(), password.as_str());
                credential.map(Some).map_err(|error| error.to_string())
            }
            ([], ..) => Err("--username and --password-stdin belong together, once".to_owned()),
            ([..], ..) => {
                Err("--docker-config stands, once, in place of user and password".to_owned())
            }
        }
    }
}
