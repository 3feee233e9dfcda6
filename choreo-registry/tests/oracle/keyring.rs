//! Compares the keyring with kubelet's own keyring code, Docker's CLI, containers/image and
//! oras-go.

mod generate;

use std::fmt::Write as _;
use std::path::Path;

use choreo_registry::ImageReference;
use choreo_registry::keyring::{Keyring, Tool};
use serde_json::{Value, json};

use self::generate::{Case, Generator};
use crate::go::{Oracle, cases};

/// The number of cases in a batch, so that the answers of a long run need not fit into memory.
const BATCH: usize = 50_000;

#[test]
fn a_kubelet_tries_the_same_keys_in_the_same_order() {
    let Some(oracle) = Oracle::or_skip("keyring/kubelet") else {
        return;
    };
    in_batches(&oracle, |case, answer| {
        compare_kubelet(case, &strings(answer));
        !strings(answer).is_empty()
    });
}

#[test]
fn docker_containers_image_and_oras_take_the_same_key() {
    let Some(oracle) = Oracle::or_skip("keyring/clients") else {
        return;
    };
    in_batches(&oracle, |case, answer| {
        compare_clients(case, answer);
        CLIENTS.iter().any(|(name, _)| answer[name].is_string())
    });
}

/// Guards the committed answers of the programs, also if Go is not installed.
#[test]
fn the_answers_of_the_programs_are_committed_and_hold() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/keyring/answers.jsonl");
    if std::env::var_os("CHOREO_TEST_WRITE_FIXTURES").is_some() {
        std::fs::write(&file, answers()).unwrap();
    }
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.lines().count() > 2_000);
    for line in text.lines() {
        let answer: Value = serde_json::from_str(line).unwrap();
        let case = Case {
            keys: strings(&answer["auths"]),
            image: answer["image"].as_str().unwrap().parse().unwrap(),
        };
        compare_kubelet(&case, &strings(&answer["kubelet"]));
        compare_clients(&case, &answer);
    }
}

/// The control: the comparisons above find a difference.
#[test]
#[should_panic(expected = "the kubelet tries")]
fn a_wrong_order_is_found() {
    let case = Case {
        keys: vec!["ghcr.io".to_owned(), "ghcr.io/acme".to_owned()],
        image: "ghcr.io/acme/app".parse().unwrap(),
    };
    compare_kubelet(&case, &case.keys);
}

const CLIENTS: [(&str, Tool); 3] = [
    ("docker", Tool::Docker),
    ("containers_image", Tool::ContainersImage),
    ("oras", Tool::Oras),
];

fn in_batches(oracle: &Oracle, mut compare: impl FnMut(&Case, &Value) -> bool) {
    let mut generator = Generator::new(1);
    let (mut left, mut matched) = (cases(), 0);
    let total = left;
    while left > 0 {
        let batch: Vec<_> = (0..left.min(BATCH)).map(|_| generator.case()).collect();
        let answers = oracle.ask(batch.iter().map(question).collect());
        for (case, answer) in batch.iter().zip(answers) {
            matched += usize::from(compare(case, &serde_json::from_str(&answer).unwrap()));
        }
        left -= batch.len();
    }
    // Keys that match nothing would prove little.
    assert!(matched > total / 4, "only {matched} of {total} cases match");
}

fn question(case: &Case) -> String {
    json!({"auths": case.keys, "image": case.image.name()}).to_string()
}

/// Go orders equivalent keys at random, and this crate keeps the given order. Therefore the keys of
/// the answer come first, in its order, and then both orders must be equal.
fn compare_kubelet(case: &Case, answer: &[String]) {
    let keyring = Keyring::from_keys(first(answer, &case.keys));
    let found: Vec<_> = keyring
        .lookup(&case.image)
        .map(|entry| entry.key())
        .collect();
    assert_eq!(
        found,
        answer,
        "the kubelet tries other keys: {}",
        question(case)
    );

    let explanation = keyring.explain(&case.image);
    let explained: Vec<_> = explanation.tool(Tool::Kubelet).keys().collect();
    assert_eq!(explained, answer, "{}", question(case));
}

fn compare_clients(case: &Case, answer: &Value) {
    for (name, tool) in CLIENTS {
        let taken = answer[name].as_str();
        let taken_keys: Vec<_> = taken.map(str::to_owned).into_iter().collect();
        let keyring = Keyring::from_keys(first(&taken_keys, &case.keys));
        let found = keyring
            .explain(&case.image)
            .tool(tool)
            .key()
            .map(str::to_owned);
        assert_eq!(found.as_deref(), taken, "{name} for {}", question(case));
    }
}

fn first(answer: &[String], keys: &[String]) -> Vec<String> {
    let others = keys.iter().filter(|key| !answer.contains(key));
    answer.iter().chain(others).cloned().collect()
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("an array of keys");
    list.iter()
        .map(|key| key.as_str().expect("a key").to_owned())
        .collect()
}

/// Returns the answers of both programs to the cases that are committed.
fn answers() -> String {
    let kubelet = Oracle::or_skip("keyring/kubelet").expect("fixtures need Go");
    let clients = Oracle::or_skip("keyring/clients").expect("fixtures need Go");
    let mut cases = generate::matrix();
    let mut generator = Generator::new(2);
    cases.extend((0..2_000).map(|_| generator.case()));
    let questions: Vec<_> = cases.iter().map(question).collect();
    let keys = kubelet.ask(questions.clone());
    let taken = clients.ask(questions);

    let mut text = String::new();
    for (case, (keys, taken)) in cases.iter().zip(keys.iter().zip(taken)) {
        let mut line: Value = serde_json::from_str(&taken).unwrap();
        line["auths"] = json!(case.keys);
        line["image"] = json!(case.image.name());
        line["kubelet"] = serde_json::from_str(keys).unwrap();
        writeln!(text, "{line}").unwrap();
    }
    text
}

fn image(text: &str) -> ImageReference {
    text.parse().unwrap()
}
