//! The registries, and the credentials that they receive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::id::{OrganizationId, RegistryId};
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::resolver::{ImageResolver, RegistryAccess, ResolveError};
use choreo_registry::digest::DigestRef;
use choreo_registry::image::{MediaType, Platform, ResolvedImage};
use choreo_registry::{Credential, Digest, ImageReference};

use crate::journal::{Journal, broken};
use crate::process::Process;
use crate::world::World;

/// A host that never answers.
pub(crate) const DEAD: &str = "dead.example.com";

/// The number of times that each tag has moved.
#[derive(Debug, Default)]
pub(crate) struct Tags(Mutex<BTreeMap<String, u64>>);

impl Tags {
    pub(crate) fn push(&self, image: &ImageReference) {
        let mut moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *moved.entry(image.as_str().to_owned()).or_default() += 1;
    }

    pub(crate) fn digest(&self, image: &ImageReference) -> Digest {
        let moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = moved.get(image.as_str()).copied().unwrap_or(0);
        Digest::sha256_of(format!("{image} {moved}").as_bytes())
    }
}

/// Returns the platforms of an image, which its digest determines.
pub(crate) fn platforms(digest: &Digest) -> &'static [&'static str] {
    match digest.to_string().bytes().last() {
        Some(b'0'..=b'2') => &["linux/amd64"],
        Some(b'3'..=b'5') => &["linux/arm64"],
        _ => &["linux/amd64", "linux/arm64"],
    }
}

/// Returns a credential that contains its owner and its version.
pub(crate) fn credential(
    organization: &OrganizationId,
    registry: &RegistryId,
    version: u64,
) -> Credential {
    let password = format!("{organization}/{registry}/{version}");
    Credential::new("robot", password).expect("a credential")
}

pub(crate) fn check_password(journal: &Journal, organization: &OrganizationId, password: &str) {
    if password.split('/').next() != Some(organization.as_str()) {
        broken!(
            journal,
            "{organization} is served with the credential {password}"
        );
    }
}

#[derive(Debug)]
pub(crate) struct SeenRegistries {
    process: Arc<Process>,
    world: Arc<World>,
}

impl SeenRegistries {
    pub(crate) fn new(process: Arc<Process>, world: Arc<World>) -> Self {
        Self { process, world }
    }
}

#[async_trait]
impl ImageResolver for SeenRegistries {
    async fn resolve(
        &self,
        image: &ImageReference,
        access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError> {
        self.process.thawed().await;
        let world = &self.world;
        let (dice, faults) = (&world.dice, world.weather.registry());
        if let Some(credential) = access.credential {
            let password = credential.expose_password();
            check_password(&world.journal, access.organization, password);
        }
        if access.host.as_str() == DEAD || dice.percent(faults / 5) {
            return std::future::pending().await;
        }
        let longest = if dice.percent(faults / 2) { 4_000 } else { 200 };
        tokio::time::sleep(dice.millis(longest)).await;
        self.process.thawed().await;
        if dice.percent(faults) {
            let retry_after = dice
                .percent(20)
                .then(|| Duration::from_secs(dice.below(90)));
            return Err(ResolveError::TryLater {
                reason: Reason::new(ReasonCode::RegistryUnreachable, "simulated"),
                retry_after,
            });
        }
        if image.as_str().contains("absent") {
            let reason = Reason::new(ReasonCode::ImageNotFound, "simulated");
            return Err(ResolveError::Failed(reason));
        }
        let digest = match image.digest().map(DigestRef::to_owned) {
            Some(digest) => digest,
            None => world.tags.digest(image),
        };
        let platforms = platforms(&digest).iter();
        let platforms = platforms.map(|text| text.parse::<Platform>().expect("a platform"));
        let image = ResolvedImage::new(digest, MediaType::OciIndex);
        Ok(image.with_platforms(platforms.collect()))
    }
}
