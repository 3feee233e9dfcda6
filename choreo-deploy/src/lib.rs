//! Deploy container images to private data planes: model, orchestration, backend and store traits.
//!
//! A platform's users bring images from registries of their own. This crate takes such an image from
//! a request to a workload that is ready: it stores the request durably, finds out which digest the
//! image stands for, makes an immutable release, applies it to a data plane, follows the rollout,
//! and says why when it fails. It promotes releases from one environment to the next, rolls back,
//! and runs tasks. Data planes and databases are traits, so that you can bring yours.
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
//! // A worker that was paused cannot undo what came after.
//! let older = Intent::new(&target, Generation::new(0, 1), &release);
//! assert!(backend.apply(&older).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! [`Deployer`] has an example of the whole way.
//!
//! # Concepts
//!
//! - [`Workload`]: what a developer wrote, of one of [four types](workload): Service, Web
//!   Application, Scheduled Task, Manual Task. [`Settings`](settings::Settings) are what differs
//!   between environments.
//! - [`Target`]: one component in one environment, the unit of orchestration.
//! - [`Release`](release::Release): a workload and an image, immutable, without secrets, pinned to a
//!   digest. Promotions and rollbacks deploy releases.
//! - [`Deployment`](deployment::Deployment): the platform's record of one attempt, with a
//!   [`Generation`](deployment::Generation) that orders the attempts of a target. Kubernetes' object
//!   of that name is always "a Kubernetes Deployment".
//! - [`Rollout`](rollout::Rollout): what a data plane says of a target, with
//!   [reasons](reason::Reason) that a developer can act on.
//! - [`Run`](run::Run): one execution of a task.
//!
//! # The seams, in reading order
//!
//! | seam | who implements it | what there is |
//! |---|---|---|
//! | [`DeploymentBackend`] | a data plane | [`InMemoryBackend`]; `choreo-deploy-kubernetes` |
//! | [`store`] | a database | [`InMemoryStore`](store::InMemoryStore); `choreo-deploy-sqlite` |
//! | [`Catalog`](catalog::Catalog) | your inventory of components | [`StaticCatalog`](catalog::StaticCatalog) |
//! | [`ImageResolver`](resolver::ImageResolver) | a way to read registries | `ClientResolver` (feature `client`) |
//! | [`Intake`] | a control plane, for webhooks | [`Deployer`] |
//!
//! The [`conformance`] suites test a backend or a store of your own: one test for each sentence of
//! the contract.
//!
//! # Features
//!
//! - `client` (off): [`resolver`]'s `ClientResolver`, which reads registries over the client of
//!   choreo-registry. Off, so that a backend or a store does not build an HTTP client. It brings no
//!   transport: choreo-registry's features `reqwest` and `tls` do.
//!
//! # What this crate does not do
//!
//! - Pull images. It reads manifests at most; layers are the data plane's business.
//! - Watch registries for new tags by itself.
//! - Apply again what has drifted on a data plane after a deployment is ready, or push a rotated
//!   credential to targets that are ready; the next deployment does both.
//! - Own your inventory: components and environments are asked of the [`Catalog`](catalog::Catalog).
//!
//! The minimum supported Rust version is 1.89. Before 1.0 any minor release may break; [`store`]
//! and [`conformance`] may in any release.

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
