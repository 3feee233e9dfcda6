//! Requests as plain values, before they are sent.
//!
//! Paths are those of the [OCI distribution
//! specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints).

use std::sync::LazyLock;

use bytes::Bytes;
use choreo_registry::{Digest, image::MediaType, reference::RepositoryRef};
use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

use crate::{address::Address, meaning::Place};

/// A resource of a registry.
#[derive(Debug)]
pub(super) struct Resource<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) accept: Option<HeaderValue>,
    /// Its repository; `None` for the root of the API.
    repository: Option<RepositoryRef<'a>>,
    /// Its limit, in bytes.
    pub(super) limit: usize,
}

impl<'a> Resource<'a> {
    /// The root of the API, `/v2/`, which shows the kind of login that a registry requires.
    pub(super) fn api() -> Self {
        Self {
            method: Method::GET,
            path: "v2/".to_owned(),
            accept: None,
            repository: None,
            limit: PING_LIMIT,
        }
    }

    /// A manifest by tag or digest.
    pub(super) fn manifest(repository: RepositoryRef<'a>, tag_or_digest: &str) -> Self {
        Self {
            method: Method::GET,
            path: format!("v2/{}/manifests/{tag_or_digest}", repository.as_str()),
            accept: ACCEPT_MANIFESTS.clone(),
            repository: Some(repository),
            limit: MANIFEST_LIMIT,
        }
    }

    /// The headers of a manifest.
    pub(super) fn manifest_head(repository: RepositoryRef<'a>, tag_or_digest: &str) -> Self {
        Self {
            method: Method::HEAD,
            ..Self::manifest(repository, tag_or_digest)
        }
    }

    /// An image's configuration.
    pub(super) fn config(repository: RepositoryRef<'a>, digest: &Digest) -> Self {
        Self {
            method: Method::GET,
            path: format!("v2/{}/blobs/{digest}", repository.as_str()),
            accept: None,
            repository: Some(repository),
            limit: CONFIG_LIMIT,
        }
    }

    /// One tag of a repository, to check whether it may be read.
    pub(super) fn one_tag(repository: RepositoryRef<'a>) -> Self {
        Self {
            method: Method::GET,
            path: format!("v2/{}/tags/list?n=1", repository.as_str()),
            accept: None,
            repository: Some(repository),
            limit: MANIFEST_LIMIT,
        }
    }

    /// The first page of a repository's tags.
    pub(super) fn tags(repository: RepositoryRef<'a>) -> Self {
        Self {
            path: format!("v2/{}/tags/list?n={TAGS_PER_PAGE}", repository.as_str()),
            ..Self::one_tag(repository)
        }
    }

    /// The first page of a repository's tags, of the size that the registry chooses.
    pub(super) fn tags_of_any_number(repository: RepositoryRef<'a>) -> Self {
        Self {
            path: format!("v2/{}/tags/list", repository.as_str()),
            ..Self::one_tag(repository)
        }
    }

    /// A further page of a repository's tags, at the address that the registry named.
    pub(super) fn more_tags(repository: RepositoryRef<'a>, page: &Url) -> Self {
        Self {
            path: page.as_str().to_owned(),
            ..Self::one_tag(repository)
        }
    }

    pub(super) fn url(&self, base: &Url) -> Option<Url> {
        if self.path.contains("://") {
            return base.join(&self.path).ok();
        }
        // The base is already parsed, so its host is not parsed again.
        let mut url = base.clone();
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*self.path, None),
        };
        url.set_path(path);
        url.set_query(query);
        Some(url)
    }

    /// Returns the server that responds.
    pub(super) fn place(&self) -> Place {
        match self.repository {
            Some(_) => Place::Repository,
            None => Place::Api,
        }
    }

    /// Returns the scope that a token needs for it.
    pub(super) fn scope(&self) -> Option<String> {
        let pull =
            |repository: RepositoryRef<'_>| format!("repository:{}:pull", repository.as_str());
        self.repository.map(pull)
    }
}

/// The headers of a request, from which each attempt is created.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    pub(super) accept: Option<HeaderValue>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) content_type: Option<HeaderValue>,
}

impl Headers {
    fn write(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        let agent = HeaderValue::from_static(USER_AGENT);
        headers.insert(header::USER_AGENT, agent);
        let fields = [
            (header::ACCEPT, &self.accept),
            (header::AUTHORIZATION, &self.authorization),
            (header::CONTENT_TYPE, &self.content_type),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        headers
    }
}

/// Creates a request to this address; `None` if HTTP cannot express it.
pub(super) fn build(
    method: Method,
    address: &Address,
    headers: &Headers,
    body: Bytes,
) -> Option<http::Request<Bytes>> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = address.uri()?.clone();
    *request.headers_mut() = headers.write();
    Some(request)
}

/// Every media type that a manifest may have.
static ACCEPT_MANIFESTS: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let all = MediaType::ALL.map(|media_type| media_type.as_str());
    HeaderValue::from_str(&all.join(", ")).ok()
});

const USER_AGENT: &str = concat!("choreo-registry/", env!("CARGO_PKG_VERSION"));
/// The usual limit of registries, which reduce higher numbers.
const TAGS_PER_PAGE: usize = 1000;
const PING_LIMIT: usize = 64 * 1024;
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
const CONFIG_LIMIT: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(resource: &Resource<'_>) -> http::Request<Bytes> {
        let base = Url::parse("https://registry.example.com/").unwrap();
        let headers = Headers {
            accept: resource.accept.clone(),
            ..Headers::default()
        };
        let address = Address::new(resource.url(&base).unwrap());
        build(resource.method.clone(), &address, &headers, Bytes::new()).unwrap()
    }

    #[test]
    fn requests_are_those_of_the_specification() {
        let repository = RepositoryRef::parse("team/app").unwrap();
        let digest = Digest::sha256_of(b"hello");
        let root = "https://registry.example.com/v2";

        let ping = request(&Resource::api());
        assert_eq!(ping.uri().to_string(), format!("{root}/"));
        assert_eq!(ping.headers()["user-agent"], USER_AGENT);
        assert!(!ping.headers().contains_key("accept"));

        let manifest = request(&Resource::manifest(repository, "1.4"));
        assert_eq!(manifest.method(), Method::GET);
        assert_eq!(
            manifest.uri().to_string(),
            format!("{root}/team/app/manifests/1.4")
        );
        assert_eq!(
            manifest.headers()["accept"],
            "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
             application/vnd.docker.distribution.manifest.list.v2+json, \
             application/vnd.docker.distribution.manifest.v2+json"
        );

        let by_digest = request(&Resource::manifest(repository, digest.as_str()));
        assert_eq!(
            by_digest.uri().to_string(),
            format!("{root}/team/app/manifests/{digest}")
        );
        let config = request(&Resource::config(repository, &digest));
        assert_eq!(
            config.uri().to_string(),
            format!("{root}/team/app/blobs/{digest}")
        );
        let tags = request(&Resource::one_tag(repository));
        assert_eq!(
            tags.uri().to_string(),
            format!("{root}/team/app/tags/list?n=1")
        );
    }

    #[test]
    fn tokens_are_asked_for_pulling_this_repository_and_nothing_else() {
        let repository = RepositoryRef::parse("team/app").unwrap();
        assert_eq!(
            Resource::manifest(repository, "1").scope().unwrap(),
            "repository:team/app:pull"
        );
        assert_eq!(Resource::api().scope(), None);
    }
}
