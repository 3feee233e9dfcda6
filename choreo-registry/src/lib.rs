//! Container registries, credentials, image references and pull secrets.
//!
//! For platforms on which people bring their own container registry: validate what they enter,
//! explain what is wrong with it, and pass it to Kubernetes in the form that the kubelet accepts.
//!
//! ```
//! use choreo_registry::pull_secret::SecretMetadata;
//! use choreo_registry::{Authentication, ContainerRegistry, ImageReference, PullSecret};
//!
//! // The user's input: normalized, or rejected with an error that says how to fix it.
//! let registry = ContainerRegistry::new(
//!     "Team images",
//!     "https://registry.example.com/".parse()?,
//!     Authentication::basic("alice", "hunter2")?,
//! )?;
//!
//! // Is this image one of that registry?
//! let image: ImageReference = "registry.example.com/acme/app:1.0".parse()?;
//! assert!(registry.serves(&image));
//!
//! // What its pods need, and what may be shown of it.
//! let secret = PullSecret::for_registry(&registry)?;
//! let metadata = SecretMetadata::new("team-images")?.with_namespace("apps")?;
//! let shown = secret.redacted_manifest(&metadata).to_string();
//! assert!(shown.contains("alice") && !shown.contains("hunter2"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Concepts
//!
//! - [`ImageReference`] is the name of an image, with the grammar and the normalization that
//!   Docker, containerd and kubelets share; [`Digest`] is a name computed from its content.
//! - [`RegistryHost`] is the canonical spelling of a registry's host. Docker Hub's five host
//!   names are treated as one.
//! - [`Authentication`] is what the user chose and entered; [`Credential`] is a user name and
//!   password that are ready to use.
//! - [`ContainerRegistry`] combines a display name, a host and an authentication, checked against
//!   each other. [`Finding`]s report what is suspicious about it.
//! - [`PullSecret`] is the Kubernetes Secret made from it.
//!
//! # Choosing an authentication type
//!
//! | type | when | the user gives | pods get |
//! |---|---|---|---|
//! | [`Public`](Authentication::Public) | anonymous pulls are allowed | nothing | nothing |
//! | [`Basic`](Authentication::Basic) | the registry issues a user name with a password, token or key | user name and secret | a pull secret |
//! | [`DockerConfig`](Authentication::DockerConfig) | `docker login` has been done | `config.json` | a pull secret |
//! | [`Vendor`](Authentication::Vendor) | ACR, GAR, gcr.io or ECR, and the nodes have access | nothing | nothing |
//!
//! ECR passwords and Google and Azure access tokens expire within hours. A registry that uses one
//! gets a [finding](finding::Code::ShortLivedPassword), because its pull secret will stop working.
//!
//! # Recipes
//!
//! - Parse what the user pasted: [`RegistryHost`], [`docker_config::DockerConfig`],
//!   [`ImageReference`] through `FromStr`. Every error says what to do and never contains a secret.
//! - Offer the choices of a form: [`authentication::AuthenticationType::ALL`],
//!   [`vendor_table::VendorTable`].
//! - Show what is suspicious: [`ContainerRegistry::findings`].
//! - Find the credential that the node will use: [`Keyring::lookup`](keyring::Keyring::lookup)
//!   returns it for kubelets, [`explain`](keyring::Keyring::explain) also for Docker, Podman and
//!   oras, with the reason.
//! - Pin an image: [`ImageReference::with_digest`].
//! - Put an image into a pod: [`ContainerRegistry::canonical_image`], then
//!   [`PullSecret::expose_manifest`].
//! - Contact the registry: the crate `choreo-registry-client` reports whether a login works and may
//!   pull an image, and returns the digest of a tag. Its `credential_source` gets short-lived
//!   credentials for vendor registries.
//! - Store a registry: its display name, [`RegistryHost`] and
//!   [`authentication::AuthenticationType`] serialize; the secret does not. Seal the secret
//!   separately: user name and [`Credential::expose_password`] for
//!   [`Basic`](Authentication::Basic); [`PullSecret::expose_docker_config_json`], which parses to
//!   the same credential, for [`DockerConfig`](Authentication::DockerConfig).
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `proptest` | no | `strategies`: generators of every value, for property tests |
//!
//! The crate contains values only: no I/O, no async, no HTTP. `choreo-registry-client` contacts
//! registries.
//!
//! # What this crate does not do
//!
//! It does not run containers, pull layers, build or push images. It does not run credential
//! helpers or read files and environment variables. It does not keep secrets: sealing and storing
//! them is the control plane's responsibility.
//!
//! Secrets have their own types: no `Serialize`, no `PartialEq`, no `Clone`, nothing in `Debug`.
//! Only methods named `expose…` return them, and their memory is overwritten on drop.

pub mod authentication;
pub mod credential;
pub mod digest;
pub mod docker_config;
pub mod finding;
pub mod host;
pub mod image;
pub mod keyring;
pub mod pull_secret;
pub mod quote;
pub mod reference;
pub mod registry;
#[doc(hidden)]
pub mod secret_fields;
#[cfg(any(test, feature = "proptest"))]
pub mod strategies;
pub mod vendor_table;

mod authentication_type;
mod scan;
mod secret_base64;
mod secret_json;
mod string_value;
#[cfg(test)]
mod test_macros;
mod wiped;

pub use authentication::Authentication;
pub use credential::Credential;
pub use digest::Digest;
pub use finding::Finding;
pub use host::RegistryHost;
pub use pull_secret::PullSecret;
pub use reference::ImageReference;
pub use registry::ContainerRegistry;
