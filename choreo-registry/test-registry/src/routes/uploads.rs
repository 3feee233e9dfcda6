//! Uploads of blobs: monolithic, in chunks, or mounted from another repository.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs>

use bytes::Bytes;
use http::header::CONTENT_RANGE;
use http::{Response, StatusCode};

use super::{Answer, Exchange, digest, set, status};
use crate::auth::{Action, Need};
use crate::body::Body;
use crate::error::{ApiError, Code};
use crate::name::{Digest, RepositoryName};
use crate::store::Store;

/// Starts an upload. `?mount` completes it with an existing blob, `?digest` with the body.
pub(super) fn start(exchange: &Exchange<'_>, name: &RepositoryName) -> Answer {
    let mut store = exchange.store();
    if let Some(mounted) = mounted(exchange, &store)? {
        let (digest, content) = mounted;
        store
            .repository_mut(name)
            .blobs
            .insert(digest.clone(), content);
        return Ok(created(name, &digest));
    }
    if let Some(text) = exchange.query("digest") {
        let digest = digest(&text)?;
        return complete(&mut store, name, (digest, exchange.body.clone()));
    }
    let id = store.start_upload(name);
    Ok(accepted(name, &id, 0))
}

/// Adds a chunk.
pub(super) fn append(exchange: &Exchange<'_>, name: &RepositoryName, id: &str) -> Answer {
    let mut store = exchange.store();
    let received = store.upload(name, id).ok_or_else(unknown)?;
    check_chunk(exchange, received.len(), (name, id))?;
    received.extend_from_slice(&exchange.body);
    Ok(accepted(name, id, received.len()))
}

/// Adds the last chunk, which may be empty, and completes the upload with its digest.
pub(super) fn finish(exchange: &Exchange<'_>, name: &RepositoryName, id: &str) -> Answer {
    let mut store = exchange.store();
    let received = store.upload(name, id).ok_or_else(unknown)?;
    let text = exchange.query("digest").unwrap_or_default();
    let digest = digest(&text)?;
    check_chunk(exchange, received.len(), (name, id))?;
    received.extend_from_slice(&exchange.body);
    let content = std::mem::take(received).into();
    store.end_upload(id);
    complete(&mut store, name, (digest, content))
}

/// Returns the progress of an upload.
pub(super) fn progress(exchange: &Exchange<'_>, name: &RepositoryName, id: &str) -> Answer {
    let mut store = exchange.store();
    let received = store.upload(name, id).ok_or_else(unknown)?.len();
    let mut response = status(StatusCode::NO_CONTENT);
    describe(&mut response, (name, id), received);
    Ok(response)
}

pub(super) fn cancel(exchange: &Exchange<'_>, name: &RepositoryName, id: &str) -> Answer {
    let mut store = exchange.store();
    store.upload(name, id).ok_or_else(unknown)?;
    store.end_upload(id);
    Ok(status(StatusCode::NO_CONTENT))
}

/// Returns the blob of `?mount=DIGEST&from=REPOSITORY` if it exists and may be pulled. Without `from`,
/// returns one of any repository that may be pulled. If there is none, the specification requires an
/// ordinary upload, not an error.
fn mounted(exchange: &Exchange<'_>, store: &Store) -> Result<Option<(Digest, Bytes)>, ApiError> {
    let Some(text) = exchange.query("mount") else {
        return Ok(None);
    };
    let digest = digest(&text)?;
    let from = exchange.query("from");
    let open = |repository: &RepositoryName| {
        let action = Action::Pull;
        let need = Some(Need { action, repository });
        exchange.gate.admit(exchange.headers, need).is_ok()
    };
    let content = store
        .repositories()
        .filter(|(name, _)| from.as_ref().is_none_or(|from| from == name.as_str()))
        .filter_map(|(name, repository)| Some((name, repository.blobs.get(&digest)?)))
        .find(|(name, _)| open(name))
        .map(|(_, content)| content.clone());
    Ok(content.map(|content| (digest, content)))
}

fn complete(
    store: &mut Store,
    name: &RepositoryName,
    (digest, content): (Digest, Bytes),
) -> Answer {
    if !digest.matches(&content) {
        let message = "digest of the blob is not the one given";
        return Err(ApiError::new(Code::DigestInvalid, message));
    }
    store
        .repository_mut(name)
        .blobs
        .insert(digest.clone(), content);
    Ok(created(name, &digest))
}

/// Checks the order of chunks: one with another offset is refused, with the correct offset. The
/// limit applies to the sum of all chunks.
fn check_chunk(
    exchange: &Exchange<'_>,
    received: usize,
    (name, id): (&RepositoryName, &str),
) -> Result<(), ApiError> {
    if exchange.body.len() > exchange.blob_limit.saturating_sub(received) {
        let message = format!("blob is larger than {} bytes", exchange.blob_limit);
        return Err(ApiError::new(Code::SizeInvalid, message));
    }
    let Some(range) = exchange.headers.get(CONTENT_RANGE) else {
        return Ok(());
    };
    let span = range.to_str().ok().and_then(|range| {
        let (first, last) = range.trim_start_matches("bytes ").split_once('-')?;
        let last = last.split('/').next()?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    let fits = |(first, last): (usize, usize)| {
        first == received && last.checked_sub(first).map(|n| n + 1) == Some(exchange.body.len())
    };
    if span.is_some_and(fits) {
        return Ok(());
    }
    let message = format!("chunk does not follow the {received} bytes received so far");
    let mut error =
        ApiError::new(Code::BlobUploadInvalid, message).status(StatusCode::RANGE_NOT_SATISFIABLE);
    for (header, value) in accepted(name, id, received).into_parts().0.headers {
        if let Some(header) = header {
            error = error.header(header, value);
        }
    }
    Err(error)
}

fn created(name: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = status(StatusCode::CREATED);
    let location = format!("/v2/{}/blobs/{}", name.as_str(), digest.as_str());
    set(&mut response, "location", &location);
    set(&mut response, "docker-content-digest", digest.as_str());
    response
}

fn accepted(name: &RepositoryName, id: &str, received: usize) -> Response<Body> {
    let mut response = status(StatusCode::ACCEPTED);
    describe(&mut response, (name, id), received);
    response
}

/// The location has a query like that of distribution: clients must add to it, not replace it.
fn describe(response: &mut Response<Body>, (name, id): (&RepositoryName, &str), received: usize) {
    let location = format!("/v2/{}/blobs/uploads/{id}?_state={received}", name.as_str());
    set(response, "location", &location);
    set(
        response,
        "range",
        &format!("0-{}", received.saturating_sub(1)),
    );
    set(response, "docker-upload-uuid", id);
}

fn unknown() -> ApiError {
    ApiError::new(
        Code::BlobUploadUnknown,
        "blob upload unknown to the registry",
    )
}
