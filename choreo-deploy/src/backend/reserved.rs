//! Names of Secrets that are reserved for backends.

use crate::settings::Settings;
use crate::workload::{KeyReference, Value, Workload};

/// Returns `true` if a Secret of this name may be the pull secret of a target: `NAME-HASH-pull`, with
/// twelve hexadecimal digits for `HASH`.
///
/// Targets of one namespace can read each other's Secrets by name, and the name of a pull secret is
/// derived from public ids. So no workload, setting or registry may name one, not even the target's
/// own: [`Deployer`](crate::Deployer) and strict readers of documents reject it. A backend that names
/// its Secrets differently must reject them itself.
///
/// ```
/// use choreo_deploy::backend::is_pull_secret;
///
/// assert!(is_pull_secret("orders-8913b73fb1d8-pull"));
/// assert!(!is_pull_secret("orders-db"));
/// assert!(!is_pull_secret("git-pull"));
/// ```
#[must_use]
pub fn is_pull_secret(name: &str) -> bool {
    let parts = name
        .strip_suffix("-pull")
        .and_then(|rest| rest.rsplit_once('-'));
    parts.is_some_and(|(readable, hash)| {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        !readable.is_empty() && hash.len() == 12 && hash.bytes().all(is_digit)
    })
}

/// Returns the end of a sentence that rejects such a name.
pub(crate) fn refusal(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!(
        "Secret {name:?} has the name of a pull secret, which no component may read: make a Secret of \
         another name"
    )
}

/// Returns a sentence about the first pull secret that a workload or its settings name.
pub(crate) fn named_pull_secret(workload: &Workload, settings: &Settings) -> Option<String> {
    let container = workload.container();
    let variables = container.variables.iter().chain(&settings.variables);
    let variables = variables.filter_map(|(name, value)| match value {
        Value::From(KeyReference::Secret { name: secret, .. }) => {
            Some((format!("variable {name}"), secret))
        }
        Value::From(KeyReference::ConfigMap { .. }) | Value::Literal(_) => None,
    });
    let files = container.files.iter().filter_map(|(path, key)| match key {
        KeyReference::Secret { name, .. } => Some((format!("file {path}"), name)),
        KeyReference::ConfigMap { .. } => None,
    });
    variables
        .chain(files)
        .find(|(_, secret)| is_pull_secret(secret))
        .map(|(place, secret)| format!("{place}: {}", refusal(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_pull_secrets_are_kept() {
        for name in ["a-0123456789ab-pull", "orders-api-b13ce667c30b-pull"] {
            assert!(is_pull_secret(name), "{name}");
        }
        for name in [
            "",
            "-pull",
            "-0123456789ab-pull",
            "orders-b13ce667c30-pull",
            "orders-B13CE667C30B-pull",
            "orders-b13ce667c30g-pull",
            "orders-b13ce667c30b-pulls",
            "orders-b13ce667c30b",
            "ordersb13ce667c30b-pull",
        ] {
            assert!(!is_pull_secret(name), "{name}");
        }
    }
}
