//! Guards that YAML output is read back as the same value by PyYAML (YAML 1.1), ruamel.yaml (YAML
//! 1.2) and kubectl (Go's parser).
//!
//! The patch of an operator can add values of any kind to an object. `CHOREO_TEST_CASES` sets the
//! number of generated documents (default 2,000).

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, thread};

use choreo_deploy::backend::Intent;
use choreo_deploy::conformance::{example_release, example_target};
use choreo_deploy_kubernetes::{Policy, render};
use serde_json::{Map, Value, json};

#[test]
fn every_value_is_read_back_equal() {
    let mut generator = Generator(5);
    let mut values: Vec<Value> = texts().map(|text| json!({ "of": text })).collect();
    values.extend(texts().map(|text| json!({ text: [text, { text: 1 }] })));
    values.extend((0..cases()).map(|_| generator.value(4)));
    let written: Vec<String> = values.iter().map(written).collect();
    for (reader, script) in PYTHON_READERS {
        let Some(read) = read_with_python(reader, script, &written) else {
            continue;
        };
        for ((value, text), read) in values.iter().zip(&written).zip(&read) {
            // Both are parsed from JSON, because serde_json reads a float with an error in its last
            // digit.
            let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(
                json(read),
                json(&value.to_string()),
                "{reader} reads {text}"
            );
        }
        assert_eq!(read.len(), values.len(), "{reader}");
    }
}

