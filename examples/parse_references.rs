//! Parses image references: JSON strings in, JSON objects out.
//!
//! Reads one JSON string per line and writes one object per line: `input`, `ok`, and either
//! `error` or those of `domain`, `path`, `tag`, `digest`, `normalized`, `familiar` and `lints` that the
//! reference has. The program ends with status 1 at the first line that is not a JSON string.
//!
//! ```sh
//! echo '"nginx:1.26"' | cargo run --example parse_references
//! ```

use std::io::{self, BufRead, Error, ErrorKind, Write};
use std::process::ExitCode;

use choreo_registry::digest::DigestRef;
use choreo_registry::reference::{ParseReferenceError, TagRef};
use choreo_registry::{Finding, ImageReference};
use serde::Serialize;

fn main() -> ExitCode {
    match describe_lines(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error fails too, the exit status is the only report left.
            let _ = writeln!(io::stderr(), "parse_references: {error}");
            ExitCode::FAILURE
        }
    }
}

fn describe_lines(input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    for (index, line) in input.lines().enumerate() {
        // The parser's own message would repeat the line, which may contain a password.
        let input: String = serde_json::from_str(&line?).map_err(|_| {
            let message = format!("line {} is not a JSON string: put it in quotes", index + 1);
            Error::new(ErrorKind::InvalidData, message)
        })?;
        let parsed = input.parse();
        serde_json::to_writer(&mut output, &Description::new(&input, &parsed))?;
        writeln!(output)?;
    }
    output.flush()
}

/// One line of output, without the parts that the reference does not have.
#[derive(Serialize)]
struct Description<'a> {
    input: &'a str,
    ok: bool,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Accepted {
        #[serde(skip_serializing_if = "str::is_empty")]
        domain: &'a str,
        path: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<&'a str>,
        normalized: &'a str,
        familiar: &'a str,
        lints: Vec<Finding>,
    },
    Refused {
        error: String,
    },
}

impl<'a> Description<'a> {
    fn new(input: &'a str, parsed: &'a Result<ImageReference, ParseReferenceError>) -> Self {
        let outcome = match parsed {
            Ok(image) => Outcome::Accepted {
                domain: image.domain(),
                path: image.repository().as_str(),
                tag: image.tag().map(TagRef::as_str),
                digest: image.digest().map(DigestRef::as_str),
                normalized: image.as_str(),
                familiar: image.familiar(),
                lints: image.lints(),
            },
            Err(error) => Outcome::Refused {
                error: error.to_string(),
            },
        };
        let ok = parsed.is_ok();
        Self { input, ok, outcome }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!("../choreo-registry/tests/vectors/references.jsonl");

    /// The objects on the lines of `text`, without the words of their errors.
    fn objects(text: &str) -> Vec<Value> {
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .map(|mut object: Value| {
                if let Some(error) = object.get_mut("error") {
                    assert_ne!(error.take(), "", "an error without words");
                }
                object
            })
            .collect()
    }

    fn describe(input: &str) -> Vec<Value> {
        let mut output = Vec::new();
        describe_lines(input.as_bytes(), &mut output).unwrap();
        objects(std::str::from_utf8(&output).unwrap())
    }

    #[test]
    fn every_vector_comes_out_as_distribution_reference_has_it() {
        let expected = objects(VECTORS);
        let input: String = expected
            .iter()
            .map(|vector| format!("{}\n", vector["input"]))
            .collect();
        let found = describe(&input);
        assert_eq!(found.len(), expected.len());
        for (mut found, expected) in found.into_iter().zip(expected) {
            // distribution/reference has no lints: each accepted reference has a list of its own.
            let lints = found.as_object_mut().unwrap().remove("lints");
            assert_eq!(
                lints.is_some_and(|lints| lints.is_array()),
                expected["ok"] == true
            );
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_doubtful_stands_in_lints() {
        let found = describe("\"ghcr.io/acme/app:1\"\n\"DOCKER.IO/ubuntu:1\"\n");
        assert_eq!(found[0]["lints"], serde_json::json!([]));
        let lint = &found[1]["lints"][0];
        assert_eq!(lint["code"], "docker-hub-alias");
        assert_eq!(lint["severity"], "warning");
        assert_eq!(lint["help"], "write \"docker.io/library/ubuntu:1\"");
    }

    #[test]
    fn a_line_without_quotes_is_named_and_not_repeated() {
        let mut output = Vec::new();
        let error = describe_lines(&b"\"nginx\"\nhunter2@nginx\n"[..], &mut output).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 is not a JSON string: put it in quotes"
        );
        assert_eq!(output.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }
}
