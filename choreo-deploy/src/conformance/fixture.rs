use std::fmt;
use std::future::Future;
use std::pin::Pin as Pinned;
use std::time::Duration;

use choreo_registry::{Credential, ImageReference, PullSecret, RegistryHost};
use jiff::Timestamp;

use crate::backend::{DeploymentBackend, DeploymentBackendExt, Intent};
use crate::deployment::Generation;
use crate::release::{Pin, Pinning, Release, ReleaseDraft, ReleaseImage, ReleaseNumber};
use crate::rollout::{Rollout, RolloutPhase};
use crate::workload::{Endpoint, Protocol, Service, Workload};
use crate::{Target, backend};

/// A backend under test and what the suite must know to use it.
///
/// A backend in memory takes the defaults. One on a real data plane says which images there are and
/// how long a rollout may take.
#[derive(Debug)]
pub struct BackendFixture {
    backend: Box<dyn DeploymentBackend>,
    workload: Workload,
    images: [ImageReference; 2],
    missing: Option<ImageReference>,
    loss: Option<Loss>,
    targets: String,
    patience: Duration,
}

impl BackendFixture {
    /// A backend where every image can be pulled and rollouts take no longer than 10 s.
    pub fn new(backend: impl DeploymentBackend) -> Self {
        Self {
            backend: Box::new(backend),
            workload: example_workload(),
            images: [example_image(1), example_image(2)],
            missing: None,
            loss: None,
            targets: String::new(),
            patience: Duration::from_secs(10),
        }
    }

    /// Says which workload and which two images, by digest, become ready on this data plane.
    #[must_use]
    pub fn with_workload(self, workload: impl Into<Workload>, images: [ImageReference; 2]) -> Self {
        Self {
            workload: workload.into(),
            images,
            ..self
        }
    }

    /// Says which image fails to roll out. Without one, the clause about failures passes unseen.
    #[must_use]
    pub fn with_missing_image(self, image: ImageReference) -> Self {
        Self {
            missing: Some(image),
            ..self
        }
    }

    /// Says how what runs on a target is taken away behind the backend's back. Without it, the clause
    /// about what is missing passes unseen.
    #[must_use]
    pub fn with_loss<F: Future<Output = ()> + Send + 'static>(
        self,
        lose: impl Fn(Target) -> F + Send + Sync + 'static,
    ) -> Self {
        let lose =
            move |target| -> Pinned<Box<dyn Future<Output = ()> + Send>> { Box::pin(lose(target)) };
        Self {
            loss: Some(Loss(Box::new(lose))),
            ..self
        }
    }

    /// Begins the names of all targets with this, where several suites share a data plane.
    #[must_use]
    pub fn with_target_prefix(self, prefix: impl Into<String>) -> Self {
        Self {
            targets: prefix.into(),
            ..self
        }
    }

    /// Says how long a rollout may take.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &dyn DeploymentBackend {
        &*self.backend
    }

    pub(super) fn missing(&self) -> Option<Release> {
        let image = self.missing.as_ref()?;
        Some(release_of(9, self.workload.clone(), image))
    }

    /// Takes away what runs on the target; says whether the fixture can.
    pub(super) async fn lose(&self, target: &Target) -> bool {
        match &self.loss {
            Some(Loss(lose)) => {
                lose(target.clone()).await;
                true
            }
            None => false,
        }
    }

    pub(super) fn target(&self, name: &str) -> Target {
        example_target(&format!("{}{name}", self.targets))
    }

    /// The first or the second release.
    pub(super) fn release(&self, number: usize) -> Release {
        release_of(
            number as u64,
            self.workload.clone(),
            &self.images[number - 1],
        )
    }

    /// A release whose image has a tag and no digest. The tag need not exist.
    pub(super) fn release_by_tag(&self) -> Release {
        let image = format!("{}:by-tag", self.images[0].name());
        let image = image.parse().expect("the reference is valid");
        Release {
            image: ReleaseImage::unpinned(image),
            ..self.release(1)
        }
    }

    /// Applies and waits until it has settled.
    pub(super) async fn deploy(
        &self,
        target: &Target,
        generation: Generation,
        release: &Release,
    ) -> Rollout {
        let intent = Intent::new(target, generation, release);
        self.backend
            .apply(&intent)
            .await
            .expect("a newer generation is applied");
        self.settled(target, generation).await
    }

    /// Waits until a generation is no longer on its way.
    pub(super) async fn settled(&self, target: &Target, generation: Generation) -> Rollout {
        let watch =
            self.backend
                .watch_until_settled(target, generation, Duration::from_millis(200));
        match tokio::time::timeout(self.patience, watch).await {
            Ok(rollout) => rollout.expect("the target can be looked at"),
            Err(_) => panic!(
                "generation {generation} did not settle within {:?}",
                self.patience
            ),
        }
    }

    /// Asserts that the target is ready at a generation and runs what the release says.
    pub(super) async fn assert_runs(
        &self,
        target: &Target,
        generation: Generation,
        release: &Release,
    ) {
        let rollout = self.settled(target, generation).await;
        assert_eq!(
            rollout.generation,
            Some(generation),
            "this generation is in place: {rollout:?}"
        );
        assert_eq!(
            rollout.phase,
            RolloutPhase::Ready,
            "it is ready: {:?}",
            rollout.reasons
        );
        if let (Some(running), Some(pin)) = (&rollout.running, &release.image.pin) {
            assert_eq!(*running, pin.digest, "the pinned image runs");
        }
    }
}

