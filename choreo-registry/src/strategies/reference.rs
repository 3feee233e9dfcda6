//! Image references and their parts: canonical, as people type them, and broken.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::host::registry_host;
use super::text::like;
use crate::digest::Algorithm;
use crate::reference::{Repository, Tag};
use crate::{Digest, ImageReference, RegistryHost};

/// Repository names of one to four components with every separator, and occasionally one of the
/// maximum length.
///
/// ```
/// use choreo_registry::strategies::repository;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(repository in repository())| {
///     prop_assert!(repository.as_str().len() <= 255);
/// });
/// ```
pub fn repository() -> impl Strategy<Value = Repository> {
    path().prop_map(|path| path.parse().expect("a generated repository is one"))
}

/// Tags: versions, `latest`, all valid characters, and occasionally one of 128 characters.
///
/// ```
/// use choreo_registry::strategies::tag;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(tag in tag())| {
///     prop_assert!(!tag.as_str().starts_with(['.', '-']));
/// });
/// ```
pub fn tag() -> impl Strategy<Value = Tag> {
    tag_text().prop_map(|tag| tag.parse().expect("a generated tag is one"))
}

/// Digests of all algorithms, most of them SHA-256.
///
/// Their content is not known. For a digest that matches content, use [`Digest::sha256_of`].
///
/// ```
/// use choreo_registry::strategies::digest;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(digest in digest())| {
///     prop_assert_eq!(digest.hex().len(), digest.algorithm().hex_len());
/// });
/// ```
pub fn digest() -> impl Strategy<Value = Digest> {
    let algorithm = prop_oneof![
        8 => Just(Algorithm::Sha256),
        1 => Just(Algorithm::Sha384),
        1 => Just(Algorithm::Sha512),
    ];
    (algorithm, any::<[[u8; 32]; 2]>()).prop_map(|(algorithm, bytes)| {
        let mut text = format!("{algorithm}:");
        for byte in bytes.as_flattened().iter().take(algorithm.hex_len() / 2) {
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
        }
        text.parse().expect("a generated digest is one")
    })
}

/// Image references of all shapes: of [all hosts](registry_host), of Docker Hub with and without
/// `library/`, of domains in upper case, with a tag, a digest, both or neither; and the special
/// case of a name without a domain ([`ImageReference::domain`]).
///
/// [`image_reference_spelling`] generates Docker Hub's other names.
///
/// ```
/// use choreo_registry::ImageReference;
/// use choreo_registry::strategies::image_reference;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(image in image_reference())| {
///     prop_assert_eq!(image.to_string().parse::<ImageReference>()?, image);
/// });
/// ```
pub fn image_reference() -> impl Strategy<Value = ImageReference> {
    spelled().prop_map(|spelled| parsed(&spelled.canonical))
}

/// Image references of one registry, with any repository, tag and digest.
///
/// ```
/// use choreo_registry::RegistryHost;
/// use choreo_registry::strategies::image_reference_of;
/// use proptest::prelude::*;
///
/// let ghcr: RegistryHost = "ghcr.io".parse()?;
/// proptest!(ProptestConfig::with_cases(16), |(image in image_reference_of(&ghcr))| {
///     prop_assert!(ghcr.serves(&image));
/// });
/// # Ok::<(), choreo_registry::host::ParseHostError>(())
/// ```
pub fn image_reference_of(host: &RegistryHost) -> impl Strategy<Value = ImageReference> + use<> {
    let domain = host.image_domain().to_owned();
    (names_of_hub(), path(), end()).prop_map(move |(hub, path, end)| {
        let path = if domain == HUB { hub.full } else { path };
        parsed(&format!("{domain}/{path}{end}"))
    })
}

/// Input that people type for an image, and the reference that is meant: without `docker.io/` and
/// `library/`, with Docker Hub's older name, or in canonical form.
///
/// All of them are valid for [distribution/reference](https://github.com/distribution/reference),
/// so they contain no scheme and no blanks.
///
/// ```
/// use choreo_registry::ImageReference;
/// use choreo_registry::strategies::image_reference_spelling;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |((text, image) in image_reference_spelling())| {
///     prop_assert_eq!(text.parse::<ImageReference>()?, image);
/// });
/// ```
pub fn image_reference_spelling() -> impl Strategy<Value = (String, ImageReference)> {
    spelled().prop_map(|spelled| {
        let image = parsed(&spelled.canonical);
        (spelled.typed, image)
    })
}

/// Only the texts of [`image_reference_spelling`]: valid, but not yet normalised.
///
/// ```
/// use choreo_registry::ImageReference;
/// use choreo_registry::strategies::image_reference_text;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(text in image_reference_text())| {
///     prop_assert!(text.parse::<ImageReference>().is_ok());
/// });
/// ```
pub fn image_reference_text() -> impl Strategy<Value = String> {
    spelled().prop_map(|spelled| spelled.typed)
}

/// Texts that are not an image reference: a valid one with one of the common mistakes, such as a
/// scheme, an upper-case letter, a blank, two slashes, a tag after the at sign, or a digest that is
/// too short.
///
/// Each is rejected. Which error it gets is not specified, because it may break several rules at
/// once. A user name comes with the password [`CANARY`](super::CANARY).
///
/// ```
/// use choreo_registry::ImageReference;
/// use choreo_registry::strategies::broken_image_reference;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(text in broken_image_reference())| {
///     prop_assert!(text.parse::<ImageReference>().is_err());
/// });
/// ```
pub fn broken_image_reference() -> impl Strategy<Value = String> {
    let name = (registry_host(), path()).prop_map(|(host, path)| format!("{host}/{path}"));
    let end = end();
    (name, end, select(DEFECTS)).prop_map(|(name, end, defect)| defect(&name, &end))
}

