//! The sample configuration contains every field, and the fields in its comments are valid too.

use std::collections::{BTreeMap, BTreeSet};

use choreo_deploy_kubernetes::Policy;
use toml::{Table, Value};

use super::{Directory, Problems};
use crate::config::Configuration;

const SAMPLE: &str = include_str!("../../../control-plane.toml");

/// Returns the sample with the fields in its comments.
pub(super) fn whole() -> String {
    let is_field = |line: &str| {
        let name = line.split(" = ").next().unwrap_or_default();
        let name = name.trim_matches('"');
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c);
        line.starts_with('[') || (line.contains(" = ") && name.chars().all(is_name))
    };
    let lines = SAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_field(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the paths of the tables of a document.
pub(super) fn tables(document: &Table) -> Vec<Vec<Step>> {
    let mut found = vec![Vec::new()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        let inner: Vec<Step> = match at(document, &path) {
            Some(At::Table(table)) => table.keys().cloned().map(Step::Key).collect(),
            Some(At::List(list)) => (0..list.len()).map(Step::Index).collect(),
            None => continue,
        };
        for step in inner {
            found.push([path.clone(), vec![step]].concat());
        }
    }
    found.retain(|path| matches!(at(document, path), Some(At::Table(_))));
    found
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

enum At<'a> {
    Table(&'a Table),
    List(&'a [Value]),
}

fn at<'a>(document: &'a Table, path: &[Step]) -> Option<At<'a>> {
    let Some((Step::Key(first), rest)) = path.split_first() else {
        return Some(At::Table(document));
    };
    let mut value = document.get(first)?;
    for step in rest {
        value = match step {
            Step::Key(key) => value.get(key.as_str())?,
            Step::Index(index) => value.get(*index)?,
        };
    }
    match value {
        Value::Table(table) => Some(At::Table(table)),
        Value::Array(list) => Some(At::List(list)),
        _ => None,
    }
}

/// Returns the value at a path, to change it.
pub(super) fn at_mut<'a>(document: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(document, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

/// Returns the path in the form that problems use.
pub(super) fn shown(path: &[Step]) -> String {
    path.iter().fold(String::new(), |path, step| match step {
        Step::Key(key) if path.is_empty() => key.clone(),
        Step::Key(key) => format!("{path}.{key}"),
        Step::Index(index) => format!("{path}[{index}]"),
    })
}

/// Returns the path without positions, environments and kinds of probes, which are read alike.
fn kind(path: &[Step]) -> String {
    let keys = path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let mut kind = Vec::new();
    for key in keys {
        match key {
            "development" | "production" => kind.push("ENV"),
            "readiness" | "liveness" | "startup" => kind.push("PROBE"),
            // Settings and workloads share these.
            "scaling" | "schedule" | "resources" | "variables" => kind = vec![key],
            key => kind.push(key),
        }
    }
    kind.join(".")
}

/// Returns the known fields of a table, from the message about an unknown one.
fn known(whole: &Table, path: &[Step]) -> Vec<String> {
    const STRANGE: &str = "zzzzzzzzzzzzzzzz";
    let mut document = Value::Table(whole.clone());
    let Value::Table(table) = at_mut(&mut document, path) else {
        panic!("{path:?} is a table");
    };
    table.insert(STRANGE.to_owned(), 1.into());
    let problems = Problems::default();
    let text = toml::to_string(&document).unwrap();
    Configuration::parse(&text, ".".as_ref(), &problems);
    let strange = match shown(path).as_str() {
        "" => STRANGE.to_owned(),
        path => format!("{path}.{STRANGE}"),
    };
    let problems = problems.into_result().err().unwrap_or_default();
    let said = problems.iter().find(|problem| problem.path == strange);
    let names = said.and_then(|problem| problem.message.split_once("use one of "));
    let names = names.map(|(_, names)| names.split(", ").map(str::to_owned).collect());
    names.unwrap_or_default()
}

/// Guards that the fields in the comments of the sample are valid.
#[test]
fn the_fields_in_comments_are_good_too() {
    let whole = whole();
    for (marker, count) in [("[[registries]]", 5), ("[[data_planes]]", 2)] {
        assert!(
            whole.matches(marker).count() >= count,
            "the control\n{whole}"
        );
    }
    let read = Configuration::read(&Directory::new().write(&whole));
    read.unwrap_or_else(|problems| panic!("{problems:?}\n{whole}"));
}

/// Guards that the sample shows every field that is read, also a new one.
#[test]
fn every_field_is_in_the_sample() {
    let text = whole();
    let whole: Table = toml::from_str(&text).unwrap();
    let (mut known_by_kind, mut shown_by_kind) = (BTreeMap::new(), BTreeMap::new());
    for path in tables(&whole) {
        let Some(At::Table(table)) = at(&whole, &path) else {
            continue;
        };
        let kind = kind(&path);
        let known = known(&whole, &path);
        let all: &mut BTreeSet<String> = known_by_kind.entry(kind.clone()).or_default();
        all.extend(known);
        let all: &mut BTreeSet<String> = shown_by_kind.entry(kind).or_default();
        all.extend(table.keys().cloned());
    }
    let mut missing = Vec::new();
    for (kind, known) in &known_by_kind {
        for field in known.difference(&shown_by_kind[kind]) {
            // The comment of a field describes its alternative.
            let beside = |line: &str| {
                let words = line.split_once('#').map(|(_, words)| words);
                words.is_some_and(|words| words.contains(&format!("{field} = ")))
            };
            if !text.lines().any(beside) {
                missing.push(format!("{kind}.{field}"));
            }
        }
    }
    assert!(missing.is_empty(), "the sample does not show {missing:?}");
    // The control: the messages do contain the known fields.
    for (kind, field) in [
        ("", "deployer"),
        ("server", "health_listen"),
        ("egress", "trusted_realms"),
        ("registries", "existing_secret"),
        ("data_planes.policy.timing", "call-seconds"),
        ("components.workload", "port"),
        ("components.workload.probes.PROBE", "failure_threshold"),
        ("components.workload.container", "run_as"),
        ("components.settings.ENV", "suspended"),
    ] {
        assert!(known_by_kind[kind].contains(field), "{kind}.{field}");
    }
}

/// Guards that an invalid value in any place does not hide an unknown field in another.
#[test]
fn a_wrong_value_hides_no_other_problem() {
    const STRANGE: &str = "zzzzzzzzzzzzzzzz";
    let mut document: Value = toml::from_str::<Table>(&whole()).unwrap().into();
    let all = tables(document.as_table().unwrap());
    // An unknown field in every table where it is reported.
    for path in &all {
        let Value::Table(table) = at_mut(&mut document, path) else {
            panic!("{path:?} is a table");
        };
        table.insert(STRANGE.to_owned(), 1.into());
    }
    let strange = |document: &Value| -> BTreeSet<String> {
        let problems = Problems::default();
        let text = toml::to_string(document).unwrap();
        Configuration::parse(&text, ".".as_ref(), &problems);
        let problems = problems.into_result().err().unwrap_or_default();
        let paths = problems.into_iter().map(|problem| problem.path);
        paths.filter(|path| path.ends_with(STRANGE)).collect()
    };
    let found = strange(&document);
    assert!(found.len() > 30, "the control: {found:?}");
    for path in &all {
        let keys: Vec<String> = match at_mut(&mut document, path) {
            Value::Table(table) => table.keys().cloned().collect(),
            _ => Vec::new(),
        };
        for key in keys.into_iter().filter(|key| key != STRANGE) {
            let place = [path.clone(), vec![Step::Key(key)]].concat();
            let mut wrong = document.clone();
            *at_mut(&mut wrong, &place) = Value::Array(vec![1.5.into()]);
            let here = shown(&place);
            let mut expected = found.clone();
            expected.retain(|path| !path.starts_with(&here));
            // Without a type, only the fields that all workloads share are known.
            if let Some(component) = here.strip_suffix(".type") {
                let workload = format!("{component}.workload");
                let container = format!("{workload}.container");
                expected
                    .retain(|path| !path.starts_with(&workload) || path.starts_with(&container));
            }
            let hidden: Vec<_> = expected.difference(&strange(&wrong)).cloned().collect();
            assert!(hidden.is_empty(), "a wrong {here} hides {hidden:?}");
        }
    }
}

/// Guards that the configuration reads exactly the fields of a policy.
#[test]
fn a_policy_is_read_whole() {
    let whole: Table = toml::from_str(&whole()).unwrap();
    let plane = |rest: &[&str]| {
        let start = [Step::Key("data_planes".to_owned()), Step::Index(1)];
        let rest = rest.iter().map(|key| Step::Key((*key).to_owned()));
        start.into_iter().chain(rest).collect::<Vec<_>>()
    };
    for (path, strange) in [
        (&["policy"][..], r#"{"strange": 1}"#),
        (&["policy", "timing"], r#"{"timing": {"strange": 1}}"#),
    ] {
        let error = serde_json::from_str::<Policy>(strange)
            .unwrap_err()
            .to_string();
        let (_, fields) = error.split_once(", expected ").unwrap();
        let fields: BTreeSet<_> = { fields.split('`').skip(1).step_by(2) }
            .map(str::to_owned)
            .collect();
        assert_eq!(BTreeSet::from_iter(known(&whole, &plane(path))), fields);
    }
}
