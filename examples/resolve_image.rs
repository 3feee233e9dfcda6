//! Resolves an image at its registry: its current digest, platforms, user and ports.
//!
//! ```sh
//! cargo run --features tls --example resolve_image -- ghcr.io/home-assistant/core:stable
//! echo "$TOKEN" | cargo run --features tls --example resolve_image -- \
//!     registry.example.com/team/app:1.4 --username robot --password-stdin --json
//! ```
//!
//! The digest is computed from the bytes of the manifest. If an image has several platforms, the user
//! and the ports are those of `linux/amd64`, or else of the first platform. The flags and the exit
//! statuses are those of `verify_access`. A failure is written to standard error, or with `--json` to
//! standard output.

use std::fmt::{Display, Write as _};
use std::{io, process::ExitCode};

use choreo_examples::command_line::arguments;
use choreo_examples::registry_flags::{Answer, Asked, image};
use choreo_registry::{ImageReference, image::ResolvedImage};

pub(crate) const USAGE: &str = "\
usage: resolve_image IMAGE [FLAG]...
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let asked = Asked::parse(USAGE, image, arguments(), io::stdin().lock());
    let answer = match asked {
        Ok((asked, image)) => ask(&asked, &image).await,
        Err(misused) => misused,
    };
    answer.print()
}

pub(crate) async fn ask(asked: &Asked, image: &ImageReference) -> Answer {
    match asked.client.inspect(image).await {
        Ok(resolved) => Answer::found(asked, describe(image, &resolved), &resolved),
        Err(error) => Answer::failed(asked, &error.into()),
    }
}

fn describe(image: &ImageReference, resolved: &ResolvedImage) -> String {
    let pinned = image.with_digest(resolved.digest());
    let mut text = format!("{pinned}\n");
    let lines: [(&str, String); 5] = [
        ("digest", resolved.digest().to_string()),
        ("media type", resolved.media_type().to_string()),
        ("platforms", listed(resolved.platforms())),
        ("user", resolved.user().unwrap_or("(none)").to_owned()),
        ("exposed ports", listed(resolved.exposed_ports())),
    ];
    for (name, value) in lines {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {name}: {value}");
    }
    text
}

fn listed(values: &[impl Display]) -> String {
    match values {
        [] => "(none)".to_owned(),
        values => {
            let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
            texts.join(", ")
        }
    }
}
