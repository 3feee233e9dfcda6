//! The metadata of Secrets.

use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;

use super::text::like;
use crate::pull_secret::SecretMetadata;

/// Metadata that the API server accepts: a name, optionally a namespace, labels and annotations.
///
/// It does not generate names near the limit of 253 bytes, or annotations that exceed their limit.
///
/// ```
/// use choreo_registry::PullSecret;
/// use choreo_registry::strategies::{credential, registry_host, secret_metadata};
/// use proptest::prelude::*;
///
/// proptest!(
///     ProptestConfig::with_cases(16),
///     |(host in registry_host(), credential in credential(), metadata in secret_metadata())| {
///         let manifest = PullSecret::new(&host, &credential).redacted_manifest(&metadata);
///         prop_assert_eq!(&manifest["metadata"]["name"], metadata.name());
///     }
/// );
/// ```
pub fn secret_metadata() -> impl Strategy<Value = SecretMetadata> {
    let name = like("[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?(\\.[a-z0-9]{1,5}){0,2}");
    let namespace = like("[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?");
    let key = || like("([a-z]{1,6}\\.example/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,9}[A-Za-z0-9])?");
    let value = like("([A-Za-z0-9]([A-Za-z0-9_.-]{0,9}[A-Za-z0-9])?)?");
    (
        name,
        option::of(namespace),
        btree_map(key(), value, 0..3),
        btree_map(key(), like("\\PC{0,20}"), 0..3),
    )
        .prop_map(|(name, namespace, labels, annotations)| {
            let mut metadata = SecretMetadata::new(name);
            if let Some(namespace) = namespace {
                metadata = metadata.and_then(|it| it.with_namespace(namespace));
            }
            for (key, value) in labels {
                metadata = metadata.and_then(|it| it.with_label(key, value));
            }
            for (key, value) in annotations {
                metadata = metadata.and_then(|it| it.with_annotation(key, value));
            }
            metadata.expect("generated metadata keeps the rules")
        })
}
