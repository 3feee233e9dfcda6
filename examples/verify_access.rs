//! Checks at a registry which access a login has, and explains the result.
//!
//! ```sh
//! cargo run --features tls --example verify_access -- ghcr.io/home-assistant/core:stable
//! echo "$TOKEN" | cargo run --features tls --example verify_access -- \
//!     registry.example.com/team/app:1.4 --username robot --password-stdin
//! cargo run --features tls --example verify_access -- 10.0.0.7:5000 \
//!     --allow-plain-http --allow-address 10.0.0.0/8 --json
//! ```
//!
//! The result is written to standard output. The exit status is:
//!
//! - 0 if the image can be pulled, if the login is accepted and no image was given, or if the access
//!   cannot be checked from here (class `not-checkable`);
//! - 1 if the registry denies or hides the image;
//! - 2 if the usage is wrong;
//! - 3 if the host does not respond, or is not a registry;
//! - 4 if the egress policy blocks the connection. It allows public addresses over `https`; flags
//!   extend it.

use std::{io, process::ExitCode};

use choreo_examples::command_line::arguments;
use choreo_examples::registry_flags::{Answer, Asked, host_or_image};
use choreo_registry::ImageReference;

pub(crate) const USAGE: &str = "\
usage: verify_access HOST[/REPOSITORY[:TAG]] [FLAG]...
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let asked = Asked::parse(USAGE, host_or_image, arguments(), io::stdin().lock());
    let answer = match asked {
        Ok((asked, image)) => ask(&asked, image.as_ref()).await,
        Err(misused) => misused,
    };
    answer.print()
}

pub(crate) async fn ask(asked: &Asked, image: Option<&ImageReference>) -> Answer {
    let access = asked.client.verify(image).await;
    Answer::access(asked, &access)
}
