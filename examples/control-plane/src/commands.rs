//! What each command does. They return how it came out; a [`Failure`] is what kept them from it.

mod check;
mod deploy;
mod offline;
mod registry;
mod restore;
mod serve;
mod task;
mod token;
mod view;

use crate::cli::{ActCommand, Cli, Command, RegistryCommand, TokenCommand};
use crate::config::Configuration;
use crate::control_plane::{ControlPlane, Records};
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;
use crate::registration::Registering;

/// Runs the command.
pub(crate) async fn run(cli: Cli, output: Output) -> Result<ExitStatus, Failure> {
    let path = &cli.config;
    match cli.command {
        Command::Check => Ok(check::check(path, output)),
        Command::Render {
            component,
            image,
            environment,
        } => {
            let configuration = configuration(path)?;
            offline::render(
                &configuration,
                (&component, environment.as_ref()),
                &image,
                output,
            )
        }
        Command::Snippet { ci, component } => {
            offline::snippet(&configuration(path)?, ci, &component, output)
        }
        Command::Registry(RegistryCommand::Verify { name, image }) => {
            let records = Records::open(path).await?;
            registry::verify(&records, &name, image.as_ref(), output).await
        }
        Command::Token(command) => {
            let records = Records::open(path).await?;
            match command {
                TokenCommand::Create {
                    component,
                    name,
                    days,
                } => token::create(&records, component, (name, days), output).await,
                TokenCommand::List { component } => token::list(&records, &component, output).await,
                TokenCommand::Revoke {
                    component,
                    token_id,
                } => token::revoke(&records, &component, &token_id, output).await,
            }
        }
        Command::Deployments { component } => {
            let records = Records::open(path).await?;
            deploy::list(&records, component, output).await
        }
        Command::Restore => restore::restore(&configuration(path)?, output).await,
        Command::Serve => {
            let control_plane = ControlPlane::open(path, Registering::Server).await?;
            serve::serve(control_plane, output).await
        }
        Command::Act(command) => {
            let registering = match &command {
                ActCommand::Logs { .. } => Registering::Nothing,
                _ => Registering::Command,
            };
            act(
                &ControlPlane::open(path, registering).await?,
                command,
                output,
            )
            .await
        }
    }
}

/// The commands that work on data planes.
async fn act(
    control_plane: &ControlPlane,
    command: ActCommand,
    output: Output,
) -> Result<ExitStatus, Failure> {
    match command {
        ActCommand::Deploy {
            component,
            image,
            environment,
        } => deploy::deploy(control_plane, (component, environment), image, output).await,
        ActCommand::Promote { component, from } => {
            deploy::promote(control_plane, (component, from), output).await
        }
        ActCommand::Rollback {
            component,
            environment,
            to,
        } => deploy::rollback(control_plane, (component, environment), to, output).await,
        ActCommand::ReleaseHold {
            component,
            environment,
        } => deploy::release_hold(control_plane, (component, environment), output).await,
        ActCommand::Run {
            component,
            environment,
            args,
        } => task::run(control_plane, (component, environment), args, output).await,
        ActCommand::Logs {
            component,
            environment,
            lines,
            previous,
        } => {
            task::logs(
                control_plane,
                (component, environment),
                (lines, previous),
                output,
            )
            .await
        }
    }
}

/// The configuration without its secrets, for commands that need none.
fn configuration(path: &std::path::Path) -> Result<Configuration, Failure> {
    Configuration::read(path).map_err(|problems| Failure::configuration(path, &problems))
}
