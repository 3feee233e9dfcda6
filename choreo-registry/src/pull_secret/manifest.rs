//! The whole Secret, as a value and as text.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::SecretMetadata;
use super::text::{Yaml, push_json, push_yaml};

/// The text format of a Secret. Each format ends with a line break.
///
/// All formats contain the same docker config, byte for byte as kubectl writes it.
///
/// ```
/// use choreo_registry::pull_secret::{Format, SecretMetadata};
/// use choreo_registry::{Credential, PullSecret};
///
/// let secret = PullSecret::new(&"ghcr.io".parse()?, &Credential::new("alice", "hunter2")?);
/// let metadata = SecretMetadata::new("images")?;
/// let json = secret.expose_text(&metadata, Format::Json);
/// assert!(json.starts_with(r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"images"},"#));
/// assert_eq!(secret.expose_text(&metadata, Format::Json), json);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// JSON on one line.
    Json,
    /// YAML in the order in which people write manifests, with the data last.
    Yaml,
    /// The output of `kubectl create secret docker-registry --dry-run=client -o json`, in the
    /// versions that do not write `"creationTimestamp": null`.
    KubectlJson,
    /// The output of `kubectl create secret docker-registry --dry-run=client -o yaml`, in the
    /// versions that do not write `creationTimestamp: null`.
    KubectlYaml,
}

pub(super) fn value(metadata: &SecretMetadata, data: &str) -> Value {
    let mut fields = Map::new();
    fields.insert("name".to_owned(), metadata.name().into());
    if let Some(namespace) = metadata.namespace() {
        fields.insert("namespace".to_owned(), namespace.into());
    }
    for (name, strings) in maps(metadata) {
        let strings = strings.iter().map(|(k, v)| (k.clone(), v.as_str().into()));
        fields.insert(name.to_owned(), Value::Object(strings.collect()));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": fields,
        "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": data },
    })
}

pub(super) fn text(metadata: &SecretMetadata, data: &str, format: Format) -> Zeroizing<String> {
    // A control character becomes six bytes, after an indentation; a growing buffer would leave
    // copies of the secret behind.
    let capacity = 512 + data.len() + 8 * metadata.len();
    let mut out = Zeroizing::new(String::with_capacity(capacity));
    match format {
        Format::Json => write_json(&mut out, metadata, data),
        Format::Yaml | Format::KubectlYaml => write_yaml(&mut out, metadata, data, format),
        Format::KubectlJson => write_kubectl_json(&mut out, metadata, data),
    }
    debug_assert!(out.capacity() == capacity, "the buffer has moved");
    out
}

fn write_json(out: &mut String, metadata: &SecretMetadata, data: &str) {
    out.push_str(r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"#);
    push_json(out, metadata.name());
    if let Some(namespace) = metadata.namespace() {
        out.push_str(",\"namespace\":");
        push_json(out, namespace);
    }
    for (name, strings) in maps(metadata) {
        out.extend([",\"", name, "\":"]);
        for (index, (key, value)) in strings.iter().enumerate() {
            out.push(if index == 0 { '{' } else { ',' });
            push_json(out, key);
            out.push(':');
            push_json(out, value);
        }
        out.push('}');
    }
    out.push_str(r#"},"type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":""#);
    out.extend([data, "\"}}\n"]);
}

fn write_kubectl_json(out: &mut String, metadata: &SecretMetadata, data: &str) {
    out.push_str(
        "{\n    \"kind\": \"Secret\",\n    \"apiVersion\": \"v1\",\n    \"metadata\": {\n",
    );
    out.push_str("        \"name\": ");
    push_json(out, metadata.name());
    if let Some(namespace) = metadata.namespace() {
        out.push_str(",\n        \"namespace\": ");
        push_json(out, namespace);
    }
    for (name, strings) in maps(metadata) {
        out.extend([",\n        \"", name, "\": {"]);
        for (index, (key, value)) in strings.iter().enumerate() {
            out.push_str(if index == 0 { "\n" } else { ",\n" });
            out.push_str("            ");
            push_json(out, key);
            out.push_str(": ");
            push_json(out, value);
        }
        out.push_str("\n        }");
    }
    out.push_str("\n    },\n    \"data\": {\n        \".dockerconfigjson\": \"");
    out.extend([data, "\"\n    },\n"]);
    out.push_str("    \"type\": \"kubernetes.io/dockerconfigjson\"\n}\n");
}

fn write_yaml(out: &mut String, metadata: &SecretMetadata, data: &str, format: Format) {
    let yaml = match format {
        Format::KubectlYaml => Yaml::Kubectl,
        _ => Yaml::Cautious,
    };
    let push_data = |out: &mut String| {
        out.extend(["data:\n  .dockerconfigjson: ", data, "\n"]);
    };
    out.push_str("apiVersion: v1\n");
    if format == Format::KubectlYaml {
        push_data(out);
    }
    out.push_str("kind: Secret\nmetadata:\n");
    // In alphabetical order, as kubectl writes them, or in the order for readers.
    let [labels, annotations] = [
        ("labels", metadata.labels()),
        ("annotations", metadata.annotations()),
    ];
    if format == Format::KubectlYaml {
        write_yaml_map(out, annotations, yaml);
        write_yaml_map(out, labels, yaml);
    }
    out.push_str("  name: ");
    push_yaml(out, metadata.name(), yaml);
    out.push('\n');
    if let Some(namespace) = metadata.namespace() {
        out.push_str("  namespace: ");
        push_yaml(out, namespace, yaml);
        out.push('\n');
    }
    if format == Format::Yaml {
        write_yaml_map(out, labels, yaml);
        write_yaml_map(out, annotations, yaml);
    }
    out.push_str("type: kubernetes.io/dockerconfigjson\n");
    if format == Format::Yaml {
        push_data(out);
    }
}

fn write_yaml_map(
    out: &mut String,
    (name, strings): (&str, &BTreeMap<String, String>),
    yaml: Yaml,
) {
    if strings.is_empty() {
        return;
    }
    out.extend(["  ", name, ":\n"]);
    for (key, value) in strings {
        out.push_str("    ");
        push_yaml(out, key, yaml);
        out.push_str(": ");
        push_yaml(out, value, yaml);
        out.push('\n');
    }
}

/// Returns the labels and annotations, if there are any, in the order of the API's fields.
fn maps(
    metadata: &SecretMetadata,
) -> impl Iterator<Item = (&'static str, &BTreeMap<String, String>)> {
    [
        ("labels", metadata.labels()),
        ("annotations", metadata.annotations()),
    ]
    .into_iter()
    .filter(|(_, strings)| !strings.is_empty())
}
