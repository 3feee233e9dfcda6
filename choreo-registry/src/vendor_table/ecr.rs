//! The hosts of Amazon ECR, which no pattern with stars describes.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html>

/// The hosts as tables show them; FIPS, dual-stack and the other partitions have further forms.
pub(super) const SHOWN: &str = "*.dkr.ecr.*.amazonaws.com";

/// Returns `true` for `<12 digits>.dkr.ecr[-fips].<region>.<suffix>`, and the dual-stack form
/// `.dkr-ecr`. `name` is in lower case.
pub(super) fn is_host(name: &str) -> bool {
    let Some((account, rest)) = name.split_once('.') else {
        return false;
    };
    let region = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."]
        .iter()
        .find_map(|service| rest.strip_prefix(service));
    let Some((region, suffix)) = region.and_then(|region| region.split_once('.')) else {
        return false;
    };
    account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !region.is_empty()
        && SUFFIXES.contains(&suffix)
}

const SUFFIXES: [&str; 9] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
    "on.amazonwebservices.com.cn",
    "on.aws",
    "sc2s.sgov.gov",
];
