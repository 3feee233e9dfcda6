//! The command line.

use std::path::PathBuf;

use choreo_deploy::id::{ComponentId, EnvironmentId, RegistryId, TokenId};
use choreo_deploy::release::ReleaseNumber;
use choreo_registry::ImageReference;
use choreo_webhook::snippet::Ci;
use choreo_webhook::token::Lifetime;
use clap::{Parser, Subcommand};

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
    /// Check the configuration and say every problem at once.
    Check,
    /// Container registries.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Deploy tokens, with which CI deploys.
    #[command(subcommand)]
    Token(TokenCommand),
    #[command(flatten)]
    Act(ActCommand),
    /// List the newest deployments.
    Deployments { component: Option<ComponentId> },
    /// Put a store to work again that was restored from a backup, or begun anew. Stop the server
    /// before.
    Restore,
    /// Show the Kubernetes objects of an image as YAML, without any secret and without asking
    /// anybody.
    Render {
        component: ComponentId,
        /// The image, such as registry.example.com/shop/orders:1.4.
        image: ImageReference,
        /// The environment; the first by default.
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentId>,
    },
    /// Show the CI step that deploys a component: curl or github-actions.
    Snippet { ci: Ci, component: ComponentId },
}

/// The commands that work on data planes.
#[derive(Debug, Subcommand)]
pub(crate) enum ActCommand {
    /// Deploy an image and follow it to its end.
    Deploy {
        component: ComponentId,
        /// The image, such as registry.example.com/shop/orders:1.4.
        image: ImageReference,
        /// The environment; the first by default.
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentId>,
    },
    /// Deploy what is ready in one environment to the next, and follow it.
    Promote {
        component: ComponentId,
        /// The environment to promote from; the first by default.
        #[arg(long, value_name = "ENV")]
        from: Option<EnvironmentId>,
    },
    /// Bring an older release back, and hold the environment against CI.
    Rollback {
        component: ComponentId,
        /// The environment; the first by default.
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentId>,
        /// The release; the one that was ready before by default.
        #[arg(long, value_name = "RELEASE", value_parser = release_number)]
        to: Option<ReleaseNumber>,
    },
    /// Let CI deploy again after a rollback.
    ReleaseHold {
        component: ComponentId,
        /// The environment; the first by default.
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentId>,
    },
    /// Run a task and follow it to its end.
    Run {
        component: ComponentId,
        /// The environment; the first by default.
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentId>,
        /// Arguments in place of the workload's.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Show the last lines that a component wrote.
    Logs {
        component: ComponentId,
        /// The environment; the first by default.
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentId>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100)]
        lines: u32,
        /// Those of the container before the last restart.
        #[arg(long)]
        previous: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Ask a registry whether the login works, and whether it may pull an image.
    Verify {
        /// The id of the registry.
        name: RegistryId,
        /// An image to ask for, such as registry.example.com/shop/orders:1.4.
        image: Option<ImageReference>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token of a component. It is shown now, and never again.
    Create {
        component: ComponentId,
        /// What people call it; its id by default.
        #[arg(long)]
        name: Option<String>,
        /// How many days it lives; 90 by default, 365 at most.
        #[arg(long, value_parser = lifetime)]
        days: Option<Lifetime>,
    },
    /// List the tokens of a component.
    List { component: ComponentId },
    /// End a token now.
    Revoke {
        component: ComponentId,
        token_id: TokenId,
    },
}

fn release_number(text: &str) -> Result<ReleaseNumber, String> {
    let number = text.parse().ok().and_then(ReleaseNumber::new);
    number.ok_or_else(|| "a release is a number, counting from 1".to_owned())
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
