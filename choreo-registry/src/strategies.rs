//! Generators of every value, for property tests with [`proptest`].
//!
//! One function for each value, and [`Arbitrary`](proptest::arbitrary::Arbitrary) for the types
//! themselves, so that both forms below work. What is generated is right by construction: nothing
//! is thrown away, and what shrinks stays right.
//!
//! ```
//! use choreo_registry::strategies::{image_reference, registry_host};
//! use choreo_registry::{ContainerRegistry, ImageReference};
//! use proptest::prelude::*;
//!
//! proptest! {
//!     # #![proptest_config(ProptestConfig::with_cases(16))]
//!     # /*
//!     #[test]
//!     # */
//!     fn a_platform_reads_back_what_it_stored(image in image_reference(), host in registry_host()) {
//!         prop_assert_eq!(image.as_str().parse::<ImageReference>()?, image);
//!         prop_assert_eq!(host.to_string().parse(), Ok(host));
//!     }
//!
//!     # /*
//!     #[test]
//!     # */
//!     fn no_password_is_shown(registry: ContainerRegistry) {
//!         let shown = format!("{registry:?} {:?}", registry.findings());
//!         prop_assert!(!choreo_registry::strategies::exposes_secret(&shown));
//!     }
//! }
//! # a_platform_reads_back_what_it_stored();
//! # no_password_is_shown();
//! ```
//!
//! - **Spellings.** Functions named `…_text` make what people type or paste: valid, and not yet
//!   in the form that the value has. Those named `…_spelling` also give the value that is meant.
//! - **Mistakes.** Functions named `broken_…` make what has to be refused.
//! - **Secrets.** Every generated secret holds [`CANARY`], and [`exposes_secret`] looks for it in
//!   logs, errors and documents. No generated secret opens anything.
//! - **Hosts.** Names without a vendor end in `.example`, `.test` or `.invalid`, and addresses are
//!   from the ranges for documentation, private networks and loopback, so that no test speaks to a
//!   stranger. Vendors' hosts are their real ones; generating them contacts nobody.
//!
//! # What it does not do
//!
//! It promises no distribution: a later version may weigh shapes anew and add some, and that is
//! no breaking change. It makes nothing of the client: responses are for a test registry to give.

mod arbitrary;
mod canary;
mod credential;
mod docker_config;
mod host;
mod image;
mod pull_secret;
mod reference;
mod registry;
#[cfg(test)]
mod tests;
mod text;

pub use self::canary::{CANARY, exposes_secret};
pub use self::credential::{credential, password, username, vendor_credential};
pub use self::docker_config::{
    broken_docker_config, docker_config, docker_config_spelling, docker_config_text,
};
pub use self::host::{
    auths_key, dns_host, docker_hub_text, ipv4_host, ipv6_host, registry_host,
    registry_host_spelling, registry_host_text,
};
pub use self::image::{exposed_port, media_type, platform, resolved_image};
pub use self::pull_secret::secret_metadata;
pub use self::reference::{
    broken_image_reference, digest, image_reference, image_reference_of, image_reference_spelling,
    image_reference_text, repository, tag,
};
pub use self::registry::{
    authentication, authentication_type, container_registry, finding, finding_code, vendor,
};
