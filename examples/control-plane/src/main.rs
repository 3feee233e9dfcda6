//! A complete small control plane built on the choreo crates: one program, one TOML file, one
//! SQLite file.
//!
//! Read it from here: [`cli`] has the commands, [`commands`] what each does, [`control_plane`] how
//! the parts are put together, [`server`] how the webhook is served, and [`config`] how the
//! configuration is read.
//!
//! Every command opens the configuration and the store by itself, also while `serve` runs. One that
//! only shows something opens the store to read only. One that starts something has it stored durably,
//! works on it, and follows it to its end, whichever process does the work.
//!
//! # Exit statuses
//!
//! | status | |
//! |---|---|
//! | 0 | ready, succeeded, or done |
//! | 1 | failed; the output says why |
//! | 2 | wrong use, or a wrong configuration |
//! | 3 | superseded by a newer deployment |
//! | 4 | held since a rollback |
//! | 5 | timed out |
//! | 6 | refused: an unknown component, an image outside its registry, a token, … |
//! | 7 | unavailable: the store or a data plane does not do it now |
//!
//! They are those of the CI snippets ([`choreo_webhook::snippet::ExitStatus`]).

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

/// How long threads that wait for something get to end with the process.
const LAST_WORD: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            Output::note(format_args!("error: no thread can be started: {error}"));
            return ExitCode::from(ExitStatus::NoAnswer.code());
        }
    };
    let status = runtime.block_on(run());
    // A credential plugin that hangs must not keep the process.
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

/// Ends as clap does, and answers machines in JSON like every other error.
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

/// Logs go to standard error, as `RUST_LOG` says.
fn start_logging(serving: bool) {
    // What fails at a data plane is said in the outcome; the client's own word for it is for servers.
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
