//! Checks whether a tag has moved, with one request that does not transfer the manifest.

use std::time::Instant;

use choreo_registry::{Digest, ImageReference, reference::RepositoryRef};
use http::StatusCode;
use tracing::Instrument as _;

use crate::{
    ClientError, RegistryClient, disguise,
    registry_client::{claimed_digest, tag_of},
    request::Resource,
};

/// The digest of a tag now, compared with an earlier one.
///
/// ```
/// use choreo_registry::Digest;
/// use choreo_registry_client::Comparison;
///
/// let now = Digest::sha256_of(b"a newer manifest");
/// assert!(Comparison::Same.is_same());
/// assert!(!Comparison::Moved(now).is_same());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a name has the same digest or another"
)]
pub enum Comparison {
    /// The tag still has the digest.
    Same,
    /// The registry reports this digest now. [`RegistryClient::resolve`] reads and hashes its
    /// manifest.
    Moved(Digest),
}

impl Comparison {
    /// Returns `true` if the tag still has the digest.
    #[must_use]
    pub fn is_same(&self) -> bool {
        matches!(self, Self::Same)
    }
}

impl RegistryClient {
    /// Checks whether a tag still has this digest, with one `HEAD` request, which registries do not
    /// count as a pull. If the registry does not report digests, the manifest is read and hashed.
    ///
    /// A digest in the reference is ignored. Without a tag, the tag is `latest`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use choreo_registry::Digest;
    /// use choreo_registry_client::{Comparison, RegistryClient, transport::ScriptedTransport};
    ///
    /// let (deployed, newer) = (Digest::sha256_of(b"deployed"), Digest::sha256_of(b"newer"));
    /// let moved = http::Response::builder()
    ///     .header("docker-content-digest", newer.as_str())
    ///     .body("")?;
    /// let transport = ScriptedTransport::new()
    ///     .answer("GET https://registry.example.com/v2/", http::Response::new(""))
    ///     .answer("HEAD https://registry.example.com/v2/team/app/manifests/1", moved);
    /// let client = RegistryClient::new("registry.example.com".parse()?, None, Arc::new(transport));
    ///
    /// let image = "registry.example.com/team/app:1".parse()?;
    /// assert_eq!(client.compare(&image, &deployed).await?, Comparison::Moved(newer));
    /// assert_eq!(client.compare(&image, &newer).await?, Comparison::Same);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`ClientError`] of any kind; [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if
    /// the tag no longer exists.
    pub async fn compare(
        &self,
        image: &ImageReference,
        digest: &Digest,
    ) -> Result<Comparison, ClientError> {
        let span = tracing::debug_span!("compare", registry = self.registry().as_str());
        self.compare_by(image, digest, self.deadline())
            .instrument(span)
            .await
            .map_err(|error| error.about(image))
    }

    async fn compare_by(
        &self,
        image: &ImageReference,
        digest: &Digest,
        deadline: Instant,
    ) -> Result<Comparison, ClientError> {
        self.check_registry(image)?;
        let (repository, tag) = (image.repository(), tag_of(image));
        let is_of_kind = |claimed: &Digest| claimed.algorithm() == digest.algorithm();
        let now = match self.claimed(repository, tag, deadline).await? {
            Some(claimed) if is_of_kind(&claimed) => claimed,
            // Without a digest of the same algorithm, the manifest is hashed.
            _ => {
                let resource = Resource::manifest(repository, tag);
                let answer = self.fetch(&resource, deadline).await?;
                if digest.matches(answer.response.body()) {
                    *digest
                } else {
                    self.hashed_manifest(&answer, None)?.0
                }
            }
        };
        Ok(if now == *digest {
            Comparison::Same
        } else {
            Comparison::Moved(now)
        })
    }

    /// Returns the digest that the registry reports without sending the manifest; `None` if it
    /// reports none, or if the response to a `GET` would explain more.
    pub(super) async fn claimed(
        &self,
        repository: RepositoryRef<'_>,
        tag_or_digest: &str,
        deadline: Instant,
    ) -> Result<Option<Digest>, ClientError> {
        let resource = Resource::manifest_head(repository, tag_or_digest);
        let answer = self.session.get(&resource, deadline).await?;
        match answer.response.status() {
            StatusCode::OK => Ok(claimed_digest(answer.response.headers())),
            // The body of a response to `GET` tells a firewall's page from the registry's denial.
            StatusCode::FORBIDDEN if disguise::may_hide_page(answer.response.headers()) => Ok(None),
            // A second request would have the same result, or count against the rate limit.
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED => {
                Err(self.session.failure(&answer))
            }
            _ => Ok(None),
        }
    }
}
