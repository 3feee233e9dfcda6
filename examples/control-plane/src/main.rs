//! A complete small control plane built on the choreo crates: one program, one TOML file, one
//! SQLite file.
//!
//! Start to read here: [`cli`] defines the commands, [`commands`] implements them, [`control_plane`]
//! assembles the parts, [`server`] serves the webhook, and [`config`] reads the configuration.
//!
//! Each command opens the configuration and the store itself, also while `serve` runs. A command that
//! only shows something opens the store read-only. A command that starts something stores it durably,
//! works on it and waits for its end. Another process may do the work.
//!
//! # Exit statuses
//!
//! | status | |
//! |---|---|
//! | 0 | ready, succeeded, or done |
//! | 1 | failed; the output says why |
//! | 2 | invalid arguments, or an invalid configuration |
//! | 3 | superseded by a newer deployment |
//! | 4 | the environment is held since a rollback |
//! | 5 | timed out |
//! | 6 | rejected: an unknown component, an image outside its registry, … |
//! | 7 | unavailable: the store or a data plane cannot do it now |
//!
//! The CI snippets use the same statuses ([`choreo_webhook::snippet::ExitStatus`]).

mod cli;
mod commands;
mod config;
mod control_plane;
mod data_plane;
mod failure;
mod nearest;
mod output;
mod progress;
mod registration;
mod server;
mod table;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use self::cli::{Cli, Command};
use self::failure::{ExitStatus, Failure};
use self::output::Output;

/// The time that blocked threads get to end before the process exits.
const LAST_WORD: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            Output::note(format_args!("error: threads cannot be started: {error}"));
            return ExitCode::from(ExitStatus::NoAnswer.code());
        }
    };
    let status = runtime.block_on(run());
    // A credential plugin that hangs must not keep the process alive.
    runtime.shutdown_timeout(LAST_WORD);
    status
}

async fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_use(&error),
    };
    start_logging(matches!(cli.command, Command::Serve));
    let output = if cli.json {
        Output::Machines
    } else {
        Output::People
    };
    let status = match commands::run(cli, output).await {
        Ok(status) => status,
        Err(failure) => {
            Output::note(format_args!("error: {failure}"));
            if output == Output::Machines {
                output.say("", &failure.document());
            }
            failure.status()
        }
    };
    ExitCode::from(status.code())
}

/// Exits as clap does, and reports the error as JSON if `--json` is among the arguments.
fn wrong_use(error: &clap::Error) -> ExitCode {
    let options = std::env::args_os().take_while(|argument| argument != "--");
    let wants_json = { options }.any(|argument| argument == "--json");
    let text = error.to_string();
    if wants_json && !error.use_stderr() {
        Output::Machines.say("", &json!({ "help": text.trim_end() }));
        return ExitCode::SUCCESS;
    }
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if wants_json {
        let text = text.trim_end().trim_start_matches("error: ");
        Output::Machines.say("", &Failure::wrong_use(text).document());
    }
    ExitCode::from(ExitStatus::WrongUse.code())
}

/// Writes logs to standard error, filtered by `RUST_LOG`.
fn start_logging(serving: bool) {
    // The outcome of a command reports failures of a data plane. The logs of the client repeat them.
    let default = if serving {
        "info"
    } else {
        "warn,kube_client=off"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
}
