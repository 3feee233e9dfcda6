//! Shows which credential kubelets, Docker, Podman and oras use for an image.
//!
//! For people, a table of tools:
//!
//! ```sh
//! cargo run --example explain_image -- --key index.docker.io/v1/ --key ghcr.io nginx:1.26
//! ```
//!
//! For programs, JSON lines: the input `{"auths": [KEY...], "image": "..."}` gives the output
//! `{"kubelet": [KEY...], "docker": KEY|null, "containers_image": KEY|null, "oras": KEY|null}`.
//! The program ends with status 1 at the first line that is not such an object or whose image does not
//! parse.
//!
//! ```sh
//! echo '{"auths": ["ghcr.io"], "image": "ghcr.io/acme/app"}' \
//!     | cargo run --example explain_image -- --jsonl
//! ```

use std::io::{self, BufRead, Error, ErrorKind, Write};
use std::process::ExitCode;

use choreo_examples::command_line;
use choreo_registry::ImageReference;
use choreo_registry::keyring::{Keyring, Tool};
use serde::{Deserialize, Serialize};

const USAGE: &str = "usage: explain_image --key KEY... IMAGE\n       explain_image --jsonl";

fn main() -> ExitCode {
    let arguments: Vec<String> = command_line::arguments().collect();
    let outcome = match parse(&arguments) {
        Some(Command::Help) => writeln!(io::stdout(), "{USAGE}"),
        Some(Command::Lines) => answer_lines(io::stdin().lock(), io::stdout().lock()),
        Some(Command::Table { keys, image }) => print_table(&keys, image, io::stdout().lock()),
        None => {
            let _ = writeln!(io::stderr(), "{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error fails too, the exit status is the only report left.
            let _ = writeln!(io::stderr(), "explain_image: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq)]
enum Command<'a> {
    Help,
    Lines,
    Table { keys: Vec<&'a str>, image: &'a str },
}

fn parse(arguments: &[String]) -> Option<Command<'_>> {
    match arguments {
        [only] if only == "--help" => return Some(Command::Help),
        [only] if only == "--jsonl" => return Some(Command::Lines),
        _ => {}
    }
    let (mut keys, mut image) = (Vec::new(), None);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "--key" => keys.push(arguments.next()?),
            _ if argument.starts_with('-') => return None,
            // The last one is the image; the others before it are keys.
            _ => keys.extend(image.replace(argument)),
        }
    }
    let image = image.filter(|_| !keys.is_empty())?;
    Some(Command::Table { keys, image })
}

fn print_table(keys: &[&str], image: &str, mut output: impl Write) -> io::Result<()> {
    let image: ImageReference = image.parse().map_err(invalid)?;
    let keyring = Keyring::from_keys(keys.iter().copied());
    let explanation = keyring.explain(&image);

    writeln!(output, "{}\n", image.name())?;
    writeln!(output, "{:8}  {:5}  why", "tool", "finds")?;
    for tool in explanation.tools() {
        let finds = if tool.matches() { "yes" } else { "no" };
        writeln!(output, "{:8}  {finds:5}  {tool}", tool.tool())?;
        if tool.matches() {
            writeln!(output, "{:17}because {}", "", tool.reason())?;
        }
    }
    output.flush()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    auths: Vec<String>,
    image: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    kubelet: Vec<&'a str>,
    docker: Option<&'a str>,
    containers_image: Option<&'a str>,
    oras: Option<&'a str>,
}

fn answer_lines(input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    for (index, line) in input.lines().enumerate() {
        let number = index + 1;
        // The parsers' own messages would repeat the line, and a key may contain a password.
        let line = line?;
        // serde would accept a list too.
        let object = Some(line.trim_start()).filter(|line| line.starts_with('{'));
        let question = object.and_then(|line| serde_json::from_str::<Question>(line).ok());
        let question = question.ok_or_else(|| {
            invalid(format!(
                "line {number} is not an object like {{\"auths\": [\"ghcr.io\"], \"image\": \"nginx\"}}"
            ))
        })?;
        let image: ImageReference = question
            .image
            .parse()
            .map_err(|error| invalid(format!("line {number}: {error}")))?;
        let keyring = Keyring::from_keys(question.auths);
        let explanation = keyring.explain(&image);
        let key = |tool| explanation.tool(tool).key();
        let answer = Answer {
            kubelet: keyring.lookup(&image).map(|entry| entry.key()).collect(),
            docker: key(Tool::Docker),
            containers_image: key(Tool::ContainersImage),
            oras: key(Tool::Oras),
        };
        serde_json::to_writer(&mut output, &answer)?;
        writeln!(output)?;
    }
    output.flush()
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(input: &str) -> Result<String, String> {
        let mut output = Vec::new();
        answer_lines(input.as_bytes(), &mut output).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn each_line_is_answered_in_the_spelling_given() {
        let input = concat!(
            r#"{"auths": ["index.docker.io/v1/", "*.io"], "image": "nginx:1.26"}"#,
            "\n",
            r#"{"image": "ghcr.io/acme/app", "auths": ["ghcr.io", "https://ghcr.io/v2/acme"]}"#,
            "\n",
        );
        assert_eq!(
            answer(input).unwrap(),
            concat!(
                r#"{"kubelet":["*.io"],"docker":null,"containers_image":null,"oras":null}"#,
                "\n",
                r#"{"kubelet":["https://ghcr.io/v2/acme","ghcr.io"],"docker":"ghcr.io","#,
                r#""containers_image":"ghcr.io","oras":"ghcr.io"}"#,
                "\n",
            )
        );
        assert_eq!(answer("").unwrap(), "");
    }

    #[test]
    fn a_bad_line_is_named_and_not_repeated() {
        let good = r#"{"auths": [], "image": "nginx"}"#;
        for bad in [
            "hunter2",
            "",
            r#"{"auths": {"hunter2": {}}, "image": "nginx"}"#,
            r#"[["hunter2"], "nginx"]"#,
        ] {
            assert_eq!(
                answer(&format!("{good}\n{bad}\n")).unwrap_err(),
                r#"line 2 is not an object like {"auths": ["ghcr.io"], "image": "nginx"}"#
            );
        }
        assert_eq!(
            answer(r#"{"auths": [], "image": "a:hunter2@b.c"}"#).unwrap_err(),
            "line 1: invalid image reference: the part after '@' is no digest: no algorithm: a digest \
             looks like sha256:…"
        );
    }

    #[test]
    fn people_read_a_table() {
        let mut output = Vec::new();
        print_table(&["index.docker.io/v1/"], "acme/app:1", &mut output).unwrap();
        assert_eq!(
            String::from_utf8(output).unwrap(),
            "docker.io/acme/app\n\
             \n\
             tool      finds  why\n\
             kubelet   yes    matches \"index.docker.io/v1/\"\n\
             \x20                because no other key matches, and the image is taken for one of Docker Hub\n\
             docker    no     does not match \"index.docker.io/v1/\", because for Docker Hub only \"https://index.docker.io/v1/\" is looked for\n\
             podman    no     does not match \"index.docker.io/v1/\", because a key without \"https://\" has to be the image's name up to one of its slashes\n\
             oras      no     does not match \"index.docker.io/v1/\", because for Docker Hub only \"https://index.docker.io/v1/\" is looked for\n"
        );
        let error = print_table(&["ghcr.io"], "Acme/app:1:2", io::sink()).unwrap_err();
        assert!(error.to_string().contains("Acme/app"), "{error}");
    }

    #[test]
    fn arguments_are_a_table_or_lines() {
        let parsed = |line: &str| {
            let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
            parse(&arguments).map(|command| format!("{command:?}"))
        };
        assert_eq!(parsed("--jsonl").unwrap(), "Lines");
        assert_eq!(parsed("--help").unwrap(), "Help");
        assert_eq!(
            parsed("--key a nginx --key b").unwrap(),
            r#"Table { keys: ["a", "b"], image: "nginx" }"#
        );
        assert_eq!(
            parsed("--key a b c").unwrap(),
            r#"Table { keys: ["a", "b"], image: "c" }"#
        );
        for wrong in [
            "",
            "nginx",
            "--key a",
            "--key",
            "--jsonl nginx",
            "--help nginx",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
