//! The parser of manifests, as far as `resolve` and `inspect` need them.
//!
//! A document is read strictly: the `Content-Type`, its `mediaType` and its shape must agree on
//! its type. A document with two readings would be one image here and another on the node
//! ([GHSA-77vh-xpmg-72qh](https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh)).

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use choreo_registry::{
    Digest,
    image::{ExposedPort, MediaType, Platform},
};

/// A manifest that passed every check.
#[derive(Debug)]
pub(crate) enum Manifest {
    Index {
        media_type: MediaType,
        children: Vec<Child>,
    },
    Single {
        media_type: MediaType,
        config: Digest,
        size: u64,
    },
}

/// An entry of an index that may run.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) digest: Digest,
    /// `None` if the entry names none: its document or the configuration below it states the
    /// platform.
    pub(crate) platform: Option<Platform>,
}

/// The fields of an image's configuration that this client uses.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) platform: Option<Platform>,
    /// Empty if the configuration names none; `None` if the user is invalid on every node.
    pub(crate) user: Option<String>,
    pub(crate) exposed_ports: Vec<ExposedPort>,
}

/// The reason why a document is not an image manifest. It never contains a byte of the document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ManifestError {
    Ambiguous,
    Artifact,
    BadDigest,
    EmptyIndex,
    MediaType,
    NoImage,
    NoneRuns,
    NotJson,
    Schema1,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ambiguous => "the document can be read as an image and as an index",
            Self::Artifact => "the document is an artifact, such as a Helm chart, and not an image",
            Self::BadDigest => "a digest inside the document is not one",
            Self::EmptyIndex => "the index names no image",
            Self::MediaType => "the Content-Type differs from the document's own media type",
            Self::NoImage => "the document is not an image",
            Self::NoneRuns => {
                "the index lists attestations or other documents, and no image that a node can run"
            }
            Self::NotJson => "the document is not a JSON object of the expected form",
            Self::Schema1 => {
                "the image has the format of 2015 (schema 1), which nodes no longer run"
            }
        })
    }
}

/// Reads a manifest of the given `Content-Type`.
pub(crate) fn read(content_type: Option<&str>, body: &[u8]) -> Result<Manifest, ManifestError> {
    let document: Document = serde_json::from_slice(body).map_err(|_| ManifestError::NotJson)?;
    let media_type = media_type_of(content_type, &document)?;
    let HasDouble(has_double) = serde_json::from_slice(body).map_err(|_| ManifestError::NotJson)?;
    if has_double {
        return Err(ManifestError::Ambiguous);
    }
    match (document.manifests, document.config, document.layers) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(ManifestError::Ambiguous),
        (Some(children), None, None) if media_type.is_index() => {
            if children.is_empty() {
                return Err(ManifestError::EmptyIndex);
            }
            let children = children
                .into_iter()
                .filter_map(Child::runnable)
                .collect::<Result<Vec<_>, _>>()?;
            if children.is_empty() {
                return Err(ManifestError::NoneRuns);
            }
            Ok(Manifest::Index {
                media_type,
                children,
            })
        }
        (None, Some(config), Some(layers)) if !media_type.is_index() => {
            let kind = config.media_type.as_deref();
            if kind.is_some_and(|kind| ARTIFACTS.contains(&kind)) {
                return Err(ManifestError::Artifact);
            }
            let size = layers
                .iter()
                .fold(config.size, |sum, layer| sum.saturating_add(layer.size));
            let config = config
                .digest
                .parse()
                .map_err(|_| ManifestError::BadDigest)?;
            Ok(Manifest::Single {
                media_type,
                config,
                size,
            })
        }
        _ => Err(ManifestError::NoImage),
    }
}

/// Configurations of artifacts that are stored like images but are not images: a [Helm
/// chart](https://helm.sh/docs/topics/registries/), and artifacts with [nothing to
/// configure](https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage).
/// The list is closed, because nodes may run media types that are not known here.
const ARTIFACTS: [&str; 2] = [
    "application/vnd.cncf.helm.config.v1+json",
    "application/vnd.oci.empty.v1+json",
];

