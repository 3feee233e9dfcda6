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
  2  wrong use, or a wrong configuration
  3  superseded by a newer deployment
  4  held since a rollback
  5  timed out
  6  refused: an unknown component, an image outside its registry, a token, ...
  7  unavailable: the store or a data plane does not do it now";

/// A complete small control plane: deploys container images from your registries.
#[derive(Debug, Parser)]
#[command(name = "control-plane", version, after_help = STATUSES)]
pub(crate) struct Cli {
    /// The configuration.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "control-plane.toml"
    )]
    pub(crate) config: PathBuf,
    /// Write one JSON value to standard output, for machines.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the webhook and work on deployments until told to stop.
    Serve,
    /// Check the configuration and all that it names, and say every problem at once.
    Check {
        /// Ask data planes and registries too: versions, permissions, namespaces and logins.
        #[arg(long)]
        connect: bool,
    },
    /// Container registries.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Deploy tokens, with which CI deploys.
    #[command(subcommand)]
    Token(TokenCommand),
    #[command(flatten)]
    Act(ActCommand),
    /// Show what runs where, since when, and what is held.
    Status {
        /// The component; all by default.
        component: Option<ComponentId>,
    },
    /// List the newest deployments.
    Deployments {
        /// The component; all by default.
        component: Option<ComponentId>,
        #[command(flatten)]
        newest: Newest,
    },
    /// List the newest releases of a component.
    Releases {
        /// The component, by its id.
        component: ComponentId,
        #[command(flatten)]
        newest: Newest,
    },
    /// List the newest runs of a task.
    Runs {
        /// The component, by its id.
        component: ComponentId,
        #[command(flatten)]
        newest: Newest,
    },
    /// Show the last lines that a component wrote.
    Logs {
        #[command(flatten)]
        place: Place,
        /// At most so many.
        #[arg(long, value_name = "N", default_value = "100", value_parser = lines)]
        lines: u32,
        /// Those of the container before the last restart.
        #[arg(long)]
        previous: bool,
    },
    /// List what may run somewhere and is not as the configuration says, and why.
    Orphans,
    /// Put a store to work again that was restored from a backup, or begun anew. Stop the server
    /// before.
    Restore,
    /// Show the Kubernetes objects of an image as YAML, without any secret and without asking
    /// anybody.
    Render {
        #[command(flatten)]
        image: Image,
    },
    /// Show the CI step that deploys a component.
    Snippet {
        /// The CI system: curl or github-actions.
        ci: Ci,
        /// The component, by its id.
        component: ComponentId,
    },
}

/// The commands that work on data planes.
#[derive(Debug, Subcommand)]
pub(crate) enum ActCommand {
    /// Deploy an image and follow it to its end.
    Deploy {
        #[command(flatten)]
        image: Image,
    },
    /// Deploy what is ready in one environment to the next, and follow it.
    Promote {
        /// The component, by its id.
        component: ComponentId,
        /// The environment to promote from; the first by default.
        #[arg(long, value_name = "ENV")]
        from: Option<EnvironmentId>,
    },
    /// Bring an older release back, and hold the environment against CI.
    Rollback {
        #[command(flatten)]
        place: Place,
        /// The release; the one that was ready before by default.
        #[arg(long, value_name = "RELEASE", value_parser = release_number)]
        to: Option<ReleaseNumber>,
    },
    /// Let CI deploy again after a rollback.
    ReleaseHold {
        #[command(flatten)]
        place: Place,
    },
    /// Remove a component from an environment, also one that has left the configuration.
    Remove {
        /// The component, by its id.
        component: ComponentId,
        /// The environment; needed where the component is in several.
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentId>,
        /// Remove it from every environment.
        #[arg(long, conflicts_with = "environment")]
        all: bool,
        /// Forget data planes that have left the configuration; what runs there runs on.
        #[arg(long)]
        forget: bool,
    },
    /// Run a task and follow it to its end, or cancel a run.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Run {
        #[command(subcommand)]
        command: Option<RunCommand>,
        #[command(flatten)]
        place: Option<Place>,
        /// Arguments in place of the workload's.
        #[arg(last = true)]
        args: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Stop a run, and follow it to its end.
    Cancel {
        /// The run, by its id: `runs` lists them.
        id: RunId,
    },
}

/// How many of a list.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Newest {
    /// At most so many.
    #[arg(long, value_name = "N", default_value = "50", value_parser = limit)]
    pub(crate) limit: u16,
}

/// A component in an environment.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The component, by its id.
    pub(crate) component: ComponentId,
    /// The environment; the first by default.
    #[arg(long, value_name = "ENV")]
    pub(crate) environment: Option<EnvironmentId>,
}

/// An image of a component in an environment.
#[derive(Debug, Args)]
pub(crate) struct Image {
    /// The component, by its id.
    pub(crate) component: ComponentId,
    /// The image, such as registry.example.com/shop/orders:1.4.
    pub(crate) image: ImageReference,
    /// The environment; the first by default.
    #[arg(long, value_name = "ENV")]
    pub(crate) environment: Option<EnvironmentId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List the registries, and which components use them.
    List,
    /// Ask a registry whether the login works, and whether it may pull an image.
    Verify {
        /// The registry, by its id.
        name: RegistryId,
        /// An image to ask for, such as registry.example.com/shop/orders:1.4.
        image: Option<ImageReference>,
    },
    /// Forget a registry that has left the configuration, and its credential.
    Remove {
        /// The registry, by its id.
        name: RegistryId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token of a component. It is shown now, and never again.
    Create {
        /// The component, by its id.
        component: ComponentId,
        /// What people call it; its id by default.
        #[arg(long)]
        name: Option<String>,
        /// How many days it lives; 90 by default, 365 at most.
        #[arg(long, value_parser = lifetime)]
        days: Option<Lifetime>,
    },
    /// List the tokens of a component.
    List {
        /// The component, by its id.
        component: ComponentId,
    },
    /// End a token now.
    Revoke {
        /// The component, by its id.
        component: ComponentId,
        /// The token, by its id: `token list` shows them.
        token_id: TokenId,
    },
}

fn release_number(text: &str) -> Result<ReleaseNumber, String> {
    let number = text.parse().ok().and_then(ReleaseNumber::new);
    number.ok_or_else(|| "a release is a number, counting from 1".to_owned())
}

fn limit(text: &str) -> Result<u16, String> {
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| format!("a limit is a whole number, 1 to {}", u16::MAX))
}

fn lines(text: &str) -> Result<u32, String> {
    let lines = text.parse().ok();
    lines.ok_or_else(|| "lines are a whole number, 0 or more".to_owned())
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    let days = text
        .parse::<u16>()
        .map_err(|_| "days are a number, 1 to 365".to_owned())?;
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

    /// Guards that whoever asks for help is told what each argument is.
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

    /// Guards that whatever is mistyped is answered without a word of Rust.
    #[test]
    fn wrong_use_is_answered_in_plain_words() {
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
    fn what_is_no_image_or_no_lifetime_is_wrong_use() {
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
                "a release is a number, counting from 1",
            ),
            (
                &["logs", "orders", "--lines", "many"],
                "lines are a whole number, 0 or more",
            ),
            (
                &["snippet", "jenkins", "orders"],
                "CI system \"jenkins\" is not known",
            ),
        ] {
            let parsed = Cli::try_parse_from([&["control-plane"], args].concat());
            let error = parsed.unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
