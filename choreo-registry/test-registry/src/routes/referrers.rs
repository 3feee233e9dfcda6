//! The manifests with another manifest as their subject.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>

use http::Response;
use serde_json::{Value, json};

use super::{Answer, Exchange, set};
use crate::body::Body;
use crate::image::{Manifest, OCI};
use crate::name::{Digest, RepositoryName};

/// Returns an index, which is empty if there are none. The specification has no error for that
/// case.
pub(super) fn list(exchange: &Exchange<'_>, name: &RepositoryName, subject: &Digest) -> Answer {
    let filter = exchange.query("artifactType");
    let store = exchange.store();
    let manifests = store
        .repository(name)
        .map(|repository| &repository.manifests);
    let referrers: Vec<Value> = manifests
        .into_iter()
        .flatten()
        .filter_map(|(digest, manifest)| descriptor(digest, manifest, subject))
        .filter(|entry| {
            filter
                .as_ref()
                .is_none_or(|wanted| entry["artifactType"] == **wanted)
        })
        .collect();

    let index = json!({ "schemaVersion": 2, "mediaType": OCI.index, "manifests": referrers });
    let mut response = Response::new(Body::from(index.to_string()));
    set(&mut response, "content-type", OCI.index);
    if filter.is_some() {
        set(&mut response, "oci-filters-applied", "artifactType");
    }
    Ok(response)
}

/// Returns the descriptor of a manifest if this is its subject. The media type of the configuration
/// replaces a missing artifact type.
fn descriptor(digest: &Digest, manifest: &Manifest, subject: &Digest) -> Option<Value> {
    let content: Value = serde_json::from_slice(manifest.bytes()).ok()?;
    if content["subject"]["digest"] != subject.as_str() {
        return None;
    }
    let own_type = &content["artifactType"];
    let artifact_type = if own_type.is_null() {
        &content["config"]["mediaType"]
    } else {
        own_type
    };
    let mut entry = json!({
        "mediaType": manifest.media_type(),
        "digest": digest.as_str(),
        "size": manifest.bytes().len(),
        "artifactType": artifact_type,
    });
    if content["annotations"].is_object() {
        entry["annotations"] = content["annotations"].clone();
    }
    Some(entry)
}
