//! Sources of short-lived credentials, for a vendor's registry from outside of that vendor's cloud.

#[cfg(feature = "acr")]
mod acr;
#[cfg(any(feature = "acr", feature = "ecr", feature = "gar"))]
mod exchange;
#[cfg(feature = "gar")]
mod gar;
#[cfg(any(feature = "acr", feature = "ecr"))]
mod identity_token;
mod refreshing;

#[cfg(feature = "acr")]
pub use self::acr::{AcrSource, AzureIdentity};
#[cfg(feature = "gar")]
pub use self::gar::{GarSource, GoogleIdentity, ServiceAccountKey};
#[cfg(any(feature = "acr", feature = "ecr"))]
pub use self::identity_token::IdentityToken;
pub use self::refreshing::Refreshing;
