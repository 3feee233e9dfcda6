//! The command line.

use std::path::PathBuf;

use choreo_deploy::id::{ComponentId, EnvironmentId, RegistryId, RunId, TokenId};
use choreo_deploy::release::ReleaseNumber;
use choreo_registry::ImageReference;
use choreo_webhook::snippet::Ci;
use choreo_webhook::token::Lifetime;
use clap::{Args, Parser, Subcommand};

const STATUSES: &str = "\
Exit status:
  0  ready, succeeded, or done
  1  failed; the output says why
  2  invalid arguments, or an invalid configuration
  3  superseded by a newer deployment
  4  the environment is held since a rollback
  5  timed out
  6  rejected: an unknown component, an image outside its registry, ...
  7  unavailable: the store or a data plane cannot do it now";

/// A complete small control plane that deploys container images from your registries.
#[derive(Debug, Parser)]
#[command(name = "control-plane", version, after_help = STATUSES)]
pub(crate) struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "control-plane.toml"
    )]
    pub(crate) config: PathBuf,
    /// Write one JSON value to standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the webhook and work on deployments until SIGTERM or Ctrl-C.
    Serve,
    /// Check the configuration and everything that it names, and report all problems.
    Check {
        /// Also query data planes and registries: versions, permissions, namespaces and logins.
        #[arg(long)]
        connect: bool,
    },
    /// Manage container registries.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Manage the tokens that CI deploys with.
    #[command(subcommand)]
    Token(TokenCommand),
    #[command(flatten)]
    Act(ActCommand),
    /// Show the releases that run in each environment, and the holds.
    Status {
        /// The id of a component [default: all components]
        component: Option<ComponentId>,
    },
    /// List the most recent deployments.
    Deployments {
        /// The id of a component [default: all components]
        component: Option<ComponentId>,
        #[command(flatten)]
        newest: Newest,
    },
    /// List the most recent releases of a component.
    Releases {
        /// The id of the component.
        component: ComponentId,
        #[command(flatten)]
        newest: Newest,
    },
    /// List the most recent runs of a task.
    Runs {
        /// The id of the component.
        component: ComponentId,
        #[command(flatten)]
        newest: Newest,
    },
    /// Show the last lines of the log of a component.
    Logs {
        #[command(flatten)]
        place: Place,
        /// The maximum number of lines.
        #[arg(long, value_name = "N", default_value = "100", value_parser = lines)]
        lines: u32,
        /// Show the log of the container before the last restart.
        #[arg(long)]
        previous: bool,
    },
    /// List what may run and is not as the configuration says, and why.
    Orphans,
    /// Prepare a store that was restored from a backup, or created after a loss. Stop the server
    /// first.
    Restore,
    /// Show the Kubernetes objects for an image as YAML. Secrets are redacted, and no connection is
    /// made.
    Render {
        #[command(flatten)]
        image: Image,
    },
    /// Show a CI step that deploys a component.
    Snippet {
        /// The CI system: curl or github-actions.
        ci: Ci,
        /// The id of the component.
        component: ComponentId,
    },
}

/// The commands that act on data planes.
#[derive(Debug, Subcommand)]
pub(crate) enum ActCommand {
    /// Deploy an image, and wait for the outcome.
    Deploy {
        #[command(flatten)]
        image: Image,
    },
    /// Deploy the release that is ready in one environment to the next, and wait for the outcome.
    Promote {
        /// The id of the component.
        component: ComponentId,
        /// The environment to promote from [default: the first]
        #[arg(long, value_name = "ENV")]
        from: Option<EnvironmentId>,
    },
    /// Deploy an older release again, and hold the environment so that CI cannot deploy.
    Rollback {
        #[command(flatten)]
        place: Place,
        /// The release [default: the one that was ready before]
        #[arg(long, value_name = "RELEASE", value_parser = release_number)]
        to: Option<ReleaseNumber>,
    },
    /// End the hold of a rollback, so that CI can deploy again.
    ReleaseHold {
        #[command(flatten)]
        place: Place,
    },
    /// Remove a component from an environment. The configuration need not contain it.
    Remove {
        /// The id of the component.
        component: ComponentId,
        /// The environment. Required if the component is in several.
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentId>,
        /// Remove it from every environment.
        #[arg(long, conflicts_with = "environment")]
        all: bool,
        /// Forget data planes that the configuration does not contain. Components keep running there.
        #[arg(long)]
        forget: bool,
    },
    /// Run a task and wait for the outcome, or cancel a run.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Run {
        #[command(subcommand)]
        command: Option<RunCommand>,
        #[command(flatten)]
        place: Option<Place>,
        /// Arguments that replace those of the workload.
        #[arg(last = true)]
        args: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Stop a run, and wait for its end.
    Cancel {
        /// The id of the run. `runs` lists them.
        id: RunId,
    },
}

