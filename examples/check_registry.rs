//! Checks the registration of a container registry: accepted or rejected, with its findings.
//!
//! ```sh
//! cargo run --example check_registry -- --vendor-table
//! cargo run --example check_registry -- --host acme.azurecr.io --type vendor
//! echo "$TOKEN" | cargo run --example check_registry -- \
//!     --host ghcr.io --type basic --username alice --password-stdin
//! cargo run --example check_registry -- \
//!     --host docker.io --type docker-config --docker-config ~/.docker/config.json
//! ```
//!
//! A docker config must contain exactly one entry, for the host; `render_pull_secret` can select one of
//! several.
//!
//! The exit status is 0 if the registry is accepted, 1 if it is rejected, and 2 if the usage is wrong.
//! The program prints no secret and opens no connection.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use choreo_examples::command_line::{arguments, read_file, read_password};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::vendor_table::VendorTable;
use choreo_registry::{Authentication, ContainerRegistry};

fn main() -> ExitCode {
    let said = Arguments::parse(arguments())
        .map_err(Said::Misused)
        .and_then(|arguments| run(&arguments, io::stdin().lock()));
    match said.unwrap_or_else(|said| said) {
        Said::Accepted(text) => say(io::stdout(), &text, 0),
        Said::Refused(why) => say(io::stderr(), &format!("rejected: {why}\n"), 1),
        Said::Misused(why) => say(
            io::stderr(),
            &format!("check_registry: {why}\n\n{USAGE}"),
            2,
        ),
    }
}

fn say(mut to: impl Write, text: &str, status: u8) -> ExitCode {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        // A closed pipe means that the reader needs no more output.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            // If standard error fails too, the exit status is the only report left.
            let _ = writeln!(io::stderr(), "check_registry: cannot write: {error}");
            ExitCode::FAILURE
        }
        _ => status.into(),
    }
}

/// The output, by exit status.
#[derive(Debug, PartialEq)]
enum Said {
    Accepted(String),
    Refused(String),
    Misused(String),
}

fn run(arguments: &Arguments, stdin: impl Read) -> Result<Said, Said> {
    if arguments.help {
        return Ok(Said::Accepted(USAGE.to_owned()));
    }
    if arguments.vendor_table {
        return Ok(Said::Accepted(VendorTable::built_in().to_markdown()));
    }
    let misused = |why: &str| Said::Misused(why.to_owned());
    let host = arguments
        .host
        .as_deref()
        .ok_or(misused("--host is missing"))?;
    let given = arguments.authentication_type.as_deref();
    let given = given.ok_or(misused("--type is missing"))?;
    let authentication_type: AuthenticationType = given
        .parse()
        .map_err(|error| misused(&format!("{error}")))?;
    if authentication_type != AuthenticationType::Basic
        && (arguments.username.is_some() || arguments.password_stdin)
    {
        return Err(misused(
            "--username and --password-stdin go with --type basic",
        ));
    }
    if authentication_type != AuthenticationType::DockerConfig && arguments.docker_config.is_some()
    {
        return Err(misused("--docker-config goes with --type docker-config"));
    }
    let authentication = authentication(authentication_type, arguments, stdin)?;
    let refused = |error: &dyn std::error::Error| Said::Refused(error.to_string());
    let host = host.parse().map_err(|error| refused(&error))?;
    let registry = ContainerRegistry::new("Checked registry", host, authentication)
        .map_err(|error| refused(&error))?;
    Ok(Said::Accepted(describe(&registry)))
}

fn authentication(
    authentication_type: AuthenticationType,
    arguments: &Arguments,
    stdin: impl Read,
) -> Result<Authentication, Said> {
    let misused = |why: String| Said::Misused(why);
    let refused = |error: &dyn std::error::Error| Said::Refused(error.to_string());
    match authentication_type {
        AuthenticationType::Public => Ok(Authentication::Public),
        AuthenticationType::Vendor => Ok(Authentication::Vendor),
        AuthenticationType::Basic => {
            let (Some(username), true) = (&arguments.username, arguments.password_stdin) else {
                let why = "--type basic needs --username and --password-stdin";
                return Err(misused(why.to_owned()));
            };
            let password = read_password(stdin).map_err(misused)?;
            Authentication::basic(username, password.as_str()).map_err(|error| refused(&error))
        }
        AuthenticationType::DockerConfig => {
            let Some(path) = &arguments.docker_config else {
                return Err(misused(
                    "--type docker-config needs --docker-config".to_owned(),
                ));
            };
            let document = read_file(path, "the docker config").map_err(misused)?;
            let config = document.parse().map_err(
                |error: choreo_registry::docker_config::DockerConfigError| refused(&error),
            )?;
            Ok(Authentication::DockerConfig(config))
        }
        other => Err(misused(format!("the type {other} is not supported"))),
    }
}

fn describe(registry: &ContainerRegistry) -> String {
    let vendor = registry.vendor();
    let mut text = format!(
        "accepted: {} ({vendor}), {}\n",
        registry.host(),
        registry.authentication_type()
    );
    for finding in registry.findings() {
        text += &format!(
            "{} {}: {}\n  help: {}\n",
            finding.severity(),
            finding.code(),
            finding.message(),
            finding.help()
        );
    }
    text
}

