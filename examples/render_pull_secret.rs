//! Renders the pull secret for a host and a login, or for a docker config.
//!
//! The Secret is written to standard output, as YAML by default; findings are written to standard
//! error. The exit status is 0 if a Secret was rendered, 1 if the input is rejected, and 2 if the usage
//! is wrong.
//!
//! ```sh
//! echo hunter2 | cargo run --example render_pull_secret -- \
//!     --host registry.example.com --username alice --password-stdin --name team-images
//! cargo run --example render_pull_secret -- --docker-config ~/.docker/config.json
//! ```

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use choreo_examples::command_line::{arguments, read_file, read_password};
use choreo_registry::docker_config::DockerConfig;
use choreo_registry::pull_secret::{Format, SecretMetadata};
use choreo_registry::{Authentication, ContainerRegistry, PullSecret, RegistryHost};

const USAGE: &str = "\
usage: render_pull_secret --host HOST --username USER --password-stdin [OPTION]...
       render_pull_secret --docker-config FILE [--host HOST] [OPTION]...

  --host HOST            the registry; beside --docker-config: selects one of its entries
  --username USER        the user name
  --password-stdin       read the password from stdin; one line break at its end is dropped
  --docker-config FILE   a config.json, or a .dockercfg, with one entry unless --host chooses
  --name NAME            the Secret's name (pull-secret)
  --namespace NAMESPACE  the Secret's namespace (none: the client's default)
  --output yaml|json     how it is written (yaml)
  --kubectl-compatible   with the bytes of kubectl create secret docker-registry
";

fn main() -> ExitCode {
    let (input, output) = (io::stdin().lock(), io::stdout().lock());
    let status = execute(arguments(), input, output, io::stderr());
    let status = status.unwrap_or_else(|error| {
        // If standard error fails too, the exit status is the only report left.
        let _ = writeln!(io::stderr(), "render_pull_secret: cannot write: {error}");
        1
    });
    ExitCode::from(status)
}

/// Renders the Secret, and returns the exit status.
fn execute(
    arguments: impl Iterator<Item = String>,
    input: impl Read,
    mut output: impl Write,
    mut messages: impl Write,
) -> io::Result<u8> {
    let mut arguments = arguments.peekable();
    if arguments.next_if(|first| first == "--help").is_some() {
        return output.write_all(USAGE.as_bytes()).map(|()| 0);
    }
    match run(arguments, input, &mut messages) {
        Ok(secret) => {
            output.write_all(secret.as_bytes())?;
            output.flush().map(|()| 0)
        }
        Err(Failure::Refused(reason)) => {
            writeln!(messages, "render_pull_secret: {reason}").map(|()| 1)
        }
        Err(Failure::Usage(reason)) => {
            write!(messages, "render_pull_secret: {reason}\n{USAGE}").map(|()| 2)
        }
    }
}

/// The reason why no Secret was rendered.
#[derive(Debug, PartialEq)]
enum Failure {
    Refused(String),
    Usage(String),
}

fn refused(reason: impl Display) -> Failure {
    Failure::Refused(reason.to_string())
}

fn usage(reason: impl Display) -> Failure {
    Failure::Usage(reason.to_string())
}

fn run(
    arguments: impl Iterator<Item = String>,
    input: impl Read,
    mut findings: impl Write,
) -> Result<zeroize::Zeroizing<String>, Failure> {
    let options = Options::parse(arguments)?;
    let metadata = SecretMetadata::new(options.name.as_deref().unwrap_or("pull-secret"));
    let mut metadata = metadata.map_err(refused)?;
    if let Some(namespace) = &options.namespace {
        metadata = metadata.with_namespace(namespace).map_err(refused)?;
    }
    let (host, authentication) = options.login(input)?;
    // The registry gives the findings.
    let registry = ContainerRegistry::new("registry", host, authentication).map_err(refused)?;
    for finding in registry.findings() {
        writeln!(findings, "{finding}").map_err(refused)?;
    }
    let secret = PullSecret::for_registry(&registry).map_err(refused)?;
    Ok(secret.expose_text(&metadata, options.format))
}