/// The length of a list.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Newest {
    /// The maximum number of entries.
    #[arg(long, value_name = "N", default_value = "50", value_parser = limit)]
    pub(crate) limit: u16,
}

/// A component in an environment.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The id of the component.
    pub(crate) component: ComponentId,
    /// The environment [default: the first]
    #[arg(long, value_name = "ENV")]
    pub(crate) environment: Option<EnvironmentId>,
}

/// An image of a component in an environment.
#[derive(Debug, Args)]
pub(crate) struct Image {
    /// The id of the component.
    pub(crate) component: ComponentId,
    /// The image, such as registry.example.com/shop/orders:1.4.
    pub(crate) image: ImageReference,
    /// The environment [default: the first]
    #[arg(long, value_name = "ENV")]
    pub(crate) environment: Option<EnvironmentId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List the registries, and the components that use them.
    List,
    /// Check that a registry accepts the login, and that the login may pull an image.
    Verify {
        /// The id of the registry.
        name: RegistryId,
        /// An image to check, such as registry.example.com/shop/orders:1.4.
        image: Option<ImageReference>,
    },
    /// Delete a registry that the configuration does not contain, and its credential.
    Remove {
        /// The id of the registry.
        name: RegistryId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token for a component. It is shown once.
    Create {
        /// The id of the component.
        component: ComponentId,
        /// The name of the token [default: its id]
        #[arg(long)]
        name: Option<String>,
        /// The number of days until it expires, 1 to 365 [default: 90]
        #[arg(long, value_parser = lifetime)]
        days: Option<Lifetime>,
    },
    /// List the tokens of a component.
    List {
        /// The id of the component.
        component: ComponentId,
    },
    /// Revoke a token now.
    Revoke {
        /// The id of the component.
        component: ComponentId,
        /// The id of the token. `token list` shows it.
        token_id: TokenId,
    },
}

fn release_number(text: &str) -> Result<ReleaseNumber, String> {
    let number = text.parse().ok().and_then(ReleaseNumber::new);
    number.ok_or_else(|| "write the number of a release, 1 or more".to_owned())
}

fn limit(text: &str) -> Result<u16, String> {
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| format!("write a whole number from 1 to {}", u16::MAX))
}

fn lines(text: &str) -> Result<u32, String> {
    let lines = text.parse().ok();
    lines.ok_or_else(|| "write a whole number, 0 or more".to_owned())
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    let days = text
        .parse::<u16>()
        .map_err(|_| "write a whole number from 1 to 365".to_owned())?;
    Lifetime::from_days(days).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Guards that the help describes each argument.
    #[test]
    fn every_argument_has_a_line_of_help() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let name = (command.get_name(), argument.get_id());
                assert!(argument.get_help().is_some(), "{name:?} has no help");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    /// Guards that no message about a wrong argument contains a word of Rust.
    #[test]
    fn wrong_arguments_are_reported_in_plain_words() {
        for args in [
            "",
            "deploi",
            "deploy orders",
            "deploy Orders r.example/a",
            "deploy orders BAD",
            "deploy orders r.example/a --environment X",
            "deployments --limit many",
            "releases orders --limit 0",
            "runs orders --limit 99999999999",
            "logs orders --lines many",
            "logs orders --lines -1",
            "logs orders --lines 99999999999",
            "rollback orders --to first",
            "rollback orders --to -1",
            "remove orders --all --environment production",
            "run",
            "run cancel",
            "run cancel R!",
            "run orders x y",
            "token create orders --days many",
            "token create orders --days 70000",
            "token revoke orders T!",
            "registry verify Images",
            "snippet jenkins orders",
            "render orders r.example/a:b:c",
        ] {
            let parsed = Cli::try_parse_from(["control-plane"].into_iter().chain(args.split(' ')));
            let said = parsed.expect_err(args).to_string();
            for word in [
                "invalid digit",
                "too large to fit",
                "variant",
                ", expected",
                "u32",
                "u16",
                "::",
                "Option",
                "Err(",
            ] {
                assert!(
                    !said.contains(word),
                    "{word:?} is in {said:?}, about {args:?}"
                );
            }
        }
    }

    #[test]
    fn values_that_do_not_parse_are_wrong_use() {
        for (args, message) in [
            (
                &["deploy", "orders", "BAD"][..],
                "invalid image reference \"BAD\"",
            ),
            (
                &["deploy", "Orders", "r.example/a"],
                "component id \"Orders\" is not valid",
            ),
            (
                &["token", "create", "orders", "--days", "366"],
                "choose 1 to 365 days",
            ),
            (
                &["rollback", "orders", "--to", "0"],
                "write the number of a release, 1 or more",
            ),
            (
                &["logs", "orders", "--lines", "many"],
                "write a whole number, 0 or more",
            ),
            (
                &["snippet", "jenkins", "orders"],
                "CI system \"jenkins\" is unknown",
            ),
        ] {
            let parsed = Cli::try_parse_from([&["control-plane"], args].concat());
            let error = parsed.unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
