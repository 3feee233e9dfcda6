//! The client: verify, resolve, inspect.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use choreo_registry::{
    Authentication, ContainerRegistry, Credential, Digest, ImageReference, RegistryHost,
    digest::DigestRef, image::ResolvedImage, reference::TagRef,
};
use http::{HeaderMap, HeaderName, StatusCode};
use tracing::Instrument as _;

use crate::{
    Access, ClientError, ErrorKind, disguise,
    manifest::{self, Manifest, ManifestError},
    request::Resource,
    resolve_cache::ResolveCache,
    session::{Answer, Plan, Session, content_type, now},
    transport::HttpTransport,
};

/// A client of one registry, with one credential or none.
///
/// A client caches the tokens that it gets for its credential. **Never share a client between
/// tenants**: create one for each registry and each version of its credential. Its methods can be
/// called concurrently.
///
/// Every method returns within the [timeout](Self::with_timeout), by default 30 seconds, and needs a
/// Tokio runtime with time enabled. Dropping the future cancels the call.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use choreo_registry::Credential;
/// use choreo_registry_client::{AccessClass, RegistryClient, transport::ScriptedTransport};
///
/// // For real registries: `ReqwestTransport::new(Egress::tenant())`.
/// let asks_for_login = http::Response::builder()
///     .status(401)
///     .header("www-authenticate", r#"Basic realm="registry""#)
///     .body("")?;
/// let transport = ScriptedTransport::new()
///     .answer("GET https://registry.example.com/v2/", asks_for_login)
///     .answer("GET https://registry.example.com/v2/", http::Response::new(""));
///
/// let credential = Credential::new("robot", "correct horse")?;
/// let client =
///     RegistryClient::new("registry.example.com".parse()?, Some(credential), Arc::new(transport));
///
/// let access = client.verify(None).await;
/// assert_eq!(access.class(), AccessClass::LoginAccepted);
/// assert_eq!(access.message(), r#"registry "registry.example.com" accepts the login"#);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RegistryClient {
    pub(super) session: Session,
    timeout: Duration,
    known: ResolveCache,
}

impl RegistryClient {
    /// Creates a client of a registry. Without a credential, its requests are anonymous.
    #[must_use]
    pub fn new(
        registry: RegistryHost,
        credential: Option<Credential>,
        transport: Arc<dyn HttpTransport>,
    ) -> Self {
        Self {
            session: Session::new(registry, credential, transport),
            timeout: DEFAULT_TIMEOUT,
            known: ResolveCache::default(),
        }
    }

