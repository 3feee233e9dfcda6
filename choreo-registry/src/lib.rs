//! Container registries, credentials, image references and pull secrets, exact and safe.

pub mod digest;
pub mod reference;

mod quote;
mod string_value;

pub use digest::Digest;
pub use reference::ImageReference;