/// The control: the comparison above finds a difference.
#[test]
fn what_is_read_otherwise_is_found() {
    let trap = ["a: no\n".to_owned()];
    if let Some(read) = read_with_python(PYTHON_READERS[0].0, PYTHON_READERS[0].1, &trap) {
        assert_eq!(read, [r#"{"a": false}"#]);
    }
}

/// kubectl decodes into the types of Kubernetes, so the texts are annotations and variables.
#[test]
fn kubectl_reads_every_text_back_equal() {
    let mut generator = Generator(11);
    let mut policies = Vec::new();
    let mut all: Vec<String> = texts().map(str::to_owned).collect();
    all.extend((0..cases() / 5).map(|_| generator.text()));
    for texts in all.chunks(200) {
        let mut policy = Policy::default();
        for text in texts {
            policy.annotations.insert(text.clone(), text.clone());
        }
        policies.push(policy);
    }
    let (target, release) = (example_target("orders"), example_release(1));
    let intent = Intent::new(&target, Default::default(), &release);
    for policy in policies {
        let objects = render(&intent, &policy).unwrap();
        let deployment = objects.iter().find(|object| object.kind() == "Deployment");
        let deployment = deployment.unwrap();
        let Some(read) = read_with_kubectl(&deployment.to_yaml()) else {
            return;
        };
        let expected = deployment.expose_manifest();
        for part in [
            "/metadata/annotations",
            "/spec/template/metadata/annotations",
        ] {
            assert_eq!(read.pointer(part), expected.pointer(part));
        }
    }
}

/// Returns the YAML of an object with the value as a member.
fn written(value: &Value) -> String {
    let (target, release) = (example_target("orders"), example_release(1));
    let intent = Intent::new(&target, Default::default(), &release);
    let value = value.clone();
    let policy = Policy::default().with_patch(move |_, objects| {
        let fields = objects[0].as_object_mut().unwrap();
        fields.insert("value".to_owned(), value.clone());
    });
    render(&intent, &policy).unwrap()[0].to_yaml()
}

/// Reads documents, each followed by a line `...`, and prints the member `value` of each as a line of
/// JSON.
const PYTHON_READERS: [(&str, &str); 2] = [
    (
        "PyYAML",
        "import json, sys, yaml\n\
         for d in yaml.load_all(sys.stdin.buffer, getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):\n\
         \x20   print(json.dumps(d.get('value', d)))",
    ),
    (
        "ruamel.yaml",
        "import json, sys\n\
         from ruamel.yaml import YAML\n\
         for d in YAML(typ='safe', pure=False).load_all(sys.stdin.buffer):\n\
         \x20   print(json.dumps(d.get('value', d)))",
    ),
];

/// Returns `None` and reports it if the parser is not installed.
fn read_with_python(reader: &str, script: &str, documents: &[String]) -> Option<Vec<String>> {
    let library = script.contains("ruamel");
    let import = if library {
        "import ruamel.yaml"
    } else {
        "import yaml"
    };
    let linters = env::var_os("CHOREO_TEST_LINTERS").unwrap_or_default();
    let mut places: Vec<PathBuf> = env::split_paths(&linters)
        .map(|folder| folder.join("python"))
        .collect();
    places.push("python3".into());
    let imports = |python: &PathBuf| {
        let import = Command::new(python)
            .args(["-c", import])
            .stderr(Stdio::null())
            .status();
        import.is_ok_and(|status| status.success())
    };
    let Some(python) = places.into_iter().find(imports) else {
        skipped(&format!("{reader} is not installed, so it read no YAML"));
        return None;
    };
    let stream: String = documents
        .iter()
        .flat_map(|text| ["---\n", text, "...\n"])
        .collect();
    let read = run(Command::new(python).args(["-c", script]), stream);
    Some(read.lines().map(str::to_owned).collect())
}

fn read_with_kubectl(document: &str) -> Option<Value> {
    let there = Command::new("kubectl")
        .args(["version", "--client"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        skipped("kubectl is not installed, so it read no YAML");
        return None;
    }
    // The command reads and prints without a server, and changes nothing.
    let arguments = "patch --local -f - -o json --type merge -p {}";
    let mut kubectl = Command::new("kubectl");
    let read = run(
        kubectl
            .args(arguments.split(' '))
            .env("KUBECONFIG", "/dev/null"),
        document.to_owned(),
    );
    Some(serde_json::from_str(&read).unwrap())
}

fn run(command: &mut Command, input: String) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A process that does not read all input closes the pipe, and reports the reason.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn skipped(what: &str) {
    // Not `eprintln!`, because the test harness captures its output.
    let said = format!("SKIPPED: {what}\n");
    io::stderr().write_all(said.as_bytes()).unwrap();
}

fn cases() -> usize {
    env::var("CHOREO_TEST_CASES").map_or(2_000, |cases| {
        cases.parse().expect("CHOREO_TEST_CASES is a number")
    })
}

/// Returns texts that parsers of YAML have misread or rejected.
fn texts() -> impl Iterator<Item = &'static str> {
    const TEXTS: &str = "y|Y|n|N|yes|No|on|OFF|true|False|TRUE|null|Null|~|=|<<|.|..|.inf|-.INF|.nan|NaN|inf|\
        1|-1|+1|1e3|1E3|1.5e+3|1_000|0x1F|0o7|017|0b11|12:30|1:60:60|190:20:30|2001-01-01|\
        2001-12-14t21:59:43.10-05:00|1.|.5|-|--|---|...|?|:|a:|:a|a: b|a :b|a#b|a #b|#|&a|*a|!a|!!str|%TAG|@a|\
        `a|\"|'|\"a|a\"b|it's|[|]|{|}|[a]|{a: b}|,|a,b| |  a|a  |\ta|a\tb|a\t|\n|a\nb|\na|a\n|a\n\n|\r|a\r\nb|\
        |>|a|b|\u{0}|\u{1}|\u{7}|\u{1b}[0m|\u{7f}|\u{80}|\u{85}|a\u{85}b|\u{9f}|\u{a0}|\u{ad}|\u{2028}|\
        a\u{2029}b|\u{200b}|\u{202e}|\u{feff}|a\u{feff}|\u{fffd}|\u{fffe}|\u{ffff}|\u{d7ff}|\u{e000}|\
        \u{10000}|\u{1f600}|\u{10ffff}|größe|日本語|\\|\\n|a\\|\\u0041|/|//|/a/b|a/b|a.b|a-|a_b|a@b|$(A)|${A}|%|50%|\
        {{a}}|- a|? a|-a|a--b";
    // The empty text and long ones. A plain key may have at most 1,024 characters.
    static LONG: [&str; 3] = [
        "",
        concat!(
            "long keys: ",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        ),
        LONGER,
    ];
    TEXTS.split('|').chain(LONG)
}

const LONGER: &str = {
    const BYTES: [u8; 3000] = [b'k'; 3000];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("ASCII"),
    }
};

/// A generator of pseudo-random values (SplitMix64), which are the same in each run.
struct Generator(u64);

impl Generator {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0 => Value::Null,
            1 => self.number().is_multiple_of(2).into(),
            2 => self.integer(),
            3 => json!(self.float()),
            4 | 5 => self.text().into(),
            6 | 7 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let fields = (0..self.below(4)).map(|_| (self.text(), self.value(depth - 1)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    fn integer(&mut self) -> Value {
        let number = self.number();
        let number = number >> self.below(64);
        if self.below(3) == 0 {
            json!(-i64::try_from(number >> 1).unwrap())
        } else {
            json!(number)
        }
    }

    /// Returns a finite number of any magnitude.
    fn float(&mut self) -> f64 {
        let float = f64::from_bits(self.number());
        if float.is_finite() { float } else { 1e300 }
    }

    fn text(&mut self) -> String {
        let all: Vec<&str> = texts().collect();
        let mut text = String::new();
        for _ in 0..=self.below(3) {
            match self.below(4) {
                0 => text += &self.word(),
                1 => text.extend(char::from_u32(
                    u32::try_from(self.below(0x0011_0000)).unwrap(),
                )),
                2 => text.extend(char::from_u32(u32::try_from(self.below(0x100)).unwrap())),
                _ => text += all[self.below(all.len())],
            }
        }
        text
    }

    /// Returns a word that might be valid without quotes.
    fn word(&mut self) -> String {
        const LETTERS: &[u8] = b"abefnoxyEINTY0123456789-_./@:";
        let letters = (0..=self.below(6)).map(|_| LETTERS[self.below(LETTERS.len())]);
        letters.map(char::from).collect()
    }
}