/// Reads an image's configuration
/// ([OCI](https://github.com/opencontainers/image-spec/blob/main/config.md)).
pub(crate) fn read_config(body: &[u8]) -> Result<Config, ManifestError> {
    let document: ConfigDocument =
        serde_json::from_slice(body).map_err(|_| ManifestError::NotJson)?;
    let settings = document.config.unwrap_or_default();
    let user = settings.user.unwrap_or_default();
    let is_text = user.len() <= USER_MAX && !user.chars().any(char::is_control);
    let user = is_text.then_some(user);
    Ok(Config {
        platform: platform(document.os, document.architecture, document.variant),
        user,
        // A port range or a word is allowed here, but it does not name one port.
        exposed_ports: settings
            .exposed_ports
            .into_keys()
            .filter_map(|port| port.parse().ok())
            .collect(),
    })
}

const USER_MAX: usize = 255;

impl Child {
    /// Returns `None` for entries that never run: attestations, which have the platform
    /// `unknown/unknown`, entries whose platform is incomplete or cannot be read, and documents
    /// that are not manifests.
    fn runnable(entry: Descriptor) -> Option<Result<Self, ManifestError>> {
        let platform = match entry.platform {
            Some(named) => {
                let platform = platform(named.os, named.architecture, named.variant)?;
                if platform.os() == "unknown" || platform.architecture() == "unknown" {
                    return None;
                }
                Some(platform)
            }
            // Nodes read it, whether it is a manifest or an index.
            None => {
                let kind = entry.media_type.as_deref();
                if kind.is_some_and(|kind| kind.parse::<MediaType>().is_err()) {
                    return None;
                }
                None
            }
        };
        let digest = entry.digest.parse().map_err(|_| ManifestError::BadDigest);
        Some(digest.map(|digest| Self { digest, platform }))
    }
}

fn platform(
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
) -> Option<Platform> {
    let mut parts = vec![os?, architecture?];
    parts.extend(variant.filter(|variant| !variant.is_empty()));
    parts.join("/").parse().ok()
}

fn media_type_of(
    content_type: Option<&str>,
    document: &Document,
) -> Result<MediaType, ManifestError> {
    let header = content_type
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase())
        .filter(|value| !GENERIC.contains(&value.as_str()));
    let own = document.media_type.as_deref();
    let schema1 =
        |value: &str| value.starts_with("application/vnd.docker.distribution.manifest.v1+");
    if document.schema_version == Some(1)
        || document.fs_layers.is_some()
        || header.as_deref().is_some_and(schema1)
        || own.is_some_and(schema1)
    {
        return Err(ManifestError::Schema1);
    }
    match (header.as_deref(), own) {
        (Some(header), Some(own)) if header != own => Err(ManifestError::MediaType),
        (Some(one), _) | (None, Some(one)) => one.parse().map_err(|_| ManifestError::NoImage),
        (None, None) => Err(ManifestError::NoImage),
    }
}

/// The types that servers send for content of unknown type: the document itself then states its
/// type.
const GENERIC: [&str; 6] = [
    "",
    "application/json",
    "application/octet-stream",
    // The default of Amazon S3.
    "binary/octet-stream",
    "text/json",
    "text/plain",
];

/// The relevant fields of manifests and indexes. A duplicate field is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    // Only schema 1 has it.
    fs_layers: Option<IgnoredAny>,
}

/// The result of a search for field names that differ from that of a relevant field only in case.
/// Nodes are written in Go, whose JSON parser accepts `Layers` for `layers`. A separate pass
/// searches for them, so that unused fields are never kept in memory.
struct HasDouble(bool);

impl<'de> Deserialize<'de> for HasDouble {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DoubleVisitor)
    }
}

struct DoubleVisitor;

impl<'de> Visitor<'de> for DoubleVisitor {
    type Value = HasDouble;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<HasDouble, A::Error> {
        let mut found = false;
        while let Some(name) = fields.next_key::<String>()? {
            found |= is_double(&name);
            fields.next_value::<IgnoredAny>()?;
        }
        Ok(HasDouble(found))
    }
}

