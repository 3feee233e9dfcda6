//! What is this login good for? Asks the registry, and says it in plain words.
//!
//! ```sh
//! cargo run --features tls --example verify_access -- ghcr.io/home-assistant/core:stable
//! echo "$TOKEN" | cargo run --features tls --example verify_access -- \
//!     registry.example.com/team/app:1.4 --username robot --password-stdin
//! cargo run --features tls --example verify_access -- 10.0.0.7:5000 \
//!     --allow-plain-http --allow-address 10.0.0.0/8 --json
//! ```
//!
//! The answer goes to standard output, good or bad. Its exit status is 0 when the image can be
//! pulled, when the login is accepted and no image was named, and when it cannot be told from here
//! (class `not_checkable`: it may work); 1 when the registry refuses or hides it; 2 for wrong use; 3
//! when the host does not answer, or not as a registry; 4 when the egress policy forbids the way,
//! which is public addresses over `https` and what the flags add.

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
