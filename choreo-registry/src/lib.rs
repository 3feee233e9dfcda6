//! Container registries, credentials, image references and pull secrets, exact and safe.

pub mod authentication;
pub mod credential;
pub mod digest;
pub mod docker_config;
pub mod finding;
pub mod host;
pub mod image;
pub mod pull_secret;
pub mod reference;
pub mod registry;
pub mod vendor;

mod quote;
mod secret_json;
mod string_value;

pub use authentication::Authentication;
pub use credential::Credential;
pub use digest::Digest;
pub use finding::Finding;
pub use host::RegistryHost;
pub use pull_secret::PullSecret;
pub use reference::ImageReference;
pub use registry::ContainerRegistry;