type Lose = dyn Fn(Target) -> Pinned<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// Takes away what runs on a target.
struct Loss(Box<Lose>);

impl fmt::Debug for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loss")
    }
}

/// The generation of a number.
pub(super) fn generation(number: u64) -> Generation {
    Generation::new(0, number)
}

/// Asserts that a call was refused because its generation is old.
#[track_caller]
pub(super) fn assert_stale<T: fmt::Debug>(result: Result<T, backend::BackendError>) {
    let error = result.expect_err("an older generation is refused");
    assert_eq!(error.kind(), backend::BackendErrorKind::Stale, "{error}");
}

/// The target of a component of that name, for tests and examples.
///
/// # Panics
/// When the name is no id.
#[must_use]
pub fn example_target(component: &str) -> Target {
    let id = "the name is an id";
    Target::new(
        "acme".parse().expect(id),
        "shop".parse().expect(id),
        component.parse().expect(id),
        "development".parse().expect(id),
    )
}

/// The release of a Service with the [image](example_image) of that number, for tests and examples.
///
/// # Panics
/// When the number is 0.
#[must_use]
pub fn example_release(number: u64) -> Release {
    release_of(number, example_workload(), &example_image(number))
}

/// An image by a made-up digest, for tests and examples: no registry has it.
#[must_use]
pub fn example_image(number: u64) -> ImageReference {
    let digest = format!("sha256:{number:064x}");
    format!("registry.example.com/shop/app@{digest}")
        .parse()
        .expect("the reference is valid")
}

/// A pull secret for the registry of [`example_image`], for tests and examples.
#[must_use]
pub fn example_registry(username: &str) -> PullSecret {
    let host: RegistryHost = "registry.example.com".parse().expect("the host is valid");
    let credential = Credential::new(username, "correct horse").expect("the credential is valid");
    PullSecret::new(&host, &credential)
}

fn example_workload() -> Workload {
    let port = 8080.try_into().expect("the port is not 0");
    let name = "http".parse().expect("the name is valid");
    Service::new(Endpoint::new(name, port, Protocol::Http).into()).into()
}

fn release_of(number: u64, workload: Workload, image: &ImageReference) -> Release {
    let digest = image.digest().expect("the image has a digest").to_owned();
    let image = ReleaseImage::unpinned(image.clone()).pinned(Pin::new(digest, Pinning::Claimed));
    Release::new(
        example_target("orders").component_key(),
        ReleaseNumber::new(number).expect("releases count from 1"),
        ReleaseDraft::new(workload, image),
        Timestamp::UNIX_EPOCH,
    )
}
