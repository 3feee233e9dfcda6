//! The endpoints of the distribution specification.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints>

mod blobs;
mod manifests;
mod referrers;
mod tags;
mod uploads;

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use http::header::{ALLOW, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use crate::auth::{Action, Gate, Need};
use crate::body::Body;
use crate::error::{ApiError, Code};
use crate::lock::lock;
use crate::name::{Digest, Reference, RepositoryName};
use crate::store::Store;

pub(crate) use manifests::MAX_MANIFEST;

type Answer = Result<Response<Body>, ApiError>;

/// An authorized request with its complete body.
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) gate: &'a Gate,
    pub(crate) store: &'a Mutex<Store>,
    pub(crate) blob_limit: usize,
}

impl Exchange<'_> {
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(self.store)
    }

    /// Returns the first value of a query parameter.
    fn query(&self, name: &str) -> Option<String> {
        let fields = form_urlencoded::parse(self.uri.query()?.as_bytes());
        fields
            .into_iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// The resource of a path.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Resource {
    Blob(RepositoryName, Digest),
    Manifest(RepositoryName, Reference),
    NewUpload(RepositoryName),
    Ping,
    Referrers(RepositoryName, Digest),
    Tags(RepositoryName),
    Upload(RepositoryName, String),
}

impl Resource {
    /// Parses a path from its end, because a repository name may contain the name of an endpoint.
    pub(crate) fn parse(path: &str) -> Result<Self, ApiError> {
        let path = percent_decode_str(path).decode_utf8_lossy();
        let unknown =
            || ApiError::new(Code::Unsupported, "no such endpoint").status(StatusCode::NOT_FOUND);
        if matches!(&*path, "/v2" | "/v2/") {
            return Ok(Self::Ping);
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
        let (rest, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
        let (rest, kind) = rest.rsplit_once('/').ok_or_else(unknown)?;
        match (kind, last) {
            ("tags", "list") => Ok(Self::Tags(repository(rest)?)),
            ("manifests", reference) => {
                let name = repository(rest)?;
                Ok(Self::Manifest(name, parse_reference(reference)?))
            }
            ("referrers", text) => Ok(Self::Referrers(repository(rest)?, digest(text)?)),
            ("blobs", "uploads") => Ok(Self::NewUpload(repository(rest)?)),
            ("blobs", text) => Ok(Self::Blob(repository(rest)?, digest(text)?)),
            ("uploads", id) => {
                let name = repository(rest.strip_suffix("/blobs").ok_or_else(unknown)?)?;
                Ok(if id.is_empty() {
                    Self::NewUpload(name)
                } else {
                    Self::Upload(name, id.to_owned())
                })
            }
            _ => Err(unknown()),
        }
    }

    /// Returns the right that the method needs, or an error if the resource does not support it.
    pub(crate) fn need(&self, method: &Method) -> Result<Option<Need<'_>>, ApiError> {
        let (name, allowed) = match self {
            Self::Ping => (None, "GET, HEAD"),
            Self::Tags(name) | Self::Referrers(name, _) => (Some(name), "GET, HEAD"),
            Self::Manifest(name, _) => (Some(name), "GET, HEAD, PUT, DELETE"),
            Self::Blob(name, _) => (Some(name), "GET, HEAD, DELETE"),
            Self::NewUpload(name) => (Some(name), "POST"),
            Self::Upload(name, _) => (Some(name), "GET, PATCH, PUT, DELETE"),
        };
        if !allowed.split(", ").any(|one| one == method.as_str()) {
            let message = format!("method {method} is not allowed here, but {allowed}");
            return Err(ApiError::new(Code::Unsupported, message)
                .header(ALLOW, HeaderValue::from_static(allowed)));
        }
        let action = match (self, method.as_str()) {
            (Self::NewUpload(_) | Self::Upload(..), _) | (_, "PUT") => Action::Push,
            (_, "DELETE") => Action::Delete,
            _ => Action::Pull,
        };
        Ok(name.map(|repository| Need { action, repository }))
    }

    /// Handles an authorized request.
    pub(crate) fn answer(&self, exchange: &Exchange<'_>) -> Answer {
        match (self, exchange.method.as_str()) {
            (Self::Ping, _) => Ok(ping()),
            (Self::Tags(name), _) => tags::list(exchange, name),
            (Self::Referrers(name, digest), _) => referrers::list(exchange, name, digest),
            (Self::Manifest(name, reference), "PUT") => manifests::put(exchange, name, reference),
            (Self::Manifest(name, reference), "DELETE") => {
                manifests::delete(exchange, name, reference)
            }
            (Self::Manifest(name, reference), _) => manifests::get(exchange, name, reference),
            (Self::Blob(name, digest), "DELETE") => blobs::delete(exchange, name, digest),
            (Self::Blob(name, digest), _) => blobs::get(exchange, name, digest),
            (Self::NewUpload(name), _) => uploads::start(exchange, name),
            (Self::Upload(name, id), "PATCH") => uploads::append(exchange, name, id),
            (Self::Upload(name, id), "PUT") => uploads::finish(exchange, name, id),
            (Self::Upload(name, id), "DELETE") => uploads::cancel(exchange, name, id),
            (Self::Upload(name, id), _) => uploads::progress(exchange, name, id),
        }
    }
}

fn ping() -> Response<Body> {
    let mut response = Response::new(Body::from("{}".to_owned()));
    set(&mut response, "content-type", "application/json");
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

/// Sets a header to a text of names, digests and numbers, which is always valid.
fn set(response: &mut Response<Body>, name: &'static str, value: &str) {
    let value = HeaderValue::try_from(value).expect("names, digests and numbers are visible ASCII");
    response.headers_mut().insert(name, value);
}

fn name_unknown(name: &RepositoryName) -> ApiError {
    let message = format!("repository {:?} is unknown", name.as_str());
    ApiError::new(Code::NameUnknown, message)
}

fn repository(text: &str) -> Result<RepositoryName, ApiError> {
    RepositoryName::parse(text)
        .ok_or_else(|| ApiError::new(Code::NameInvalid, "invalid repository name"))
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    Digest::parse(text).ok_or_else(|| ApiError::new(Code::DigestInvalid, "invalid digest"))
}

fn parse_reference(text: &str) -> Result<Reference, ApiError> {
    if text.contains(':') {
        return digest(text).map(Reference::Digest);
    }
    Reference::parse(text).ok_or_else(|| ApiError::new(Code::TagInvalid, "invalid tag"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let parse = |path: &str| Resource::parse(path).unwrap();
        assert_eq!(parse("/v2/"), Resource::Ping);
        assert_eq!(
            parse("/v2/a/b/c/d/tags/list"),
            Resource::Tags(name("a/b/c/d"))
        );
        assert_eq!(
            parse("/v2/blobs/uploads/tags/list"),
            Resource::Tags(name("blobs/uploads"))
        );
        assert_eq!(
            parse("/v2/a/blobs/uploads/"),
            Resource::NewUpload(name("a"))
        );
        assert_eq!(parse("/v2/a/blobs/uploads"), Resource::NewUpload(name("a")));
        let upload = Resource::Upload(name("a/blobs/uploads"), "id".to_owned());
        assert_eq!(parse("/v2/a/blobs/uploads/blobs/uploads/id"), upload);
        let tag = Reference::parse("list").unwrap();
        let manifest = Resource::Manifest(name("manifests"), tag);
        assert_eq!(parse("/v2/manifests/manifests/list"), manifest);
        let hex = "0".repeat(64);
        let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
        let blob = Resource::Blob(name("a"), digest);
        assert_eq!(parse(&format!("/v2/a/blobs/sha256%3A{hex}")), blob);
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "(/v2/)?[a-z/%:A]*(blobs|manifests|tags|uploads)?/.*") {
            let _ = Resource::parse(&path);
        }
    }
}