fn is_double(name: &str) -> bool {
    const DECIDING: [&str; 6] = [
        "schemaVersion",
        "mediaType",
        "manifests",
        "config",
        "layers",
        "fsLayers",
    ];
    if DECIDING.contains(&name) {
        return false;
    }
    // Go folds the long s as well; `to_lowercase` knows the Kelvin sign.
    let folded = name.to_lowercase().replace('ſ', "s");
    DECIDING
        .iter()
        .any(|field| field.eq_ignore_ascii_case(&folded))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    media_type: Option<String>,
    #[serde(default)]
    size: u64,
    platform: Option<PlatformDocument>,
}

#[derive(Deserialize)]
struct PlatformDocument {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

#[derive(Deserialize)]
struct ConfigDocument {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    config: Option<Settings>,
}

#[derive(Default, Deserialize)]
struct Settings {
    #[serde(rename = "User")]
    user: Option<String>,
    #[serde(rename = "ExposedPorts", default, deserialize_with = "null_as_empty")]
    exposed_ports: BTreeMap<String, IgnoredAny>,
}

/// Go writes an empty map as `null`.
fn null_as_empty<'de, D>(deserializer: D) -> Result<BTreeMap<String, IgnoredAny>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

    fn digest(byte: char) -> String {
        format!("sha256:{}", byte.to_string().repeat(64))
    }

