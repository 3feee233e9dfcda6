//! The public clouds to which registries and data planes belong.

use std::fmt;
use std::str::FromStr;

use crate::quote::Quoted;
use crate::string_value::string_value;

/// A public cloud.
///
/// ```
/// use choreo_registry::vendor_table::Cloud;
///
/// assert_eq!(Cloud::Aws.as_str(), "aws");
/// assert_eq!("azure".parse(), Ok(Cloud::Azure));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Cloud {
    /// Alibaba Cloud.
    Alibaba,
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// DigitalOcean.
    DigitalOcean,
    /// Google Cloud.
    Gcp,
    /// IBM Cloud.
    Ibm,
    /// Oracle Cloud Infrastructure.
    Oracle,
    /// Scaleway.
    Scaleway,
}

impl Cloud {
    /// All clouds, sorted by name.
    pub const ALL: &[Self] = &[
        Self::Alibaba,
        Self::Aws,
        Self::Azure,
        Self::DigitalOcean,
        Self::Gcp,
        Self::Ibm,
        Self::Oracle,
        Self::Scaleway,
    ];

    /// Returns the name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Alibaba => "alibaba",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::DigitalOcean => "digitalocean",
            Self::Gcp => "gcp",
            Self::Ibm => "ibm",
            Self::Oracle => "oracle",
            Self::Scaleway => "scaleway",
        }
    }
}

impl FromStr for Cloud {
    type Err = ParseCloudError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|cloud| cloud.as_str() == input)
            .ok_or_else(|| ParseCloudError {
                input: input.to_owned(),
            })
    }
}

string_value!(
    Cloud,
    ParseCloudError,
    "a cloud, such as \"aws\", \"azure\" or \"gcp\""
);

/// The error returned if a string is not the name of a [`Cloud`].
///
/// ```
/// use choreo_registry::vendor_table::Cloud;
///
/// assert_eq!(
///     "gcloud".parse::<Cloud>().unwrap_err().to_string(),
///     "unknown cloud \"gcloud\": write alibaba, aws, azure, digitalocean, gcp, ibm, oracle or \
///      scaleway",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseCloudError {
    input: String,
}

impl fmt::Display for ParseCloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown cloud {}: write alibaba, aws, azure, digitalocean, gcp, ibm, oracle or \
             scaleway",
            Quoted::new(&self.input)
        )
    }
}

impl std::error::Error for ParseCloudError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clouds_are_in_order_and_parse() {
        assert!(Cloud::ALL.is_sorted());
        for cloud in Cloud::ALL {
            assert_eq!(cloud.as_str().parse(), Ok(*cloud));
            assert_eq!(cloud.as_str(), format!("{cloud:?}").to_ascii_lowercase());
        }
    }
}
