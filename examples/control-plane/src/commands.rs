//! The commands. Each returns its exit status, or a [`Failure`] if it could not do its work.

mod address;
mod check;
mod deploy;
mod history;
mod offline;
mod orphans;
mod registry;
mod remove;
mod restore;
mod serve;
mod status;
mod task;
mod token;
mod view;

use std::path::Path;

use crate::cli::{ActCommand, Cli, Command, RegistryCommand, RunCommand, TokenCommand};
use crate::control_plane::{ControlPlane, Records, configuration, unsealed};
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;
use crate::registration::Registering;

/// Runs a command. A command that only shows something writes nothing to the disk.
pub(crate) async fn run(cli: Cli, output: Output) -> Result<ExitStatus, Failure> {
    let path = &cli.config;
    match cli.command {
        Command::Check { connect } => Ok(check::check(path, connect, output).await),
        Command::Render { image } => offline::render(&configuration(path)?, &image, output),
        Command::Snippet { ci, component } => {
            offline::snippet(&configuration(path)?, ci, &component, output)
        }
        Command::Registry(command) => registry(path, command, output).await,
        Command::Token(command) => token(path, command, output).await,
        Command::Status { component } => {
            status::status(&Records::read(path).await?, component, output).await
        }
        Command::Deployments { component, newest } => {
            history::deployments(&Records::read(path).await?, component, newest, output).await
        }
        Command::Releases { component, newest } => {
            history::releases(&Records::read(path).await?, &component, newest, output).await
        }
        Command::Runs { component, newest } => {
            history::runs(&Records::read(path).await?, &component, newest, output).await
        }
        Command::Logs {
            place,
            lines,
            previous,
        } => {
            let records = Records::read(path).await?;
            task::logs(&records, place, (lines, previous), output).await
        }
        Command::Orphans => orphans::orphans(&Records::read(path).await?, output).await,
        Command::Restore => restore::restore(&configuration(path)?, output).await,
        Command::Serve => {
            let control_plane = ControlPlane::open(path, Registering::Server).await?;
            serve::serve(control_plane, output).await
        }
        Command::Act(command) => {
            let control_plane = ControlPlane::open(path, Registering::Command).await?;
            act(&control_plane, command, output).await
        }
    }
}

async fn registry(
    path: &Path,
    command: RegistryCommand,
    output: Output,
) -> Result<ExitStatus, Failure> {
    match command {
        RegistryCommand::List => registry::list(&Records::read(path).await?, output).await,
        RegistryCommand::Verify { name, image } => {
            let (configuration, secrets) = unsealed(path)?;
            let opened = (&configuration, &secrets);
            registry::verify(opened, &name, image.as_ref(), output).await
        }
        RegistryCommand::Remove { name } => {
            registry::remove(&Records::open(path).await?, &name, output).await
        }
    }
}

async fn token(path: &Path, command: TokenCommand, output: Output) -> Result<ExitStatus, Failure> {
    match command {
        TokenCommand::Create {
            component,
            name,
            days,
        } => {
            let records = Records::open(path).await?;
            token::create(&records, component, (name, days), output).await
        }
        TokenCommand::List { component } => {
            token::list(&Records::read(path).await?, &component, output).await
        }
        TokenCommand::Revoke {
            component,
            token_id,
        } => {
            let records = Records::open(path).await?;
            token::revoke(&records, &component, &token_id, output).await
        }
    }
}

/// Runs a command that acts on data planes.
async fn act(
    control_plane: &ControlPlane,
    command: ActCommand,
    output: Output,
) -> Result<ExitStatus, Failure> {
    match command {
        ActCommand::Deploy { image } => deploy::deploy(control_plane, image, output).await,
        ActCommand::Promote { component, from } => {
            deploy::promote(control_plane, (component, from), output).await
        }
        ActCommand::Rollback { place, to } => {
            deploy::rollback(control_plane, place, to, output).await
        }
        ActCommand::ReleaseHold { place } => {
            deploy::release_hold(control_plane, place, output).await
        }
        ActCommand::Remove {
            component,
            environment,
            all,
            forget,
        } => {
            let choice = remove::Choice {
                environment,
                all,
                forget,
            };
            remove::remove(control_plane, &component, choice, output).await
        }
        ActCommand::Run {
            command: Some(RunCommand::Cancel { id }),
            ..
        } => task::cancel(control_plane, &id, output).await,
        ActCommand::Run {
            place: Some(place),
            args,
            ..
        } => task::run(control_plane, place, args, output).await,
        ActCommand::Run { place: None, .. } => {
            Err(Failure::wrong_use("run needs a component: run COMPONENT"))
        }
    }
}