/// The command line. [`run`] checks its combinations.
#[derive(Default)]
struct Arguments {
    help: bool,
    vendor_table: bool,
    host: Option<String>,
    authentication_type: Option<String>,
    username: Option<String>,
    password_stdin: bool,
    docker_config: Option<String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let value = match word.as_str() {
                "--help" => {
                    arguments.help = true;
                    continue;
                }
                "--vendor-table" => {
                    arguments.vendor_table = true;
                    continue;
                }
                "--password-stdin" => {
                    arguments.password_stdin = true;
                    continue;
                }
                "--host" => &mut arguments.host,
                "--type" => &mut arguments.authentication_type,
                "--username" => &mut arguments.username,
                "--docker-config" => &mut arguments.docker_config,
                // The argument may be a password, so the error does not repeat it.
                _ => return Err("unknown argument".to_owned()),
            };
            *value = Some(words.next().ok_or(format!("{word} needs a value"))?);
        }
        Ok(arguments)
    }
}

const USAGE: &str = "\
usage: check_registry --vendor-table
       check_registry --host HOST --type public|vendor
       check_registry --host HOST --type basic --username USER --password-stdin
       check_registry --host HOST --type docker-config --docker-config FILE
";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, stdin: &str) -> Said {
        let words = words.split_whitespace().map(str::to_owned);
        Arguments::parse(words)
            .map_err(Said::Misused)
            .and_then(|arguments| run(&arguments, stdin.as_bytes()))
            .unwrap_or_else(|said| said)
    }

    #[test]
    fn the_vendor_table_is_markdown() {
        let Said::Accepted(table) = check("--vendor-table", "") else {
            panic!("the table is always there")
        };
        assert!(table.starts_with("| vendor | hosts |"));
        assert!(table.contains("| GitHub Container Registry (`ghcr`) | `ghcr.io` |"));
    }

    #[test]
    fn help_is_the_usage() {
        assert_eq!(check("--help", ""), Said::Accepted(USAGE.to_owned()));
    }

    #[test]
    fn findings_are_told_and_no_secret() {
        assert_eq!(
            check(
                "--host https://GHCR.io/ --type basic --username alice --password-stdin",
                "ghs_hunter2hunter2\n"
            ),
            Said::Accepted(
                "accepted: ghcr.io (GitHub Container Registry), basic\n\
                 warning ghcr-app-token: the token is one of a GitHub App or a workflow, which \
                 expires and may be denied pulls\n  \
                 help: create a classic personal access token with the scope read:packages\n"
                    .to_owned()
            ),
        );
        assert_eq!(
            check("--host acme.azurecr.io --type vendor", ""),
            Said::Accepted(
                "accepted: acme.azurecr.io (Azure Container Registry), vendor\n".to_owned()
            ),
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let basic = "--type basic --username alice --password-stdin";
        for (words, stdin, why) in [
            (
                format!("--host ghcr.io {basic}"),
                "github_pat_hunter2\n",
                "GHCR accepts no fine-grained token (github_pat_…): create a classic personal \
                 access token with the scope read:packages",
            ),
            (
                format!("--host ghcr.io {basic}"),
                "",
                "password is empty: enter the password or token, or choose public access",
            ),
            (
                "--host quay.io --type vendor".to_owned(),
                "",
                "\"quay.io\" (Quay) gives nodes no access by their identity: choose basic or \
                 docker-config",
            ),
        ] {
            assert_eq!(
                check(&words, stdin),
                Said::Refused(why.to_owned()),
                "{words}"
            );
        }
        let said = check("--host a..b --type public", "");
        assert!(matches!(said, Said::Refused(_)), "{said:?}");
    }

    #[test]
    fn a_docker_config_is_read_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let words = format!(
            "--host quay.io --type docker-config --docker-config {}",
            path.display()
        );
        std::fs::write(
            &path,
            r#"{"auths":{"quay.io":{"auth":"YStiOmh1bnRlcjI="}}}"#,
        )
        .unwrap();
        assert_eq!(
            check(&words, ""),
            Said::Accepted("accepted: quay.io (Quay), docker-config\n".to_owned())
        );
        std::fs::write(&path, "hunter2").unwrap();
        let Said::Refused(why) = check(&words, "") else {
            panic!("no JSON is no docker config")
        };
        assert!(!why.contains("hunter2"), "{why}");
    }

    #[test]
    fn wrong_arguments_are_named_and_not_repeated() {
        for (words, why) in [
            ("", "--host is missing"),
            ("--host ghcr.io", "--type is missing"),
            ("--host", "--host needs a value"),
            ("--host ghcr.io --type basic hunter2", "unknown argument"),
            (
                "--host ghcr.io --type token",
                "unknown authentication type \"token\": write public, basic, docker-config or \
                 vendor",
            ),
            (
                "--host ghcr.io --type basic --username alice",
                "--type basic needs --username and --password-stdin",
            ),
            (
                "--host ghcr.io --type public --username alice",
                "--username and --password-stdin go with --type basic",
            ),
            (
                "--host ghcr.io --type public --docker-config x",
                "--docker-config goes with --type docker-config",
            ),
            (
                "--host ghcr.io --type docker-config --docker-config /nowhere/hunter2",
                "cannot read the docker config: No such file or directory (os error 2)",
            ),
            (
                "--host ghcr.io --type docker-config",
                "--type docker-config needs --docker-config",
            ),
        ] {
            assert_eq!(check(words, ""), Said::Misused(why.to_owned()), "{words}");
        }
    }
}
