//! The digest of a requested image, and the release that is made from it.

use choreo_registry::ImageReference;
use choreo_registry::image::ResolvedImage;

use super::Deployer;
use super::admission::Wanted;
use super::fit::check_fit;
use super::halt::Halt;
use super::source::Source;
use crate::deployment::{RequestedImage, Subject};
use crate::reason::{Reason, ReasonCode};
use crate::release::{DigestPin, Pinning, Release, ReleaseDraft, ReleaseImage};
use crate::resolver::{RegistryAccess, ResolveError};
use crate::store::ClaimedDeployment;

impl Deployer {
    /// Creates the release of the requested image.
    pub(super) async fn make_release(
        &self,
        claimed: &ClaimedDeployment,
    ) -> Result<(Release, Source), Halt> {
        let (Subject::Image(image), Some(workload)) =
            (&claimed.deployment.subject, &claimed.workload)
        else {
            let reason = Reason::new(
                ReasonCode::AdmissionRefused,
                "the stored deployment has neither a release nor an image with its workload",
            );
            return Err(Halt::Failed(reason));
        };
        let wanted = Wanted::Image(&image.reference);
        let source = self.source(&claimed.claim.target, &wanted).await?;
        let image = self.pin(claimed, image, &source).await?;
        let registry = source.registry.id.clone();
        let draft = ReleaseDraft::new(workload.clone(), image).from_registry(registry);
        let now = self.clock.now();
        let release = self.parts.store.record_release(&claimed.claim, draft, now);
        let release = release.await?;
        let source = self.renewed(claimed, source, &wanted).await?;
        Ok((release, source))
    }

    /// Opens the credential again if it was replaced since. A rotation writes the new one to the data
    /// plane at the earlier generation, and the step that follows must not write the old one over it.
    async fn renewed(
        &self,
        claimed: &ClaimedDeployment,
        source: Source,
        wanted: &Wanted<'_>,
    ) -> Result<Source, Halt> {
        let opened = &source.registry;
        let stored = self.parts.store.registry(&opened.organization, &opened.id);
        let version = stored.await?.map(|stored| stored.credential_version);
        if version == Some(opened.credential_version) {
            return Ok(source);
        }
        self.source(&claimed.claim.target, wanted).await
    }

    /// Pins an image to its digest, as far as the digest is known now.
    async fn pin(
        &self,
        claimed: &ClaimedDeployment,
        image: &RequestedImage,
        source: &Source,
    ) -> Result<ReleaseImage, Halt> {
        let unpinned = ReleaseImage::unpinned(image.reference.clone());
        let not_read = || match image.claimed {
            Some(digest) => unpinned
                .clone()
                .pinned(DigestPin::new(digest, Pinning::Claimed)),
            None => unpinned.clone(),
        };
        let Some(from) = source.read() else {
            return Ok(not_read());
        };
        let asked = match image.claimed {
            Some(digest) => image.reference.with_digest(digest),
            None => image.reference.clone(),
        };
        let resolved = self.resolve(&asked, &from);
        match self.ask(from.host, resolved).await? {
            Some(resolved) => {
                check_fit(&source.plan, claimed, &resolved)?;
                Ok(unpinned.pinned(DigestPin::new(resolved.digest(), Pinning::Resolved)))
            }
            None => Ok(not_read()),
        }
    }

    /// Resolves an image at its registry. Returns `None` if the registry cannot be read from here.
    async fn resolve(
        &self,
        image: &ImageReference,
        from: &RegistryAccess<'_>,
    ) -> Result<Option<ResolvedImage>, Halt> {
        let resolved = self.parts.resolver.resolve(image, from);
        match tokio::time::timeout(self.options.call_timeout, resolved).await {
            Ok(Ok(resolved)) => Ok(Some(resolved)),
            Ok(Err(ResolveError::NotCheckable(reason))) => {
                tracing::info!(%image, %reason, "registry is not checkable from here");
                Ok(None)
            }
            Ok(Err(ResolveError::Failed(reason))) => Err(Halt::Failed(reason)),
            Ok(Err(ResolveError::TryLater {
                reason,
                retry_after,
            })) => Err(Halt::Later {
                reason,
                retry_after,
            }),
            Err(_) => {
                let message = format!("registry {} did not answer in time", from.host);
                let reason = Reason::new(ReasonCode::RegistryUnreachable, message);
                Err(Halt::later(reason))
            }
        }
    }
}
