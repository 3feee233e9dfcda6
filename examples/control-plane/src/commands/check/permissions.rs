//! What the control plane must be allowed to do on a cluster.

/// A kind of object, and what is done with it.
pub(super) struct Permission {
    pub(super) group: &'static str,
    /// With `/` before a part of it.
    pub(super) resource: &'static str,
    pub(super) verbs: &'static [&'static str],
    /// Whether a deployment needs it, and not only a good reason of one that fails.
    pub(super) is_needed: bool,
}

const OBJECTS: &[&str] = &["get", "list", "create", "patch", "update", "delete"];
const LOOKS: &[&str] = &["get", "list"];

/// As the crate's documentation has them, in the namespaces of the targets.
pub(super) const IN_NAMESPACES: &[Permission] = &[
    needed("", "configmaps", OBJECTS),
    needed("", "secrets", OBJECTS),
    needed("", "serviceaccounts", OBJECTS),
    needed("", "services", OBJECTS),
    needed("apps", "deployments", OBJECTS),
    needed("batch", "cronjobs", OBJECTS),
    needed("batch", "jobs", OBJECTS),
    needed("policy", "poddisruptionbudgets", OBJECTS),
    needed("autoscaling", "horizontalpodautoscalers", OBJECTS),
    needed("", "pods", LOOKS),
    needed("apps", "replicasets", LOOKS),
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

/// What it takes to make namespaces.
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
