//! Deploys container images to private data planes: the model, the orchestration, and the traits for
//! backends and stores.
//!
//! Users of a platform bring images from their own registries. This crate takes such an image from a
//! request to a ready workload: it stores the request durably, resolves the image to a digest,
//! creates an immutable release, applies the release to a data plane, follows the rollout, and
//! reports why a rollout failed. It also promotes releases from one environment to the next, rolls
//! back, and runs tasks. Data planes and databases are traits, so you can bring your own.
//!
//! ```
//! use choreo_deploy::backend::Intent;
//! use choreo_deploy::conformance::{example_release, example_target};
//! use choreo_deploy::deployment::Generation;
//! use choreo_deploy::rollout::RolloutPhase;
//! use choreo_deploy::{DeploymentBackend, InMemoryBackend};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), choreo_deploy::backend::BackendError> {
//! let backend = InMemoryBackend::new();
//! let (target, release) = (example_target("orders"), example_release(1));
//!
//! let intent = Intent::new(&target, Generation::new(0, 2), &release);
//! backend.apply(&intent).await?;
//! assert_eq!(backend.observe(&target).await?.phase, RolloutPhase::Ready);
//!
//! // A worker that was paused cannot undo a newer deployment.
//! let older = Intent::new(&target, Generation::new(0, 1), &release);
//! assert!(backend.apply(&older).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! For the whole path from a request to a ready deployment, see the example of [`Deployer`].
//!
//! # Concepts
//!
//! - [`Workload`]: the developer's description of a component, of one of [four types](workload):
//!   Service, Web Application, Scheduled Task or Manual Task. [`Settings`](settings::Settings) contain
//!   the differences between environments.
//! - [`Target`]: a component in an environment; the unit of orchestration.
//! - [`Release`](release::Release): a workload and an image that is pinned to a digest. A release is
//!   immutable and contains no secrets. Promotions and rollbacks deploy releases.
//! - [`Deployment`](deployment::Deployment): the platform's record of one attempt. Its
//!   [`Generation`](deployment::Generation) orders the attempts of a target. This documentation
//!   always writes "Kubernetes Deployment" for the Kubernetes object.
//! - [`Rollout`](rollout::Rollout): the state of a target as its data plane reports it, with
//!   [reasons](reason::Reason) that a developer can act on.
//! - [`Run`](run::Run): one execution of a task.
//!
//! # From registration to rollback
//!
//! | step | call |
//! |---|---|
//! | seal a credential | [`Sealer::seal`](sealer::Sealer::seal) with a [`SealingContext`](sealer::SealingContext) |
//! | register the registry | [`RegistryStore::put_registry`](store::RegistryStore::put_registry) |
//! | deploy an image | [`Intake::accept`] with a [`Submission`](intake::Submission) |
//! | follow the deployment | [`Intake::wait`], until its [`phase`](deployment::Deployment::phase) is final |
//! | promote what is ready | [`Deployer::promote`] |
//! | roll back and hold the target | [`Deployer::rollback`] |
//! | allow CI to deploy again | [`Deployer::release_hold`] |
//! | run a task | [`Deployer::run_task`] |
//! | do the work | [`Deployer::run`], in at least one process |
//!
//! `put_registry` needs `use choreo_deploy::store::RegistryStore`, and the methods of [`Intake`] need
//! `use choreo_deploy::Intake`; the others are inherent. A hold rejects deployments by CI and push
//! events, but not manual deployments and promotions.
//!
//! # Traits to implement
//!
//! In reading order:
//!
//! | trait | implemented by | provided |
//! |---|---|---|
//! | [`DeploymentBackend`] | a data plane | [`InMemoryBackend`]; `choreo-deploy-kubernetes` |
//! | [`Store`](store::Store) and the traits that it combines | a database | [`InMemoryStore`](store::InMemoryStore); `choreo-deploy-sqlite` |
//! | [`Catalog`](catalog::Catalog) | your inventory of components | [`StaticCatalog`](catalog::StaticCatalog) |
//! | [`ImageResolver`](resolver::ImageResolver) | a registry client | `ClientResolver` (feature `client`) |
//! | [`Intake`] | a control plane, for webhooks | [`Deployer`] |
//!
//! The [`conformance`] suites test your own backend or store, with one test for each sentence of its
//! contract.
//!
//! # Features
//!
//! - `client` (off by default): `ClientResolver` in [`resolver`], which reads registries with
//!   choreo-registry-client. It is off so that a backend or a store does not build an HTTP client. It
//!   does not enable a transport: the features `reqwest` and `tls` of choreo-registry-client do.
//!
//! # What this crate does not do
//!
//! - It does not pull images. It reads manifests and configurations; only data planes pull layers.
//! - It does not watch registries for new tags.
//! - It does not read a registry whose credential it does not have (vendor authentication, an existing
//!   Secret, External Secrets). It deploys such an image by the digest in the request, or otherwise by
//!   tag until the data plane reports the digest.
//! - It does not repair drift on a data plane once a deployment is ready, and it does not push a
//!   rotated credential to ready targets. The next deployment of the target does both.
//! - It does not store your inventory. It reads components and environments from the
//!   [`Catalog`](catalog::Catalog).
//!
//! The minimum supported Rust version is 1.89. Before 1.0, any minor release may contain breaking
//! changes; [`store`] and [`conformance`] may change incompatibly in any release.

pub mod backend;
pub mod catalog;
pub mod clock;
pub mod code;
pub mod conformance;
pub mod deployer;
pub mod deployment;
pub mod document;
pub mod finding;
pub mod id;
pub mod intake;
pub mod memory;
pub mod reason;
pub mod release;
pub mod resolver;
pub mod rollout;
pub mod run;
pub mod sealer;
pub mod settings;
pub mod store;
pub mod target;
pub mod token;
pub mod workload;

pub use self::backend::{DeploymentBackend, DeploymentBackendExt};
pub use self::deployer::Deployer;
pub use self::intake::Intake;
pub use self::memory::InMemoryBackend;
pub use self::target::Target;
pub use self::workload::Workload;
