//! Generators of every value, for property tests with [`proptest`].
//!
//! There is one function for each value, and [`Arbitrary`](proptest::arbitrary::Arbitrary) for the
//! types themselves, so that both forms below work. Values are valid by construction: no value is
//! rejected and generated again, and shrunk values remain valid.
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
//! - **Spellings.** Functions named `…_text` generate what people type or paste: valid, but not yet
//!   in the canonical form. Those named `…_spelling` also return the value that is meant.
//! - **Mistakes.** Functions named `broken_…` generate input that must be rejected.
//! - **Secrets.** Every generated secret contains [`CANARY`], and [`exposes_secret`] searches logs,
//!   errors and documents for it. Generated secrets do not give access to anything.
//! - **Hosts.** Names without a vendor end in `.example`, `.test` or `.invalid`, and addresses are
//!   from the ranges for documentation, private networks and loopback, so that no test contacts a
//!   foreign server. Vendors' hosts are the real ones; generating them contacts no one.
//!
//! # What it does not do
//!
//! It does not guarantee a distribution: a later version may change weights and add shapes, and
//! that is not a breaking change. It does not generate values of the client: use a test registry
//! for responses.

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
