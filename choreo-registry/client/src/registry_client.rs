//! The client itself: verify, resolve, inspect.

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

/// Asks one registry, with one credential or none.
///
/// A client keeps the tokens that its credential earned. **Never share one between tenants**: keep
/// one for each registry and version of its credential, for as long as that lives. Its methods may
/// run at the same time.
///
/// Every method ends within the [timeout](Self::with_timeout), 30 seconds unless you say otherwise,
/// and needs a Tokio runtime with time enabled. Dropping the future ends the call.
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
    /// A client for this registry. Without a credential it asks as anyone may.
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

    /// A client for a registry that was registered, with the credential that was entered for it.
    ///
    /// `None` for [`Authentication::Vendor`](choreo_registry::Authentication::Vendor): the nodes have access to
    /// such a registry and nobody else. Take a credential from a
    /// [`credential_source`](crate::credential_source), or answer
    /// [`Access::not_checkable`].
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

    /// Ends each call of each method after this time, all its requests together. The default is 30
    /// seconds.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Repeats each request at most so often when it fails in passing: a connection that breaks, a
    /// status 502, 503 or 504, a status 429 with a short `Retry-After`. The default is 2; 0 leaves
    /// all repetition to you.
    ///
    /// The waits grow from 100 ms, with jitter; a registry that asks for more than 2 seconds is not
    /// waited for. When everything fails, a client repeats ten requests and then one for each ten
    /// that succeed. No wait goes beyond the [timeout](Self::with_timeout).
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

    /// The registry that this client asks.
    #[must_use]
    pub fn registry(&self) -> &RegistryHost {
        self.session.registry()
    }

    /// Finds out what the credential is good for, in words for the person who entered it.
    ///
    /// Without an image it checks the login. That a registry accepts a login says nothing about a
    /// repository, so name an image wherever you can: with a tag or digest, `verify` reads its
    /// manifest and reports it; without either it reads the repository's list of tags, which is
    /// another right at many registries.
    ///
    /// Every outcome is an [`Access`], also that the registry cannot be reached. Where the
    /// registry's answer has two readings, the message says both.
    pub async fn verify(&self, image: Option<&ImageReference>) -> Access {
        let span = tracing::debug_span!("verify", registry = self.registry().as_str());
        let access = match image {
            None => self.verify_login().instrument(span).await,
            Some(image) => self.verify_pull(image).instrument(span).await,
        };
        access.unwrap_or_else(Access::from)
    }

    /// Reads the manifest of an image and hashes it: which digest does this name have now, and
    /// which platforms is it built for?
    ///
    /// Where an index does not say what its entries are built for, for an image without an index and for
    /// the one image of an index, the configuration is read as well, with the user and the ports that it
    /// names: one request more, and two for each image of an index that is read. What cannot be read then, for instance because it
    /// lies at a host that is out of bounds from here, is left unknown: `platforms` is empty and `user`
    /// is `None`.
    ///
    /// Asked again for the same name, it begins with a `HEAD` request: while the registry names the
    /// digest that was read before, that is all it takes, and no registry counts it as a pull. What
    /// it returns was hashed by this client in any case. The latest 64 names are kept, those of
    /// `verify` and `inspect` not among them.
    ///
    /// A reference with a digest is asked for by that digest, and what comes must be its content.
    /// One without tag and digest means the tag `latest`, as on a node.
    ///
    /// # Errors
    ///
    /// [`ClientError`] of any kind; [`ErrorKind`] lists them.
    pub async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage, ClientError> {
        let span = tracing::debug_span!("resolve", registry = self.registry().as_str());
        self.resolve_by(image, self.deadline())
            .instrument(span)
            .await
    }

    /// [`resolve`](Self::resolve), and what the image's configuration says: user, exposed ports,
    /// size. Of an image for several platforms it reads the one for `linux/amd64`, or the first.
    ///
    /// This takes one or two requests more.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
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
        // What could not be read now may be readable next time.
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
                // The right to pull is another one, and a tag would be needed to see it.
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

    /// A manifest whose bytes were hashed: against the digest that it was asked for by, and against
    /// the one that the registry claims.
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
            // Content that matches its digest is the registry's, whatever the headers say.
            match expected.or(claimed.as_ref()) {
                Some(_) => unsupported,
                None => self.unless_disguised(answer, unsupported),
            }
        })?;
        let digest = expected.copied().unwrap_or_else(|| Digest::sha256_of(body));
        Ok((digest, manifest))
    }

    /// The error, unless the headers say that the content that it is about is not the registry's.
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

/// The name under which a registry is asked for an image: its digest, its tag, or `latest`.
fn name_of(image: &ImageReference) -> &str {
    image
        .digest()
        .map_or_else(|| tag_of(image), DigestRef::as_str)
}

/// The tag, or `latest`.
pub(super) fn tag_of(image: &ImageReference) -> &str {
    image.tag().map_or("latest", TagRef::as_str)
}

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What the registry claims the digest to be. An empty or unknown one is no claim.
pub(super) fn claimed_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}
