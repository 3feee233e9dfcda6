//! The Kubernetes backend of `choreo-deploy`: targets become Kubernetes objects, and what Kubernetes
//! says of them becomes rollouts with reasons.
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
//! # How it is built
//!
//! - **Rendering is pure**: [`render`] makes objects of an intent, without a cluster. A release keeps
//!   its render version, so an upgrade of this crate restarts nobody's pods.
//! - **Judging is pure**: what was read of a target becomes a
//!   [`Rollout`](choreo_deploy::rollout::Rollout), by rules that tell a wrong credential from a
//!   missing image, and a slow start from a crash.
//! - [`KubernetesBackend`] does what is between: it applies by server-side apply with one field
//!   manager (`choreo`), and reads. It takes your [`kube::Client`].
//! - [`Policy`] is the operator's: namespaces, security profile, labels, a patch over the objects.
//!
//! # A paused worker cannot undo a newer deployment
//!
//! Each target has an anchor, a ConfigMap that remembers its generation, also after a removal. A
//! worker claims the anchor before it touches an object; each write is conditional on what was read;
//! and what is not there yet is reserved as an object without effect, which becomes real only after
//! another look at the anchor. Whoever was paused at any point in between finds a conflict or the
//! newer generation, and stops. A generation that changes nothing claims the anchor and leaves the
//! objects alone: all that an older worker could write is what is there.
//!
//! # What the backend must be allowed to do
//!
//! This, which is `rbac.yaml` of this crate, and nothing else. A test on a real cluster does all that the
//! backend does with exactly this role, and fails when a right is missing or is not used.
//!
//! ```yaml
#![doc = include_str!("../rbac.yaml")]
//! ```
//!
//! # Features
//!
//! `k8s-latest` picks the newest Kubernetes version that `k8s-openapi` knows. A program must pick one
//! version, here or by a dependency on `k8s-openapi` of its own; a library must not. None of its types
//! appear in this crate's interface.
//!
//! # What it does not do
//!
//! No Gateway or Ingress routes, network policies, External Secrets or persistent volumes; no watches:
//! a rollout is looked at again and again. It never deletes a namespace. A run is unknown once its Job
//! was cleaned up, see [`Timing::keep_runs_seconds`](policy::Timing::keep_runs_seconds).

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
mod sent;
mod stamp;
mod status;
mod take_back;
mod task;
mod trial;
mod unchanged;

pub use self::backend::KubernetesBackend;
pub use self::credential::credential_failure;
pub use self::manifest::{Object, render, render_run};
pub use self::policy::Policy;
