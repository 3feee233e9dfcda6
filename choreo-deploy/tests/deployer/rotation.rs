//! Credentials that are replaced during a step.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use choreo_deploy::backend::DeploymentBackend;
use choreo_deploy::catalog::StaticCatalog;
use choreo_deploy::deployer::DeployerParts;
use choreo_deploy::deployment::{Cause, Phase};
use choreo_deploy::resolver::{ImageResolver, RegistryAccess, ResolveError};
use choreo_deploy::sealer::{Sealer, SealingContext, SealingKey};
use choreo_deploy::store::{NewRegistry, Store, StoredCredential};
use choreo_deploy::{Deployer, Intake};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::image::ResolvedImage;
use choreo_registry::{Credential, ImageReference, PullSecret, RegistryHost};

use crate::store::TestStore;
use crate::world::{FakeRegistry, World, id, service, submission, target};

fn host() -> RegistryHost {
    "registry.example.com".parse().unwrap()
}

fn sealer() -> Sealer {
    Sealer::new(SealingKey::new("test", [7; 32]).unwrap())
}

fn renewed() -> Credential {
    Credential::new("grace", "battery staple").unwrap()
}

/// A registry whose credential is replaced while it resolves an image.
#[derive(Debug)]
struct Rotating {
    inner: Arc<FakeRegistry>,
    store: Arc<TestStore>,
}

impl Rotating {
    async fn rotate(&self) {
        let (organization, registry) = (id("acme"), id("images"));
        let host = host();
        let context = SealingContext::new(&organization, &registry, &host);
        let sealed = sealer().seal(&renewed(), &context).unwrap();
        let store: &dyn Store = &*self.store;
        let stored = store.registry(&organization, &registry).await.unwrap();
        let new = NewRegistry::new(
            (organization, registry),
            "Images",
            host.clone(),
            AuthenticationType::Basic,
        )
        .with_credential(StoredCredential::Sealed(sealed));
        let revision = stored.unwrap().revision;
        store.put_registry(new, Some(revision)).await.unwrap();
    }
}

#[async_trait]
impl ImageResolver for Rotating {
    async fn resolve(
        &self,
        image: &ImageReference,
        access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError> {
        let resolved = self.inner.resolve(image, access).await;
        self.rotate().await;
        resolved
    }
}

/// Guards that a step does not write a credential that was revoked while its registry responded.
#[tokio::test(start_paused = true)]
async fn a_step_applies_the_credential_that_is_stored_now() {
    let world = World::new().await;
    let plane: Arc<dyn DeploymentBackend> = world.backend.clone();
    let deployer = Deployer::new(DeployerParts {
        store: world.store.clone(),
        catalog: Arc::new(StaticCatalog::new([service("orders")])),
        backends: Arc::new(HashMap::from([(id("eu-1"), plane)])),
        resolver: Arc::new(Rotating {
            inner: world.registry.clone(),
            store: world.store.clone(),
        }),
        sealer: Arc::new(sealer()),
    })
    .with_clock(world.clock);
    let image = submission("orders", "orders:1", Cause::Manual);
    let deployment = deployer.accept(image).await.unwrap().deployment;
    deployer.work_until_idle().await.unwrap();
    assert_eq!(world.read(&deployment).await.phase, Phase::Ready);
    let secret = PullSecret::new(&host(), &renewed());
    let target = target("orders", "dev");
    assert!(world.backend.pulls_with(&target, &secret));
}