    /// Creates a client of a registered registry, with its credential.
    ///
    /// Returns `None` for [`Authentication::Vendor`](choreo_registry::Authentication::Vendor), because
    /// only the nodes have access to such a registry. Get a credential from a
    /// [`credential_source`](crate::credential_source), or return [`Access::not_checkable`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use choreo_registry_client::{RegistryClient, transport::ScriptedTransport};
    /// use choreo_registry::{Authentication, ContainerRegistry};
    ///
    /// let transport = Arc::new(ScriptedTransport::new());
    /// let login = Authentication::basic("alice", "ghp_0123456789")?;
    /// let registry = ContainerRegistry::new("Team images", "ghcr.io".parse()?, login)?;
    /// let client = RegistryClient::for_registry(&registry, transport.clone()).unwrap();
    /// assert_eq!(client.registry(), registry.host());
    ///
    /// let nodes_only =
    ///     ContainerRegistry::new("Azure", "acme.azurecr.io".parse()?, Authentication::Vendor)?;
    /// assert!(RegistryClient::for_registry(&nodes_only, transport).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn for_registry(
        registry: &ContainerRegistry,
        transport: Arc<dyn HttpTransport>,
    ) -> Option<Self> {
        let credential = match registry.authentication() {
            Authentication::Vendor => return None,
            other => other.credential().map(Credential::clone_secret),
        };
        Some(Self::new(registry.host().clone(), credential, transport))
    }

    /// Sets the limit of each call, with all its requests. The default is 30 seconds.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets the number of retries of each request after a transient failure: a broken connection, a
    /// status 502, 503 or 504, or a status 429 with a short `Retry-After`. The default is 2; 0
    /// disables retries.
    ///
    /// The waits grow from 100 ms, with jitter. A request is not retried if the registry names a
    /// wait of more than 2 seconds, or if the wait would exceed the [timeout](Self::with_timeout). If
    /// all requests fail, a client retries ten of them, and then one for each ten that succeed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use choreo_registry_client::{AccessClass, RegistryClient, transport::{ScriptedTransport, TransportErrorKind}};
    ///
    /// let ping = "GET https://registry.example.com/v2/";
    /// let transport = Arc::new(
    ///     ScriptedTransport::new()
    ///         .fail(ping, TransportErrorKind::Connect)
    ///         .answer(ping, http::Response::new("")),
    /// );
    /// let client =
    ///     RegistryClient::new("registry.example.com".parse()?, None, transport).with_retries(1);
    /// assert_eq!(client.verify(None).await.class(), AccessClass::LoginAccepted);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_retries(self, retries: u8) -> Self {
        Self {
            session: self.session.with_retries(retries),
            ..self
        }
    }

    /// Returns the registry of this client.
    #[must_use]
    pub fn registry(&self) -> &RegistryHost {
        self.session.registry()
    }

    /// Checks the permissions of the credential, and explains the result to the person who entered
    /// it.
    ///
    /// Without an image it checks the login. An accepted login does not imply access to a repository,
    /// so pass an image if you can. With a tag or a digest, `verify` reads the manifest and returns
    /// the image; otherwise it reads the list of tags, which many registries permit separately.
    ///
    /// Every result is an [`Access`], also if the registry cannot be reached. If a response has two
    /// possible meanings, the message names both.
    pub async fn verify(&self, image: Option<&ImageReference>) -> Access {
        let span = tracing::debug_span!("verify", registry = self.registry().as_str());
        let access = match image {
            None => self.verify_login().instrument(span).await,
            Some(image) => self.verify_pull(image).instrument(span).await,
        };
        access.unwrap_or_else(Access::from)
    }

    /// Reads and hashes the manifest of an image, and returns its digest and platforms.
    ///
    /// The configuration is also read, with its user and ports, if the image has no index, if it is
    /// the only image of its index, or if the index does not name its platform. This takes one more
    /// request, or two for each image of an index. If the configuration cannot be read, for example
    /// because the egress policy forbids its host, `platforms` is empty and `user` is `None`.
    ///
    /// Resolving the same reference again begins with a `HEAD` request, which registries do not count
    /// as a pull. If the digest is still the same, the result is the image that this client has read
    /// and hashed before. The cache contains 64 references, and not those of `verify` and `inspect`.
    ///
    /// A reference with a digest is requested by its digest, and the content must match. Without tag
    /// and digest, the tag is `latest`, as on a node.
    ///
    /// # Errors
    ///
    /// Returns a [`ClientError`] of any kind; see [`ErrorKind`].
    pub async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage, ClientError> {
        let span = tracing::debug_span!("resolve", registry = self.registry().as_str());
        self.resolve_by(image, self.deadline())
            .instrument(span)
            .await
    }

    /// Resolves an image like [`resolve`](Self::resolve), and reads its user, exposed ports and size.
    /// If the image has several platforms, they are those of `linux/amd64`, or of the first platform.
    ///
    /// This takes one or two more requests.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`resolve`](Self::resolve).
    pub async fn inspect(&self, image: &ImageReference) -> Result<ResolvedImage, ClientError> {
        let span = tracing::debug_span!("inspect", registry = self.registry().as_str());
        self.read_all(image, self.deadline())
            .instrument(span)
            .await
            .map_err(|error| error.about(image))
    }

    async fn resolve_by(
        &self,
        image: &ImageReference,
        deadline: Instant,
    ) -> Result<ResolvedImage, ClientError> {
        self.check_registry(image)?;
        if self.known.has(image) {
            let claimed = self
                .claimed(image.repository(), name_of(image), deadline)
                .await;
            let claimed = claimed.map_err(|error| error.about(image))?;
            if let Some(known) = claimed.and_then(|digest| self.known.get(image, &digest)) {
                return Ok(known);
            }
        }
        let read = self.read_manifest(image, deadline).await?;
        let resolved = self.describe(image, &read, deadline).await?;
        // A configuration that could not be read now may be readable next time.
        if !resolved.platforms().is_empty() {
            self.known.keep(image, &resolved);
        }
        Ok(resolved)
    }

    async fn verify_login(&self) -> Result<Access, ClientError> {
        let deadline = self.deadline();
        let plan = self.session.plan(deadline).await?;
        if let Plan::Silent(odd) = &plan {
            return Err(self.session.silence(odd));
        }
        let answer = self.session.get(&Resource::api(), deadline).await?;
        if answer.response.status() != StatusCode::OK {
            return Err(self.session.failure(&answer));
        }
        let access = match (plan, self.session.has_credential()) {
            (Plan::Open | Plan::Silent(_), true) => Access::login_not_asked(self.registry()),
            (_, true) => Access::login_accepted(self.registry()),
            (_, false) => Access::open(self.registry()),
        };
        Ok(access.seen(&answer.host(), answer.response.status()))
    }

    async fn verify_pull(&self, image: &ImageReference) -> Result<Access, ClientError> {
        let deadline = self.deadline();
        let resolved = if image.tag().is_some() || image.digest().is_some() {
            let read = self.read_manifest(image, deadline).await?;
            Some(self.describe(image, &read, deadline).await?)
        } else {
            self.check_registry(image)?;
            let read = self
                .fetch(&Resource::one_tag(image.repository()), deadline)
                .await;
            if let Err(error) = read {
                let error = error.about_a_list().about(image);
                // The permission to pull is another one, and only a tag would show it.
                return match error.kind() {
                    ErrorKind::Denied => Ok(Access::not_listed(error, self.session.is_proven())),
                    _ => Err(error),
                };
            }
            None
        };
        let login_used = self.session.has_credential() && self.session.logs_in();
        let access = Access::pull_allowed(image, resolved, login_used);
        Ok(access.seen(self.registry().api_host(), StatusCode::OK))
    }

    /// Reads a manifest, and checks its bytes against the requested digest and the reported one.
    pub(super) async fn read_manifest(
        &self,
        image: &ImageReference,
        deadline: Instant,
    ) -> Result<(Digest, Manifest), ClientError> {
        self.check_registry(image)?;
        let resource = Resource::manifest(image.repository(), name_of(image));
        let expected = image.digest().map(DigestRef::to_owned);
        let read = self.fetch(&resource, deadline).await.and_then(|answer| {
            self.hashed_manifest(&answer, expected.as_ref())
                .map_err(|error| error.with_host(&answer.host()))
        });
        read.map_err(|error| error.about(image))
    }

    pub(super) fn hashed_manifest(
        &self,
        answer: &Answer,
        expected: Option<&Digest>,
    ) -> Result<(Digest, Manifest), ClientError> {
        let (headers, body) = (answer.response.headers(), answer.response.body());
        let claimed = claimed_digest(headers);
        let mut digests = expected.into_iter().chain(&claimed);
        if !digests.all(|digest| digest.matches(body)) {
            let mismatch = self.session.error(ErrorKind::DigestMismatch);
            return Err(self.unless_disguised(answer, mismatch));
        }
        let manifest = manifest::read(content_type(headers), body).map_err(|reason| {
            let unsupported = self.unsupported(reason);
            // Content that matches its digest comes from the registry, even with odd headers.
            match expected.or(claimed.as_ref()) {
                Some(_) => unsupported,
                None => self.unless_disguised(answer, unsupported),
            }
        })?;
        let digest = expected.copied().unwrap_or_else(|| Digest::sha256_of(body));
        Ok((digest, manifest))
    }

    /// Returns the error, unless the headers show that the content is not the registry's.
    pub(super) fn unless_disguised(&self, answer: &Answer, error: ClientError) -> ClientError {
        match disguise::of(answer.response.headers()) {
            Some(detail) => self
                .session
                .error(ErrorKind::InvalidResponse)
                .with_evidence(answer.evidence())
                .with_detail(detail),
            None => error,
        }
    }

    pub(super) async fn fetch(
        &self,
        resource: &Resource<'_>,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let answer = self.session.get(resource, deadline).await?;
        if answer.response.status() == StatusCode::OK {
            Ok(answer)
        } else {
            Err(self.session.failure(&answer))
        }
    }

    pub(super) fn check_registry(&self, image: &ImageReference) -> Result<(), ClientError> {
        if self.registry().serves(image) {
            Ok(())
        } else {
            Err(self.session.error(ErrorKind::WrongRegistry).about(image))
        }
    }

    pub(super) fn unsupported(&self, reason: ManifestError) -> ClientError {
        self.session
            .error(ErrorKind::UnsupportedImage)
            .with_detail(reason)
    }

    pub(super) fn deadline(&self) -> Instant {
        let now = now();
        now.checked_add(self.timeout)
            .unwrap_or(now + DEFAULT_TIMEOUT)
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the digest or tag by which an image is requested.
fn name_of(image: &ImageReference) -> &str {
    image
        .digest()
        .map_or_else(|| tag_of(image), DigestRef::as_str)
}

/// Returns the tag, or `latest`.
pub(super) fn tag_of(image: &ImageReference) -> &str {
    image.tag().map_or("latest", TagRef::as_str)
}

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Returns the digest that the registry reports; `None` if the header is empty or of another form.
pub(super) fn claimed_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}
