//! Lists the tags of a repository, one per line, in the order of the registry.
//!
//! ```sh
//! cargo run --features tls --example list_tags -- ghcr.io/home-assistant/core
//! echo "$TOKEN" | cargo run --features tls --example list_tags -- \
//!     registry.example.com/team/app --username robot --password-stdin --json
//! ```
//!
//! The flags and the exit statuses are those of `verify_access`. A failure is written to standard error,
//! or with `--json` to standard output. If the list is incomplete (after 100 pages or 100,000 tags, or if a page cannot be read), a
//! line on standard error says so, or the member `"complete": false`.

use std::{io, process::ExitCode};

use choreo_examples::command_line::arguments;
use choreo_examples::registry_flags::{Answer, Asked, image};
use choreo_registry::ImageReference;
use choreo_registry_client::tags::TagList;
use serde_json::json;

pub(crate) const USAGE: &str = "\
usage: list_tags HOST/REPOSITORY [FLAG]...
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
    match asked.client.tags(image).await {
        Ok(list) => show(asked, &list),
        Err(error) => Answer::failed(asked, &error.into()),
    }
}

fn show(asked: &Asked, list: &TagList) -> Answer {
    let tags: Vec<_> = list.tags().iter().map(|tag| tag.as_str()).collect();
    let text: String = tags.iter().map(|tag| format!("{tag}\n")).collect();
    let value = json!({"tags": tags, "complete": list.is_complete()});
    let mut answer = Answer::found(asked, text, &value);
    if let Some(why) = list.cut() {
        answer.stderr = format!("the list is incomplete: {why}\n");
    }
    answer
}