/// A reference in both forms.
#[derive(Debug)]
struct Spelled {
    typed: String,
    canonical: String,
}

fn spelled() -> impl Strategy<Value = Spelled> {
    let hub =
        (names_of_hub(), end(), any::<prop::sample::Index>()).prop_map(|(name, end, spelling)| {
            Spelled {
                typed: format!("{}{end}", spelling.get(&name.spellings())),
                canonical: format!("{HUB}/{}{end}", name.full),
            }
        });
    // An underscore is not valid in a domain: this is a repository without a domain.
    let nowhere = (like("[a-z]{1,4}_[a-z]{1,4}\\.[a-z]{2,3}"), component());
    let name = prop_oneof![
        9 => (domain(), path()),
        1 => nowhere,
    ];
    let elsewhere = (name, end()).prop_map(|((domain, path), end)| {
        let text = format!("{domain}/{path}{end}");
        Spelled {
            typed: text.clone(),
            canonical: text,
        }
    });
    prop_oneof![1 => hub, 2 => elsewhere]
}

/// Domains other than Docker Hub's, as references may write them. The grammar ignores case and has
/// no maximum port.
fn domain() -> impl Strategy<Value = String> {
    let host = || {
        registry_host().prop_map(|host| match host.is_docker_hub() {
            true => "quay.io".to_owned(),
            false => host.to_string(),
        })
    };
    prop_oneof![
        8 => host(),
        1 => host().prop_map(|host| host.to_ascii_uppercase()),
        1 => like("[a-zA-Z0-9]{1,6}:0{0,2}[1-9][0-9]{0,5}"),
    ]
}

/// A repository of Docker Hub.
#[derive(Debug)]
struct HubName {
    /// With `library/`.
    full: String,
}

fn names_of_hub() -> impl Strategy<Value = HubName> {
    prop_oneof![
        1 => component().prop_map(|component| format!("library/{component}")),
        1 => vec(component(), 2..=3).prop_map(|components| components.join("/")),
    ]
    .prop_map(|full| HubName { full })
}

impl HubName {
    fn spellings(&self) -> Vec<String> {
        let full = &self.full;
        let mut spellings = vec![format!("{HUB}/{full}"), format!("index.{HUB}/{full}")];
        let (first, rest) = full.split_once('/').unwrap_or((full, ""));
        if first == "library" && !rest.contains('/') {
            spellings.extend([rest.to_owned(), format!("{HUB}/{rest}")]);
        }
        // Otherwise the first component would be read as a domain.
        if !first.contains('.') && first != "localhost" {
            spellings.push(full.clone());
        }
        spellings
    }
}

/// Repository names. The long one has the maximum length, with a slash so that no `library/` is
/// implied.
fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        19 => vec(component(), 1..=4).prop_map(|components| components.join("/")),
        1 => like("[a-z]{1,9}/[a-z0-9]{200,245}"),
    ]
}

/// One component of a repository's name, with every separator.
fn component() -> impl Strategy<Value = String> {
    like("[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}")
}

fn tag_text() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("latest".to_owned()),
        3 => like("v?[0-9]{1,2}(\\.[0-9]{1,3}){0,2}(-[a-z]{1,6})?"),
        3 => like("[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}"),
        1 => like("[A-Za-z0-9_][A-Za-z0-9_.-]{127}"),
    ]
}

/// The text after the name: a tag, a digest, both or neither.
fn end() -> impl Strategy<Value = String> {
    (option::of(tag_text()), option::weighted(0.3, digest())).prop_map(|(tag, digest)| {
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = digest.map(|digest| format!("@{digest}"));
        tag + &digest.unwrap_or_default()
    })
}

fn parsed(text: &str) -> ImageReference {
    text.parse().expect("a generated image reference is one")
}

/// Builds an invalid text from a name with a domain and the text after it.
type Defect = fn(&str, &str) -> String;

const DEFECTS: &[Defect] = &[
    |_, _| String::new(),
    |_, _| "0123456789abcdef".repeat(4),
    |name, end| format!("https://{name}{end}"),
    |name, end| format!("docker://{name}{end}"),
    |name, end| format!(" {name}{end}"),
    |name, end| format!("{name}{end}\n"),
    |name, end| format!("{name}/App{end}"),
    |name, end| format!("{name}//app{end}"),
    |name, end| format!("{name}/{end}"),
    |name, end| format!("/{name}{end}"),
    |name, end| format!("{name}/a b{end}"),
    |name, end| format!("{name}/café{end}"),
    |name, end| format!("{name}/-app{end}"),
    |name, end| format!("{name}/app_{end}"),
    |name, end| format!("{name}/a___b{end}"),
    |name, end| format!("{name}/${{APP}}{end}"),
    |name, end| format!("{name}/{}{end}", "a".repeat(256)),
    |name, end| format!("alice:{}@{name}{end}", super::CANARY),
    |name, _| format!("{name}:"),
    |name, _| format!("{name}:.1"),
    |name, _| format!("{name}:-1"),
    |name, _| format!("{name}:v1+build"),
    |name, _| format!("{name}:{}", "1".repeat(129)),
    |name, _| format!("{name}:1:2"),
    |name, _| format!("{name}:$TAG"),
    |name, _| format!("{name}@"),
    |name, _| format!("{name}@1.26"),
    |name, _| format!("{name}@sha256:{}", "0".repeat(63)),
    |name, _| format!("{name}@sha256:{}", "A".repeat(64)),
    |name, _| format!("{name}@md5:{}", "0".repeat(32)),
    |name, _| format!("{name}@sha256:{}:1.26", "0".repeat(64)),
];

const HUB: &str = "docker.io";
