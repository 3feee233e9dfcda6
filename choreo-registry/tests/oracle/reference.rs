//! Compares image references with distribution/reference.

mod generate;

use std::path::Path;

use choreo_registry::ImageReference;
use choreo_registry::digest::DigestRef;
use choreo_registry::reference::{ImageReferenceRef, TagRef};
use serde_json::{Value, json};

use self::generate::Generator;
use crate::go::{Oracle, cases};

/// The number of cases in a batch, so that the answers of a long run need not fit into memory.
const BATCH: usize = 50_000;
const FIXTURES: usize = 2_000;

#[test]
fn every_string_means_what_distribution_reference_makes_of_it() {
    let Some(oracle) = Oracle::or_skip("reference") else {
        return;
    };
    let mut generator = Generator::new(2);
    let (mut left, mut accepted) = (cases(), 0);
    let total = left;
    while left > 0 {
        let batch: Vec<String> = (0..left.min(BATCH)).map(|_| generator.case()).collect();
        let questions = batch.iter().map(|input| json!(input).to_string()).collect();
        for (input, answer) in batch.iter().zip(oracle.ask(questions)) {
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["input"].as_str(), Some(&**input));
            compare(&answer);
            accepted += usize::from(answer["ok"] == true);
        }
        left -= batch.len();
    }
    // If all or none were refused, the test would prove little.
    let share = total / 5..total / 5 * 4;
    assert!(share.contains(&accepted), "{accepted} of {total} accepted");
}

/// Guards the committed answers of the program, also if Go is not installed.
#[test]
fn the_answers_of_distribution_reference_are_committed_and_hold() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/reference/answers.jsonl");
    if std::env::var_os("CHOREO_TEST_WRITE_FIXTURES").is_some() {
        let oracle = Oracle::or_skip("reference").expect("fixtures are made by Go");
        let mut generator = Generator::new(3);
        let questions = (0..FIXTURES).map(|_| json!(generator.case()).to_string());
        let answers = oracle.ask(questions.collect());
        std::fs::write(&file, answers.join("\n") + "\n").unwrap();
    }
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().count(), FIXTURES, "answers are missing");
    for line in text.lines() {
        compare(&serde_json::from_str(line).unwrap());
    }
}

/// The control: the comparisons above find a difference.
#[test]
#[should_panic(expected = "path of \"nginx\"")]
fn another_path_is_found() {
    compare(&json!({
        "input": "nginx", "ok": true, "domain": "docker.io", "path": "nginx",
        "normalized": "docker.io/library/nginx", "familiar": "nginx",
    }));
}

fn compare(answer: &Value) {
    let input = answer["input"].as_str().unwrap();
    let parsed = ImageReferenceRef::parse(input);
    let is_accepted = parsed.is_ok();
    assert_eq!(is_accepted, answer["ok"] == true, "{input:?}: {parsed:?}");
    assert_eq!(input.parse::<ImageReference>().is_ok(), is_accepted);
    let Ok(borrowed) = parsed else { return };

    let image = borrowed.to_owned();
    let field = |name: &str| answer[name].as_str();
    let domain = field("domain").unwrap_or_default();
    assert_eq!(image.domain(), domain, "domain of {input:?}");
    assert_eq!(borrowed.domain(), domain, "domain of {input:?}");
    let path = field("path").unwrap();
    assert_eq!(image.repository().as_str(), path, "path of {input:?}");
    assert_eq!(borrowed.repository(), path, "path of {input:?}");
    for image in [borrowed, image.as_borrowed()] {
        let (tag, digest) = (image.tag(), image.digest());
        assert_eq!(tag.map(TagRef::as_str), field("tag"), "tag of {input:?}");
        let digest = digest.map(DigestRef::as_str);
        assert_eq!(digest, field("digest"), "digest of {input:?}");
        let normalized = field("normalized").unwrap();
        assert_eq!(image.normalized(), normalized, "normalised {input:?}");
        let familiar = Some(image.familiar());
        assert_eq!(familiar, field("familiar"), "familiar form of {input:?}");
    }
}