/// The command line.
struct Options {
    host: Option<String>,
    username: Option<String>,
    password_stdin: bool,
    docker_config: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    format: Format,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            host: None,
            username: None,
            password_stdin: false,
            docker_config: None,
            name: None,
            namespace: None,
            format: Format::Yaml,
        };
        let (mut output, mut kubectl) = (None, false);
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let field = match (name, &value) {
                ("--password-stdin", None) => {
                    options.password_stdin = true;
                    continue;
                }
                ("--kubectl-compatible", None) => {
                    kubectl = true;
                    continue;
                }
                ("--host", _) => &mut options.host,
                ("--username", _) => &mut options.username,
                ("--docker-config", _) => &mut options.docker_config,
                ("--name", _) => &mut options.name,
                ("--namespace", _) => &mut options.namespace,
                ("--output", _) => &mut output,
                // The argument may be a password, so the error does not repeat it.
                _ => return Err(usage("unknown argument")),
            };
            let Some(value) = value.or_else(|| arguments.next()) else {
                return Err(usage(format_args!("{name} needs a value")));
            };
            if field.replace(value).is_some() {
                return Err(usage(format_args!("duplicate {name}")));
            }
        }
        options.format = match (output.as_deref().unwrap_or("yaml"), kubectl) {
            ("json", false) => Format::Json,
            ("json", true) => Format::KubectlJson,
            ("yaml", false) => Format::Yaml,
            ("yaml", true) => Format::KubectlYaml,
            _ => return Err(usage("--output is yaml or json")),
        };
        Ok(options)
    }

    /// Reads the login, and the host that it is for.
    fn login(&self, input: impl Read) -> Result<(RegistryHost, Authentication), Failure> {
        let host = self.host.as_deref().map(str::parse::<RegistryHost>);
        let host = host.transpose().map_err(refused)?;
        match (
            &self.docker_config,
            host,
            &self.username,
            self.password_stdin,
        ) {
            (Some(file), host, None, false) => {
                let document = read_file(file, "the docker config").map_err(usage)?;
                let config = match host {
                    Some(host) => DockerConfig::for_host(&document, &host),
                    None => document.parse(),
                };
                let config = config.map_err(|error| match error.hosts() {
                    [] => refused(error),
                    _ => refused(format_args!("{error} (with --host)")),
                })?;
                Ok((config.host().clone(), Authentication::DockerConfig(config)))
            }
            (None, Some(host), Some(username), true) => {
                let password = read_password(input).map_err(usage)?;
                let login = Authentication::basic(username, password.as_str());
                Ok((host, login.map_err(refused)?))
            }
            (Some(_), ..) => Err(usage(
                "--docker-config replaces --username and --password-stdin",
            )),
            (None, ..) => Err(usage(
                "--host, --username and --password-stdin must be given together",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: [&str; 5] = [
        "--host",
        "ghcr.io",
        "--username",
        "alice",
        "--password-stdin",
    ];

    fn render(arguments: &[&str], password: &str) -> Result<(String, String), Failure> {
        let mut findings = Vec::new();
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        let secret = run(arguments, password.as_bytes(), &mut findings)?;
        Ok((secret.to_string(), String::from_utf8(findings).unwrap()))
    }

    /// The exit status, with what is written to stdout and stderr.
    fn status(arguments: &[&str], password: &str) -> (u8, String, String) {
        let (mut output, mut messages) = (Vec::new(), Vec::new());
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        let status = execute(arguments, password.as_bytes(), &mut output, &mut messages);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.unwrap(), text(output), text(messages))
    }

    #[test]
    fn a_secret_is_rendered_in_each_format() {
        let with = |more: &[&str]| render(&[&LOGIN[..], more].concat(), "hunter2\n").unwrap().0;
        let yaml = with(&["--name", "images", "--namespace=apps"]);
        assert!(yaml.starts_with(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: images\n  namespace: apps\n"
        ));
        assert!(with(&["--kubectl-compatible"]).starts_with("apiVersion: v1\ndata:\n"));
        assert!(with(&["--output", "json"]).starts_with("{\"apiVersion\""));
        assert!(with(&["--output=json", "--kubectl-compatible"]).starts_with("{\n    \"kind\""));
    }

    #[test]
    fn what_is_refused_ends_with_1_and_wrong_use_with_2() {
        let (code, secret, findings) = status(&LOGIN, "dckr_pat_x \n");
        assert_eq!(code, 0);
        assert!(
            secret.contains("kind: Secret") && findings.contains("password-surrounded-by-blanks")
        );

        for (arguments, password) in [
            (&LOGIN[..], ""),
            (&LOGIN[..], "github_pat_c4n4ry"),
            (
                &[
                    "--host=https://a:c4n4ry@b",
                    "--username=u",
                    "--password-stdin",
                ][..],
                "p",
            ),
            (&[&LOGIN[..], &["--name", "Big"]].concat()[..], "p"),
        ] {
            let (code, secret, reason) = status(arguments, password);
            assert_eq!((code, secret.as_str()), (1, ""), "{arguments:?}");
            assert!(reason.starts_with("render_pull_secret: ") && !reason.contains("c4n4ry"));
        }
        assert_eq!(
            status(&["--help"], ""),
            (0, USAGE.to_owned(), String::new())
        );
        for arguments in [
            &[][..],
            &["c4n4ry"],
            &["--host"],
            &["--host", "a.example", "--host", "b.example"],
            &["--host", "a.example", "--username", "u"],
            &["--docker-config", "/nowhere/c4n4ry.json"],
            &["--docker-config", "x", "--username", "u"],
            &[&LOGIN[..], &["--output", "toml"]].concat(),
            &["--password-stdin=c4n4ry"],
        ] {
            let (code, secret, reason) = status(arguments, "");
            assert_eq!((code, secret.as_str()), (2, ""), "{arguments:?}");
            assert!(
                reason.contains("usage: ") && !reason.contains("c4n4ry"),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_docker_config_stands_in_place_of_host_and_user() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        let file = file.to_str().unwrap();
        let entry = r#"{"auth":"YWxpY2U6aHVudGVyMg=="}"#;
        std::fs::write(file, format!(r#"{{"ghcr.io":{entry}}}"#)).unwrap();
        let (secret, findings) = render(&["--docker-config", file], "").unwrap();
        assert!(secret.contains("kind: Secret"));
        assert!(findings.contains("docker-config-converted"));

        let two = format!(r#"{{"auths":{{"a.example":{entry},"b.example":{entry}}}}}"#);
        std::fs::write(file, two).unwrap();
        let refusal = render(&["--docker-config", file], "").unwrap_err();
        assert!(
            matches!(refusal, Failure::Refused(why) if why.contains("(a.example, b.example)") && why.ends_with("(with --host)"))
        );
        assert!(render(&["--docker-config", file, "--host", "b.example"], "").is_ok());
    }
}
