use std::fmt;
use std::future::Future;
use std::pin::Pin as Pinned;
use std::time::Duration;

use choreo_registry::{Credential, ImageReference, PullSecret, RegistryHost};
use jiff::Timestamp;

use crate::backend::{DeploymentBackend, DeploymentBackendExt, Intent};
use crate::deployment::Generation;
use crate::release::{DigestPin, Pinning, Release, ReleaseDraft, ReleaseImage, ReleaseNumber};
use crate::rollout::{Rollout, RolloutPhase};
use crate::workload::{Endpoint, Protocol, Service, Workload};
use crate::{Target, backend};

/// A backend under test, with the parameters of the suite.
///
/// The defaults fit a backend in memory. A backend on a real data plane needs images that exist and a
/// longer time for rollouts.
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
    /// Creates a fixture for a backend that can pull every image and whose rollouts take at most 10 s.
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

    /// Sets a workload and two images, by digest, that become ready on this data plane.
    #[must_use]
    pub fn with_workload(self, workload: impl Into<Workload>, images: [ImageReference; 2]) -> Self {
        Self {
            workload: workload.into(),
            images,
            ..self
        }
    }

    /// Sets an image whose rollout fails. Without it, the clause about failures tests nothing.
    #[must_use]
    pub fn with_missing_image(self, image: ImageReference) -> Self {
        Self {
            missing: Some(image),
            ..self
        }
    }

    /// Sets a function that deletes the objects of a target without the backend. Without it, the clause
    /// about missing objects tests nothing.
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

    /// Sets a prefix for the names of all targets, for suites that share a data plane.
    #[must_use]
    pub fn with_target_prefix(self, prefix: impl Into<String>) -> Self {
        Self {
            targets: prefix.into(),
            ..self
        }
    }

    /// Sets the longest time for a rollout.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Returns the backend.
    #[must_use]
    pub fn backend(&self) -> &dyn DeploymentBackend {
        &*self.backend
    }

    pub(super) fn missing(&self) -> Option<Release> {
        let image = self.missing.as_ref()?;
        Some(release_of(9, self.workload.clone(), image))
    }

    /// Deletes the objects of a target. Returns `false` if the fixture cannot.
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

    /// Returns the first or the second release.
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

    /// Applies a release and waits until it settled.
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

    /// Waits until a generation is no longer in progress.
    pub(super) async fn settled(&self, target: &Target, generation: Generation) -> Rollout {
        let watch =
            self.backend
                .watch_until_settled(target, generation, Duration::from_millis(200));
        match tokio::time::timeout(self.patience, watch).await {
            Ok(rollout) => rollout.expect("the target can be observed"),
            Err(_) => panic!(
                "generation {generation} did not settle within {:?}",
                self.patience
            ),
        }
    }

    /// Asserts that the target is ready at a generation and runs its release.
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
            "the target has this generation: {rollout:?}"
        );
        assert_eq!(
            rollout.phase,
            RolloutPhase::Ready,
            "the target is ready: {:?}",
            rollout.reasons
        );
        if let (Some(running), Some(pin)) = (&rollout.running, &release.image.pin) {
            assert_eq!(*running, pin.digest, "the pinned image runs");
        }
    }
}

type Lose = dyn Fn(Target) -> Pinned<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// Deletes the objects of a target.
struct Loss(Box<Lose>);

impl fmt::Debug for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loss")
    }
}

/// Returns the generation of a number.
pub(super) fn generation(number: u64) -> Generation {
    Generation::new(0, number)
}

/// Asserts that a call was rejected because its generation is old.
#[track_caller]
pub(super) fn assert_stale<T: fmt::Debug>(result: Result<T, backend::BackendError>) {
    let error = result.expect_err("an older generation is rejected");
    assert_eq!(error.kind(), backend::BackendErrorKind::Stale, "{error}");
}

/// Returns a target of a component with a name, for tests and examples.
///
/// # Panics
///
/// Panics if the name is not a valid id.
#[must_use]
pub fn example_target(component: &str) -> Target {
    let id = "the name is a valid id";
    Target::new(
        "acme".parse().expect(id),
        "shop".parse().expect(id),
        component.parse().expect(id),
        "development".parse().expect(id),
    )
}

/// Returns a release of a Service with the [image](example_image) of a number, for tests and examples.
///
/// # Panics
///
/// Panics if the number is 0.
#[must_use]
pub fn example_release(number: u64) -> Release {
    release_of(number, example_workload(), &example_image(number))
}

/// Returns an image with an invented digest, which no registry has, for tests and examples.
#[must_use]
pub fn example_image(number: u64) -> ImageReference {
    let digest = format!("sha256:{number:064x}");
    format!("registry.example.com/shop/app@{digest}")
        .parse()
        .expect("the reference is valid")
}

/// Returns a pull secret for the registry of [`example_image`], for tests and examples.
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
    let image =
        ReleaseImage::unpinned(image.clone()).pinned(DigestPin::new(digest, Pinning::Claimed));
    Release::new(
        example_target("orders").component_key(),
        ReleaseNumber::new(number).expect("releases begin at 1"),
        ReleaseDraft::new(workload, image),
        Timestamp::UNIX_EPOCH,
    )
}
