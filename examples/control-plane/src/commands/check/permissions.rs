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

const OBJECT: &[&str] = &["get", "create", "patch", "delete"];

/// As the role of the Kubernetes backend has them, in the namespaces of the targets.
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
