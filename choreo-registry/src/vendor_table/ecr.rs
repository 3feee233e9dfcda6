//! The hosts of Amazon ECR, which no pattern with stars describes.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html>

use crate::RegistryHost;

/// The hosts as tables show them; FIPS, dual-stack and the other partitions have further forms.
pub(super) const SHOWN: &str = "*.dkr.ecr.*.amazonaws.com";

/// The parts of a host of Amazon ECR: `<account>.dkr.ecr[-fips].<region>.<domain>`, or the dual-stack
/// form `.dkr-ecr`.
///
/// ```
/// use choreo_registry::RegistryHost;
/// use choreo_registry::vendor_table::EcrHost;
///
/// let host: RegistryHost = "123456789012.dkr.ecr.eu-west-1.amazonaws.com".parse()?;
/// let ecr = EcrHost::of(&host).unwrap();
/// assert_eq!((ecr.account(), ecr.region()), ("123456789012", "eu-west-1"));
/// assert_eq!(ecr.api_host(), "api.ecr.eu-west-1.amazonaws.com");
///
/// assert!(EcrHost::of(&"public.ecr.aws".parse()?).is_none());
/// # Ok::<(), choreo_registry::host::ParseHostError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EcrHost<'h> {
    account: &'h str,
    region: &'h str,
    is_fips: bool,
    api_domain: &'static str,
}

impl<'h> EcrHost<'h> {
    /// Returns the parts; `None` if the host is not one of a private registry of Amazon ECR.
    #[must_use]
    pub fn of(host: &'h RegistryHost) -> Option<Self> {
        match host.port() {
            None => Self::of_name(host.name()),
            Some(_) => None,
        }
    }

    /// Returns the parts of a name in lower case.
    pub(super) fn of_name(name: &'h str) -> Option<Self> {
        let (account, rest) = name.split_once('.')?;
        let (rest, is_fips) = SERVICES
            .iter()
            .find_map(|&(service, is_fips)| Some((rest.strip_prefix(service)?, is_fips)))?;
        let (region, domain) = rest.split_once('.')?;
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let (_, api_domain) = DOMAINS.iter().find(|(ours, _)| *ours == domain)?;
        (is_account && !region.is_empty()).then_some(Self {
            account,
            region,
            is_fips,
            api_domain,
        })
    }

    /// Returns the number of the account that owns the registry, 12 digits.
    #[must_use]
    pub fn account(&self) -> &'h str {
        self.account
    }

    /// Returns the region as it is written in the host. It is not checked against Amazon's list.
    #[must_use]
    pub fn region(&self) -> &'h str {
        self.region
    }

    /// Returns the host of the API of ECR in this region, which issues tokens for the registry.
    #[must_use]
    pub fn api_host(&self) -> String {
        let service = match (self.is_fips, self.api_domain) {
            (true, "amazonaws.com") => "ecr-fips",
            (true, _) => "api.ecr-fips",
            (false, _) => "api.ecr",
        };
        format!("{service}.{}.{}", self.region, self.api_domain)
    }
}

/// The text after the account, and whether it names a FIPS endpoint.
const SERVICES: [(&str, bool); 4] = [
    ("dkr.ecr.", false),
    ("dkr.ecr-fips.", true),
    ("dkr-ecr.", false),
    ("dkr-ecr-fips.", true),
];

/// The domains of registries, with those of the API.
const DOMAINS: [(&str, &str); 9] = [
    ("amazonaws.com", "amazonaws.com"),
    ("amazonaws.com.cn", "amazonaws.com.cn"),
    ("amazonaws.eu", "amazonaws.eu"),
    ("c2s.ic.gov", "c2s.ic.gov"),
    ("cloud.adc-e.uk", "cloud.adc-e.uk"),
    ("csp.hci.ic.gov", "csp.hci.ic.gov"),
    ("on.amazonwebservices.com.cn", "amazonaws.com.cn"),
    ("on.aws", "amazonaws.com"),
    ("sc2s.sgov.gov", "sc2s.sgov.gov"),
];
