//! Messages about invalid values use plain words.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::sample::{Step, at_mut, shown, tables, whole};
use super::{Directory, Problems};
use crate::config::Configuration;

/// Words of Rust, of serde and of systems, which mean nothing to an author of TOML.
const STRANGE: &[&str] = &[
    "variant",
    ", expected",
    "enum",
    "struct",
    "usize",
    "nonzero",
    "u16",
    "u32",
    "u64",
    "i64",
    "f64",
    "invalid type",
    "invalid value",
    "invalid digit",
    "invalid socket",
    "flattened",
    "newtype",
    "Option",
    "Some(",
    "None",
    "Err(",
    "sequence",
    "deserialize",
    "identifier",
    "borrowed",
    "::",
    "os error",
    "tuple",
    "unwrap",
    "panick",
    "`",
];

/// Returns a strange word in a message.
fn strange(message: &str) -> Option<&'static str> {
    let found = STRANGE.iter().find(|word| message.contains(**word));
    found.copied().or(message.is_empty().then_some("nothing"))
}

/// Returns values of every type, for every place.
fn wrong() -> Vec<Value> {
    let texts = ["", "x y", "memery", "127.0.0.1"];
    let mut values: Vec<Value> = texts.map(Value::from).into();
    values.extend([0_i64, -1, 1_i64 << 40].map(Value::from));
    values.extend([1.5, f64::NAN, f64::NEG_INFINITY].map(Value::from));
    values.push(Value::from(true));
    values.push(Value::Array(Vec::new()));
    values.push(Value::Array(vec!["a b".into(), 7.into()]));
    values.push(Value::Table(Table::new()));
    values.push(Value::Table(Table::from_iter([("a".to_owned(), 7.into())])));
    values.push(
        "2026-11-27"
            .parse::<toml::value::Datetime>()
            .unwrap()
            .into(),
    );
    values
}

/// Guards that no message about an invalid value contains words of Rust or has another path.
#[test]
fn invalid_values_are_reported_in_plain_words() {
    let whole: Table = toml::from_str(&whole()).unwrap();
    let (mut count, mut bad) = (0, BTreeMap::new());
    for path in tables(&whole) {
        let mut table = Value::Table(whole.clone());
        let keys: Vec<String> = match at_mut(&mut table, &path) {
            Value::Table(table) => table.keys().cloned().collect(),
            _ => Vec::new(),
        };
        for (key, wrong) in keys
            .iter()
            .flat_map(|key| wrong().into_iter().map(move |w| (key, w)))
        {
            let place = [path.clone(), vec![Step::Key(key.clone())]].concat();
            let mut document = Value::Table(whole.clone());
            *at_mut(&mut document, &place) = wrong.clone();
            let problems = Problems::default();
            let text = toml::to_string(&document).unwrap();
            Configuration::parse(&text, ".".as_ref(), &problems);
            for problem in problems.into_result().err().unwrap_or_default() {
                count += 1;
                assert!(!problem.path.is_empty(), "{problem} has no path");
                if strange(&problem.message).is_some() {
                    bad.insert(problem.message, format!("{} = {wrong}", shown(&place)));
                }
            }
        }
    }
    assert!(bad.is_empty(), "strange words: {bad:#?}");
    assert!(count > 1000, "the control: {count} problems were found");
}

/// Guards the same for text that is not TOML, and that the text is not shown.
#[test]
fn text_that_is_not_toml_is_reported_in_plain_words() {
    let mut bad = BTreeMap::new();
    for text in [
        "a",
        "a =",
        "a = hunter2",
        "a = \"hunter2",
        "a = 1 b = 2",
        "a = [1, 2",
        "a = { b = hunter2 }",
        "[a",
        "[[a]",
        "a = 1\na = 2",
        "[a]\n[a]",
        "a = 01",
        "a = 1.2.3",
        "a = '\u{0}'",
        "a = \"\\q\"",
        "= 1",
        "a.b = 1\na = 2",
        "a = 99999999999999999999",
        "a = 2026-13-45",
        "\u{feff}\u{feff}a = 1",
        "a = tru",
        "a = \"\"\"",
    ] {
        let problems = Problems::default();
        Configuration::parse(text, ".".as_ref(), &problems);
        let problems = problems.into_result().unwrap_err();
        if strange(&problems[0].message).is_some() {
            bad.insert(problems[0].message.clone(), text);
        }
        assert!(
            problems[0].message.starts_with("line "),
            "{text:?}: {problems:?}"
        );
        assert!(!problems[0].message.contains("hunter2"), "{problems:?}");
    }
    assert!(bad.is_empty(), "strange words: {bad:#?}");
}

/// Guards the same for files that a configuration names.
#[test]
fn files_that_cannot_be_read_are_reported_in_plain_words() {
    let directory = Directory::new();
    std::fs::create_dir(directory.path().join("folder")).unwrap();
    std::fs::write(directory.path().join("binary"), [0xff, 0xfe, 0x00]).unwrap();
    for file in [
        "missing",
        "folder",
        "binary",
        "folder/missing",
        "binary/missing",
    ] {
        for (good, bad) in [
            ("file = \"password\"", format!("file = \"{file}\"")),
            ("file = \"sealing.key\"", format!("file = \"{file}\"")),
            (
                "networks",
                format!("root_certificates = [\"{file}\"]\nnetworks"),
            ),
        ] {
            let problem = directory.changed(good, &bad);
            assert_eq!(strange(&problem), None, "{bad}: {problem}");
        }
    }
}
