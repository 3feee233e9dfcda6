//! Container registries, credentials, image references and pull secrets, exact and safe.
//!
//! For platforms on which people bring their own container registry: check what they enter,
//! explain what is wrong with it, and hand it to Kubernetes in the one form that works.
//!
//! ```
//! use choreo_registry::pull_secret::SecretMetadata;
//! use choreo_registry::{Authentication, ContainerRegistry, ImageReference, PullSecret};
//!
//! // What the user entered: cleaned, or refused with a sentence that says what to do.
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
//! - [`ImageReference`] is the name of an image, with the grammar and the normalisation that
//!   Docker, containerd and kubelets share; [`Digest`] is the name that its bytes give
//!   themselves.
//! - [`RegistryHost`] is one spelling for each registry, Docker Hub's five names among them.
//! - [`Authentication`] is what the user chose and entered; [`Credential`] is what can be used
//!   now.
//! - [`ContainerRegistry`] is a display name, a host and an authentication that can work
//!   together. [`Finding`]s say what is doubtful about it.
//! - [`PullSecret`] is the Kubernetes Secret made of it.
//!
//! # Choosing an authentication type
//!
//! | type | when | the user gives | pods get |
//! |---|---|---|---|
//! | [`Public`](Authentication::Public) | everybody may pull | nothing | nothing |
//! | [`Basic`](Authentication::Basic) | there is a user name, password, token or key | both | a pull secret |
//! | [`DockerConfig`](Authentication::DockerConfig) | `docker login` has been done | `config.json` | a pull secret |
//! | [`Vendor`](Authentication::Vendor) | ACR, GAR, gcr.io or ECR, and the nodes have access | nothing | nothing |
//!
//! Passwords of Amazon ECR and access tokens of Google and Azure hold for hours: a registry with
//! one gets a [finding](finding::Code::ShortLivedPassword), for a pull secret made of it ceases
//! to work.
//!
//! # Recipes
//!
//! - Read what the user pasted: [`RegistryHost`], [`docker_config::DockerConfig`],
//!   [`ImageReference`] through `FromStr`. Every error says what to do and holds no secret.
//! - Offer the choices of a form: [`authentication::AuthenticationType::ALL`],
//!   [`vendor::VendorTable`].
//! - Show doubts: [`ContainerRegistry::findings`].
//! - Which credential will the node use? [`Keyring::lookup`](keyring::Keyring::lookup) answers for
//!   kubelets, [`explain`](keyring::Keyring::explain) also for Docker, Podman and oras, and why.
//! - Pin an image: [`ImageReference::with_digest`].
//! - Put an image into a pod: [`ContainerRegistry::canonical_image`], then
//!   [`PullSecret::expose_manifest`].
//! - Ask the registry (feature `client`): `client::RegistryClient::for_registry` makes a client of a
//!   registered registry; `verify` tells in plain words whether its login works and may pull an
//!   image, `resolve` which digest a tag has now.
//! - Ask a vendor registry, which has no credential: `credential_source` gets one from the vendor for
//!   an hour or more; without one, answer `client::Access::not_checkable`.
//! - Store a registry: its display name, [`RegistryHost`] and
//!   [`authentication::AuthenticationType`] serialise; the secret does not. Seal it apart: user name
//!   and [`Credential::expose_password`] for [`Basic`](Authentication::Basic); for
//!   [`DockerConfig`](Authentication::DockerConfig)
//!   [`PullSecret::expose_docker_config_json`], which parses to the same again.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `client` | yes | the registry client, on a transport of yours |
//! | `reqwest` | yes | the transport on reqwest, behind the guarded egress |
//! | `tls` | yes | TLS for that transport: rustls with aws-lc-rs |
//! | `acr` | no | short-lived credentials of Azure Container Registry |
//! | `ecr` | no | short-lived credentials of Amazon ECR and ECR Public |
//! | `gar` | no | short-lived credentials of Google's Artifact Registry |
//! | `proptest` | no | `strategies`: generators of every value, for property tests |
//!
//! Without features the crate is values only: no I/O, no async, no HTTP.
//!
//! # What this crate does not do
//!
//! It does not run containers, pull layers, build or push images. It runs no credential helper
//! and reads no file or environment variable. It does not keep secrets: sealing and storing them
//! is the control plane's part.
//!
//! Secrets are types here: no `Serialize`, no `PartialEq`, no `Clone`, nothing in `Debug`; they
//! leave through methods that say `expose`, and their memory is overwritten.

pub mod authentication;
#[cfg(feature = "client")]
pub mod client;
pub mod credential;
#[cfg(feature = "client")]
pub mod credential_source;
pub mod digest;
pub mod docker_config;
pub mod finding;
pub mod host;
pub mod image;
pub mod keyring;
pub mod pull_secret;
pub mod reference;
pub mod registry;
#[cfg(any(test, feature = "proptest"))]
pub mod strategies;
pub mod vendor;

mod quote;
mod scan;
mod secret_base64;
mod secret_json;
mod string_value;
#[cfg(test)]
mod texts;
mod wiped;

pub use authentication::Authentication;
pub use credential::Credential;
pub use digest::Digest;
pub use finding::Finding;
pub use host::RegistryHost;
pub use pull_secret::PullSecret;
pub use reference::ImageReference;
pub use registry::ContainerRegistry;
