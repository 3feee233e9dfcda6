//! Docker configs: the pull secret of a valid one contains the same credential, and an error
//! contains no value of the document.

#![no_main]

use std::sync::LazyLock;

use choreo_registry::docker_config::{DockerConfig, DockerConfigError};
use choreo_registry::{PullSecret, RegistryHost};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|document: &str| match document.parse::<DockerConfig>() {
    Ok(config) => comes_back(&config),
    Err(error) => {
        repeats_nothing(document, &error);
        if let Some(host) = error.hosts().last() {
            match DockerConfig::for_host(document, host) {
                Ok(config) => comes_back(&config),
                Err(error) => repeats_nothing(document, &error),
            }
        }
    }
});

fn comes_back(config: &DockerConfig) {
    let credential = config.credential();
    let secret = PullSecret::new(config.host(), credential);
    let json = secret.expose_docker_config_json();
    let again: DockerConfig = json.parse().expect("a pull secret is a docker config");
    assert_eq!(again.host(), config.host());
    assert_eq!(again.credential().username(), credential.username());
    let password = credential.expose_password();
    assert_eq!(again.credential().expose_password(), password);
    let shown = format!("{:?}", config.findings());
    assert!(leak(credential.expose_password(), &shown).is_none());
}

fn repeats_nothing(document: &str, error: &DockerConfigError) {
    let document = document.trim_start_matches('\u{feff}');
    let Ok(root) = serde_json::from_str::<Value>(document) else {
        return;
    };
    let (mut hosts, mut values) = (Vec::new(), Vec::new());
    collect(&root, &mut hosts, &mut values);
    // Keys that are hosts are shown. A separator replaces them, so that a host and the text next to
    // it do not form a part of a value.
    hosts.sort_by_key(|host| std::cmp::Reverse(host.as_str().len()));
    let mut shown = format!("{error} {error:?}");
    for host in hosts {
        shown = shown.replace(host.as_str(), "\0");
    }
    for value in values {
        assert!(leak(value, &shown).is_none(), "{shown}");
    }
}

/// Returns the first 8 bytes of a value that are shown and do not belong to a message of the crate.
fn leak<'v>(value: &'v str, shown: &str) -> Option<&'v str> {
    (0..value.len())
        .filter_map(|at| value.get(at..at + 8))
        .find(|window| shown.contains(window) && !WORDS.contains(window))
}

fn collect<'v>(value: &'v Value, hosts: &mut Vec<RegistryHost>, values: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => values.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, hosts, values)),
        Value::Object(fields) => {
            for (key, value) in fields {
                hosts.extend(key.parse::<RegistryHost>());
                collect(value, hosts, values);
            }
        }
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

const FIELDS: [&str; 10] = [
    "auth",
    "auths",
    "credHelpers",
    "credsStore",
    "email",
    "identitytoken",
    "password",
    "registrytoken",
    "serveraddress",
    "username",
];

const TYPES: [&str; 6] = [
    "a boolean",
    "a number",
    "a string",
    "an array",
    "an object",
    "null",
];

/// The text of the messages in the sources, without escapes and the line breaks of the source.
static WORDS: LazyLock<String> = LazyLock::new(|| {
    let sources = concat!(
        include_str!("../../choreo-registry/src/docker_config.rs"),
        include_str!("../../choreo-registry/src/docker_config/error.rs"),
        include_str!("../../choreo-registry/src/docker_config/decode.rs"),
        include_str!("../../choreo-registry/src/credential.rs"),
        include_str!("../../choreo-registry/src/host/error.rs"),
    );
    let lines: Vec<_> = sources.split("\\\n").map(str::trim_start).collect();
    let words = lines.concat().replace("\\\"", "\"");
    // `Debug` escapes quotes again and shows the names of fields.
    let escaped = words.replace('"', "\\\"");
    // The arguments of the messages.
    let fields = FIELDS.map(|name| {
        format!("has no {name:?} for has {name:?} twice in write {name:?} missing: {name:?} }} field: {name:?} path: {name:?},")
    });
    let types = TYPES.map(|name| {
        format!(": expected {name}, found {name} , expected: {name:?}, found: {name:?} }}")
    });
    [words, escaped, fields.concat(), types.concat()].join("\n")
});
