//! Names of objects that cannot collide.
//!
//! A name is a readable part, cut to fit, and 12 hexadecimal digits of a hash over *all* parts. The
//! parts are hashed with their lengths: otherwise `acme` + `prod-shop` and `acme-prod` + `shop`
//! would be the same text. The labels of an object with the right name are compared nevertheless.

use choreo_deploy::Target;
use choreo_deploy::id::RunId;
use sha2::{Digest, Sha256};

/// The name of a pod is that of its Kubernetes Deployment and 16 more characters, and is its host
/// name, of at most 63 characters. CronJobs allow 52, so this fits them too.
const OBJECT_LIMIT: usize = 47;
/// Job names become label values
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
const LABEL_LIMIT: usize = 63;
const HASH_DIGITS: usize = 12;

/// Returns the name of a target's objects: an RFC 1035 label, as Services require, of at most 47
/// characters.
pub(crate) fn object(target: &Target) -> String {
    let Target {
        organization,
        project,
        component,
        environment,
        ..
    } = target;
    let parts = [
        organization.as_str(),
        project.as_str(),
        component.as_str(),
        environment.as_str(),
    ];
    join(component.as_str(), OBJECT_LIMIT, &parts)
}

/// Returns the name of a target's pull secret. It never changes, so that credentials change in
/// place.
pub(crate) fn pull_secret(target: &Target) -> String {
    format!("{}-pull", object(target))
}

/// Returns the name of the ConfigMap that remembers a target's generation.
pub(crate) fn anchor(target: &Target) -> String {
    format!("{}-anchor", object(target))
}

/// Returns the name of a run's Job.
pub(crate) fn run(target: &Target, run: &RunId) -> String {
    let Target {
        organization,
        project,
        component,
        environment,
        ..
    } = target;
    let parts = [
        organization.as_str(),
        project.as_str(),
        component.as_str(),
        environment.as_str(),
        run.as_str(),
    ];
    join(&format!("{component}-{run}"), LABEL_LIMIT, &parts)
}

/// Returns the name of the namespace of an environment of a project.
pub(crate) fn namespace(prefix: &str, target: &Target) -> String {
    let Target {
        organization,
        project,
        environment,
        ..
    } = target;
    let parts = [
        organization.as_str(),
        project.as_str(),
        environment.as_str(),
    ];
    join(
        &format!("{prefix}-{}", parts.join("-")),
        LABEL_LIMIT,
        &parts,
    )
}

fn join(readable: &str, limit: usize, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(format!("{}:{part}", part.len()));
    }
    let digits: String = hash
        .finalize()
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let letter = readable.starts_with(|c: char| c.is_ascii_lowercase());
    let readable = if letter {
        readable.to_owned()
    } else {
        format!("c{readable}")
    };
    let cut = readable.len().min(limit - HASH_DIGITS - 1);
    let readable = readable.get(..cut).unwrap_or("c").trim_end_matches('-');
    format!("{readable}-{digits}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(parts: [&str; 4]) -> Target {
        let [organization, project, component, environment] = parts;
        Target::new(
            organization.parse().unwrap(),
            project.parse().unwrap(),
            component.parse().unwrap(),
            environment.parse().unwrap(),
        )
    }

    #[test]
    fn names_are_what_they_are_for_ever() {
        let target = target(["acme", "shop", "orders", "development"]);
        assert_eq!(object(&target), "orders-8913b73fb1d8");
        assert_eq!(pull_secret(&target), "orders-8913b73fb1d8-pull");
        assert_eq!(
            namespace("dp", &target),
            "dp-acme-shop-development-764d8803434a"
        );
    }

    #[test]
    fn moving_a_hyphen_makes_another_name() {
        let one = target(["acme", "prod-shop", "orders", "dev"]);
        let other = target(["acme-prod", "shop", "orders", "dev"]);
        assert_ne!(namespace("dp", &one), namespace("dp", &other));
        assert_ne!(object(&one), object(&other));
    }

    fn id() -> impl Strategy<Value = String> {
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    }

    fn is_rfc_1035(name: &str, limit: usize) -> bool {
        name.len() <= limit
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }

    proptest! {
        #[test]
        fn names_fit(parts in [id(), id(), id(), id()], other in id()) {
            let target = target([&parts[0], &parts[1], &parts[2], &parts[3]]);
            prop_assert!(is_rfc_1035(&object(&target), 47));
            prop_assert!(is_rfc_1035(&pull_secret(&target), 52));
            prop_assert!(choreo_deploy::backend::is_pull_secret(&pull_secret(&target)));
            prop_assert!(!choreo_deploy::backend::is_pull_secret(&object(&target)));
            prop_assert!(is_rfc_1035(&run(&target, &other.parse().unwrap()), 63));
            prop_assert!(is_rfc_1035(&namespace("dp", &target), 63));
        }

        /// Short ids over a small alphabet, so that shifted boundaries are common.
        #[test]
        fn different_targets_have_different_names(
            one in ["a|b|a-a|a-b|b-a", "a|b|a-a|a-b|b-a", "a|b|a-a|a-b|b-a", "a|b|a-a|a-b|b-a"],
            two in ["a|b|a-a|a-b|b-a", "a|b|a-a|a-b|b-a", "a|b|a-a|a-b|b-a", "a|b|a-a|a-b|b-a"],
        ) {
            let of = |parts: &[String; 4]| target([&parts[0], &parts[1], &parts[2], &parts[3]]);
            prop_assert_eq!(object(&of(&one)) == object(&of(&two)), one == two);
        }
    }
}
