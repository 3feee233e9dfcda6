//! The Kubernetes backend of choreo-deploy: renders targets as Kubernetes objects, applies the
//! objects, and reports their state as rollouts with reasons.
//!
//! ```
//! use choreo_deploy::backend::Intent;
//! use choreo_deploy::conformance::{example_release, example_target};
//! use choreo_deploy_kubernetes::{Policy, render};
//!
//! let (target, release) = (example_target("orders"), example_release(1));
//! for object in render(&Intent::new(&target, Default::default(), &release), &Policy::default())? {
//!     println!("---\n{}", object.to_yaml());
//! }
//! # Ok::<(), choreo_deploy::backend::BackendError>(())
//! ```
//!
//! # Structure
//!
//! - **Rendering is pure.** [`render`] converts an intent into objects without a cluster. A release
//!   keeps its render version, so upgrading this crate does not restart pods.
//! - **Status is pure.** The objects that were read for a target become a
//!   [`Rollout`](choreo_deploy::rollout::Rollout). The rules distinguish a wrong credential from a
//!   missing image, and a slow start from a crash.
//! - **I/O is in one place.** [`KubernetesBackend`] reads objects, and applies them by server-side
//!   apply with one field manager (`choreo`). It takes your [`kube::Client`].
//! - **[`Policy`] belongs to the operator**: namespaces, security profile, labels, and a patch of the
//!   rendered objects.
//!
//! # A paused worker cannot undo a newer deployment
//!
//! Each target has an anchor: a ConfigMap that records its generation, also after the target is
//! removed. Three rules make stale writes fail:
//!
//! 1. A worker claims the anchor before it changes an object.
//! 2. Every write is conditional on the version that the worker has read.
//! 3. A new object is created inert. It takes effect only after the worker has read the anchor again.
//!
//! So a worker that was paused at any point gets a conflict or reads the newer generation, and stops.
//! A generation that changes nothing claims the anchor and leaves the objects unchanged. That is safe,
//! because an older worker could only write the same state.
//!
//! # Required permissions
//!
//! The backend needs exactly this role (`rbac.yaml` in this crate). A test on a
//! real cluster runs every operation of the backend with exactly this role. It fails if a permission
//! is missing or unused.
//!
//! ```yaml
#![doc = include_str!("../rbac.yaml")]
//! ```
//!
//! # Features
//!
//! - `k8s-latest` (off by default): selects the newest Kubernetes version that `k8s-openapi` supports.
//!   A program must select exactly one version, with this feature or with its own dependency on
//!   `k8s-openapi`. A library must not select one. No type of `k8s-openapi` appears in the API of this
//!   crate.
//!
//! # What this crate does not do
//!
//! - It does not create Gateway or Ingress routes, network policies, ExternalSecret objects or
//!   persistent volumes.
//! - It does not watch objects: it reads the state of a rollout repeatedly.
//! - It never deletes a namespace.
//! - It loses track of a run once its Job is deleted; see
//!   [`Timing::keep_runs_seconds`](policy::Timing::keep_runs_seconds).

mod anchor;
mod apply;
mod backend;
mod cluster;
mod credential;
mod dated;
mod error;
mod events;
mod held_back;
mod kind;
mod labels;
mod log;
mod manifest;
mod name;
pub mod policy;
mod pull_failure;
mod removal;
mod secret_data;
mod sent;
mod settle;
mod shape;
mod stamp;
mod status;
mod take_back;
mod task;
mod timestamp;
mod trial;
mod unchanged;

pub use self::backend::KubernetesBackend;
pub use self::credential::credential_failure;
pub use self::manifest::{Object, render, render_run};
pub use self::policy::Policy;
