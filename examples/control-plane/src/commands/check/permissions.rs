//! The permissions that the control plane needs on a cluster.

/// A kind of object, and the verbs that are used on it.
pub(super) struct Permission {
    pub(super) group: &'static str,
    /// A subresource is separated by `/`.
    pub(super) resource: &'static str,
    pub(super) verbs: &'static [&'static str],
    /// `true` if a deployment needs it, `false` if it only makes the reason of a failure more precise.
    pub(super) is_needed: bool,
}

const OBJECT: &[&str] = &["get", "create", "patch", "delete"];

/// The permissions in the namespaces of the targets, as in the role of the Kubernetes backend.
pub(super) const IN_NAMESPACES: &[Permission] = &[
    needed("", "configmaps", &["get", "create", "update"]),
    needed("", "secrets", OBJECT),
    needed("", "serviceaccounts", OBJECT),
    needed("", "services", OBJECT),
    needed("apps", "deployments", OBJECT),
    needed("batch", "cronjobs", OBJECT),
    needed("policy", "poddisruptionbudgets", OBJECT),
    needed("autoscaling", "horizontalpodautoscalers", OBJECT),
    needed(
        "batch",
        "jobs",
        &["get", "list", "create", "patch", "delete"],
    ),
    needed("apps", "replicasets", &["list"]),
    needed("", "pods", &["list"]),
    needed("", "pods/log", &["get"]),
    Permission {
        is_needed: false,
        ..needed("", "events", &["list"])
    },
    Permission {
        is_needed: false,
        ..needed("", "pods", &["create"])
    },
];

/// The permission to create namespaces.
pub(super) const OF_NAMESPACES: Permission = needed("", "namespaces", &["get", "create", "patch"]);

const fn needed(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
) -> Permission {
    Permission {
        group,
        resource,
        verbs,
        is_needed: true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The role. A test on a real cluster compares it with the requests of the backend.
    const ROLE: &str = include_str!("../../../../../choreo-deploy/kubernetes/rbac.yaml");

    /// The items of a list such as `verbs: [get, list]`.
    fn items<'a>(line: &'a str, name: &str) -> Option<Vec<&'a str>> {
        let list = line.trim_start_matches("- ").trim().strip_prefix(name)?;
        let list = list.trim_start_matches(": [").trim_end_matches(']');
        Some(
            list.split(", ")
                .map(|item| item.trim_matches('"'))
                .collect(),
        )
    }

    /// Guards that `check --connect` checks the permissions in the role of the backend, and no others.
    #[test]
    fn what_is_asked_for_is_the_role() {
        let mut role = BTreeSet::new();
        let (mut groups, mut resources) = (Vec::new(), Vec::new());
        for line in ROLE.lines() {
            groups = items(line, "apiGroups").unwrap_or(groups);
            resources = items(line, "resources").unwrap_or(resources);
            for verb in items(line, "verbs").unwrap_or_default() {
                for group in &groups {
                    role.extend(resources.iter().map(|resource| (*group, *resource, verb)));
                }
            }
        }
        assert!(
            role.contains(&("batch", "jobs", "delete")),
            "the control: {role:?}"
        );
        let asked: BTreeSet<_> = { IN_NAMESPACES.iter().chain([&OF_NAMESPACES]) }
            .flat_map(|asked| {
                let verbs = asked.verbs.iter();
                verbs.map(|verb| (asked.group, asked.resource, *verb))
            })
            .collect();
        assert_eq!(asked, role);
    }
}