    fn single(extra: &str) -> String {
        let (config, layer) = (digest('a'), digest('b'));
        format!(
            r#"{{{extra}"schemaVersion":2,"config":{{"digest":"{config}","size":3}},
                "layers":[{{"digest":"{layer}","size":4}},{{"digest":"{layer}","size":5}}]}}"#
        )
    }

    fn summary(content_type: Option<&str>, body: &str) -> String {
        match read(content_type, body.as_bytes()) {
            Ok(Manifest::Single { size, .. }) => format!("single {size}"),
            Ok(Manifest::Index { children, .. }) => {
                let platforms: Vec<_> = children
                    .iter()
                    .map(|child| child.platform.as_ref().map_or("?", Platform::as_str))
                    .collect();
                format!("index {}", platforms.join(" "))
            }
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn single_images_are_read_and_ambiguous_ones_refused() {
        let own = |media_type: &str| single(&format!(r#""mediaType":"{media_type}","#));
        let table = [
            (Some(OCI), single(""), "single 12"),
            (Some(DOCKER), own(DOCKER), "single 12"),
            (
                Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
                single(""),
                "single 12",
            ),
            (
                Some("Application/VND.OCI.image.manifest.v1+json"),
                single(""),
                "single 12",
            ),
            (Some("application/json"), own(OCI), "single 12"),
            (None, own(OCI), "single 12"),
            (None, single(""), "NoImage"),
            (Some("text/html"), single(""), "NoImage"),
            (Some(OCI), own(DOCKER), "MediaType"),
            (Some(OCI), own(INDEX), "MediaType"),
            (Some(INDEX), single(""), "NoImage"),
            (Some(OCI), single(r#""manifests":[],"#), "Ambiguous"),
            (Some(OCI), single(r#""Manifests":[],"#), "Ambiguous"),
            (Some(OCI), single(r#""manifeſts":[],"#), "Ambiguous"),
            (Some(OCI), single(r#""Layers":[],"#), "Ambiguous"),
            (Some(OCI), single(r#""MediaType":"x","#), "Ambiguous"),
            (Some(OCI), single(r#""layers":[],"#), "NotJson"),
            (
                Some(OCI),
                single(r#""annotations":{"a":"b"},"#),
                "single 12",
            ),
            (Some(OCI), single(r#""fsLayers":[],"#), "Schema1"),
            (Some(OCI), r#"{"schemaVersion":1}"#.to_owned(), "Schema1"),
            (
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
                "Schema1",
            ),
            (Some(OCI), r#"{"schemaVersion":2}"#.to_owned(), "NoImage"),
            (Some(OCI), "[]".to_owned(), "NotJson"),
            (Some(OCI), "<html>".to_owned(), "NotJson"),
            (
                Some(OCI),
                single("").replace(&digest('a'), "sha256:short"),
                "BadDigest",
            ),
        ];
        for (content_type, body, expected) in table {
            assert_eq!(
                summary(content_type, &body),
                expected,
                "{content_type:?} {body}"
            );
        }
    }

    #[test]
    fn artifacts_are_told_from_images() {
        let kind = |kind: &str| {
            single("").replacen(
                r#""config":{"#,
                &format!(r#""config":{{"mediaType":"{kind}","#),
                1,
            )
        };
        for image in [
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.wasm.config.v0+json",
        ] {
            assert_eq!(summary(Some(OCI), &kind(image)), "single 12", "{image}");
        }
        for artifact in ARTIFACTS {
            assert_eq!(
                summary(Some(OCI), &kind(artifact)),
                "Artifact",
                "{artifact}"
            );
        }
    }

    #[test]
    fn an_index_lists_what_can_run() {
        let entry =
            |platform: &str| format!(r#"{{"digest":"{}","platform":{platform}}}"#, digest('c'));
        let body = |entries: &[String]| {
            format!(
                r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
                entries.join(",")
            )
        };
        let entries = [
            entry(r#"{"os":"linux","architecture":"amd64"}"#),
            entry(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#),
            entry(r#"{"os":"unknown","architecture":"unknown"}"#),
            entry(r#"{"os":"li nux","architecture":"amd64"}"#),
            entry("null"),
        ];
        assert_eq!(
            summary(Some(INDEX), &body(&entries)),
            "index linux/amd64 linux/arm64/v8 ?"
        );
        // Nodes read an entry without a platform if it is a manifest.
        assert_eq!(summary(Some(INDEX), &body(&[entry("null")])), "index ?");
        let signature = entry("null").replacen('{', r#"{"mediaType":"text/plain","#, 1);
        assert_eq!(summary(Some(INDEX), &body(&[signature])), "NoneRuns");
        for never in [r#"{"os":"unknown","architecture":"unknown"}"#, "{}"] {
            assert_eq!(summary(Some(INDEX), &body(&[entry(never)])), "NoneRuns");
        }
        assert_eq!(summary(Some(INDEX), &body(&[])), "EmptyIndex");
        assert_eq!(summary(Some(OCI), &body(&entries)), "NoImage");
        let broken = body(&entries).replace(&digest('c'), "sha256:short");
        assert_eq!(summary(Some(INDEX), &broken), "BadDigest");
    }

    #[test]
    fn deep_nesting_is_refused_or_passed_over_and_never_followed() {
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        for (field, found) in [("x", "NoImage"), ("layers", "NotJson")] {
            let deep = format!(r#"{{"schemaVersion":2,"{field}":{open}{close}}}"#);
            assert_eq!(summary(Some(OCI), &deep), found);
        }
    }

    #[test]
    fn the_configuration_gives_user_ports_and_platform() {
        let config = read_config(
            br#"{"os":"linux","architecture":"arm64","variant":"v8",
                "config":{"User":"app:app","ExposedPorts":{"8080/tcp":{},"53/udp":{},"1-2/tcp":{}}}}"#,
        )
        .unwrap();
        assert_eq!(config.platform.unwrap().as_str(), "linux/arm64/v8");
        assert_eq!(config.user.as_deref(), Some("app:app"));
        let ports: Vec<_> = config
            .exposed_ports
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(ports, ["53/udp", "8080/tcp"]);

        for body in [
            "{}",
            r#"{"config":null}"#,
            r#"{"config":{"User":"","ExposedPorts":null}}"#,
        ] {
            let config = read_config(body.as_bytes()).unwrap();
            assert_eq!(config.user.as_deref(), Some(""), "{body}");
            assert!(config.exposed_ports.is_empty(), "{body}");
        }
        let odd = read_config(br#"{"config":{"User":"a\u0000b"}}"#).unwrap();
        assert_eq!(odd.user, None);
    }
}
