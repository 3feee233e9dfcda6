//! Manifests, which are returned byte for byte as they were pushed.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, IF_NONE_MATCH};
use http::{Response, StatusCode};
use serde_json::Value;

use super::{Answer, Exchange, name_unknown, set, status};
use crate::body::Body;
use crate::error::{ApiError, Code};
use crate::image::{DOCKER, Manifest, OCI};
use crate::name::{Digest, Reference, RepositoryName};
use crate::store::Repository;

/// The maximum size of a manifest in bytes, as in the specification.
pub(crate) const MAX_MANIFEST: usize = 4 * 1024 * 1024;

pub(super) fn get(exchange: &Exchange<'_>, name: &RepositoryName, reference: &Reference) -> Answer {
    let store = exchange.store();
    let repository = store.repository(name).ok_or_else(|| name_unknown(name))?;
    let found = repository.manifest(reference).ok_or_else(unknown)?;
    let (digest, manifest) = acceptable(repository, reference, found, exchange.headers)?;

    let etag = format!("\"{}\"", digest.as_str());
    let known = |value: &str| value == etag || value == digest.as_str();
    if texts(exchange.headers, IF_NONE_MATCH.as_str()).any(known) {
        return Ok(status(StatusCode::NOT_MODIFIED));
    }
    let mut response = Response::new(Body::from(manifest.bytes().clone()));
    set(&mut response, "docker-content-digest", digest.as_str());
    set(&mut response, "etag", &etag);
    let media_type = manifest.media_type().parse().map_err(|_| unknown())?;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    Ok(response)
}

pub(super) fn put(exchange: &Exchange<'_>, name: &RepositoryName, reference: &Reference) -> Answer {
    let media_type = texts(exchange.headers, CONTENT_TYPE.as_str()).next();
    let media_type = media_type.ok_or_else(|| invalid("content type is missing"))?;
    if let Reference::Digest(digest) = reference
        && !digest.matches(&exchange.body)
    {
        let message = "digest of the manifest is not the one in the path";
        return Err(ApiError::new(Code::DigestInvalid, message));
    }
    let mut store = exchange.store();
    let subject = check(store.repository(name), media_type, &exchange.body)?;

    let manifest = Manifest::new(media_type, exchange.body.clone());
    let digest = store.repository_mut(name).put_manifest(reference, manifest);
    let mut response = status(StatusCode::CREATED);
    let location = format!("/v2/{}/manifests/{}", name.as_str(), digest.as_str());
    set(&mut response, "location", &location);
    set(&mut response, "docker-content-digest", digest.as_str());
    if let Some(subject) = subject {
        set(&mut response, "oci-subject", subject.as_str());
    }
    Ok(response)
}

pub(super) fn delete(
    exchange: &Exchange<'_>,
    name: &RepositoryName,
    reference: &Reference,
) -> Answer {
    let mut store = exchange.store();
    let repository = store.known_mut(name).ok_or_else(|| name_unknown(name))?;
    let deleted = repository.delete_manifest(reference);
    deleted
        .then(|| status(StatusCode::ACCEPTED))
        .ok_or_else(unknown)
}

/// Returns the manifest that distribution selects by the `Accept` header, in which `*/*` does not
/// count: an OCI manifest or index only if its type is listed, and for a Docker list that is
/// requested by tag but not accepted, the `linux/amd64` image.
fn acceptable<'a>(
    repository: &'a Repository,
    reference: &Reference,
    (digest, manifest): (&'a Digest, &'a Manifest),
    headers: &HeaderMap,
) -> Result<(&'a Digest, &'a Manifest), ApiError> {
    let media_type = manifest.media_type();
    let accepted = texts(headers, ACCEPT.as_str())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim() == media_type);
    if accepted {
        return Ok((digest, manifest));
    }
    if media_type == OCI.manifest || media_type == OCI.index {
        let message = format!("manifest is {media_type}, which the accept header does not name");
        return Err(ApiError::new(Code::ManifestUnknown, message));
    }
    if media_type == DOCKER.index && matches!(reference, Reference::Tag(_)) {
        let default = default_platform(manifest.bytes()).ok_or_else(unknown)?;
        return repository
            .manifest(&Reference::Digest(default))
            .ok_or_else(unknown);
    }
    Ok((digest, manifest))
}

fn default_platform(list: &[u8]) -> Option<Digest> {
    let list: Value = serde_json::from_slice(list).ok()?;
    let default = |entry: &&Value| {
        entry["platform"]["os"] == "linux" && entry["platform"]["architecture"] == "amd64"
    };
    let entry = list["manifests"].as_array()?.iter().find(default)?;
    Digest::parse(entry["digest"].as_str()?)
}

/// Checks a manifest of a known type, and returns its subject. Other types are not checked.
fn check(
    repository: Option<&Repository>,
    media_type: &str,
    bytes: &[u8],
) -> Result<Option<Digest>, ApiError> {
    let is_index = [OCI.index, DOCKER.index].contains(&media_type);
    if !is_index && ![OCI.manifest, DOCKER.manifest].contains(&media_type) {
        return Ok(None);
    }
    let manifest: Value =
        serde_json::from_slice(bytes).map_err(|_| invalid("manifest is not valid JSON"))?;
    if manifest["schemaVersion"] != 2 {
        return Err(invalid("schema version of the manifest is not 2"));
    }
    let own_type = &manifest["mediaType"];
    if !own_type.is_null() && own_type != media_type {
        return Err(invalid(
            "media type in the manifest is not the content type",
        ));
    }
    // Different clients read a document that is both in different ways (CVE-2021-41190).
    let (wanted, other) = if is_index {
        ("manifests", "layers")
    } else {
        ("layers", "manifests")
    };
    if !manifest[wanted].is_array() || !manifest[other].is_null() {
        return Err(invalid(
            "manifest is not of the kind that its media type says",
        ));
    }
    let parts = manifest[wanted].as_array().into_iter().flatten();
    let config = (!is_index).then_some(&manifest["config"]);
    for part in parts.chain(config) {
        check_part(repository, part, is_index)?;
    }
    Ok(manifest["subject"]["digest"]
        .as_str()
        .and_then(Digest::parse))
}

/// Refuses a descriptor of missing content, unless the content is stored elsewhere.
fn check_part(
    repository: Option<&Repository>,
    part: &Value,
    is_index: bool,
) -> Result<(), ApiError> {
    let digest = part["digest"].as_str().and_then(Digest::parse);
    let digest = digest.ok_or_else(|| invalid("descriptor in the manifest has no valid digest"))?;
    let elsewhere = part["urls"].as_array().is_some_and(|urls| !urls.is_empty());
    let stored = repository.is_some_and(|repository| {
        if is_index {
            repository.manifests.contains_key(&digest)
        } else {
            repository.blobs.contains_key(&digest)
        }
    });
    if stored || elsewhere {
        return Ok(());
    }
    let message = format!(
        "{} is not in the repository; push it first",
        digest.as_str()
    );
    Err(ApiError::new(Code::ManifestBlobUnknown, message))
}

fn unknown() -> ApiError {
    ApiError::new(Code::ManifestUnknown, "manifest unknown")
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(Code::ManifestInvalid, message)
}

fn texts<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
}
