//! `[[data_planes]]`: the places where components run.

use std::path::{Path, PathBuf};

use choreo_deploy::target::DataPlane;
use choreo_deploy_kubernetes::Policy;
use serde::Deserialize;

use super::section::Section;

/// A data plane, and the access to it.
#[derive(Clone, Debug)]
pub(crate) struct DataPlaneEntry {
    pub(crate) data_plane: DataPlane,
    pub(crate) backend: BackendEntry,
    /// The policy of its operator. Rendering uses it, also for a data plane in memory.
    pub(crate) policy: Policy,
    /// The path in the configuration.
    pub(crate) path: String,
}

/// The backend of a data plane.
#[derive(Clone, Debug)]
pub(crate) enum BackendEntry {
    /// A Kubernetes cluster, and the access to it.
    Kubernetes(ClusterAccess),
    /// None, for a trial. Everything is ready at once, and lost at the end of the process.
    Memory,
}

/// The access to a cluster.
#[derive(Clone, Debug)]
pub(crate) enum ClusterAccess {
    /// A kubeconfig: the named one, or else `$KUBECONFIG`, or else `~/.kube/config`.
    Kubeconfig {
        file: Option<PathBuf>,
        context: Option<String>,
    },
    /// The service account of the pod that the control plane runs in.
    InCluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BackendName {
    Kubernetes,
    Memory,
}

impl DataPlaneEntry {
    pub(super) fn of(mut section: Section<'_>, directory: &Path) -> Option<Self> {
        let path = section.path();
        let id = section.required("id");
        let backend = backend(&mut section, directory);
        let cloud = section.optional("cloud");
        let platforms = section.list("platforms");
        let policy = policy(section.table_or_empty("policy"));
        section.finish();
        let mut data_plane = DataPlane::new(id?);
        data_plane.cloud = cloud;
        data_plane.platforms = platforms;
        let on_nodes = matches!(backend, Some(BackendEntry::Kubernetes { .. }));
        data_plane.forbids_root = on_nodes && policy.security.forbids_root();
        Some(Self {
            data_plane,
            backend: backend?,
            policy,
            path,
        })
    }
}

impl DataPlaneEntry {
    /// Returns the path in the configuration of the access to the data plane.
    pub(crate) fn path_of_access(&self) -> String {
        let path = self.path.as_str();
        match &self.backend {
            BackendEntry::Kubernetes(ClusterAccess::Kubeconfig { file: Some(_), .. }) => {
                format!("{path}.kubeconfig")
            }
            BackendEntry::Kubernetes(ClusterAccess::InCluster) => format!("{path}.in_cluster"),
            BackendEntry::Kubernetes(_) | BackendEntry::Memory => format!("{path}.backend"),
        }
    }
}

fn backend(section: &mut Section<'_>, directory: &Path) -> Option<BackendEntry> {
    match section.required("backend") {
        Some(BackendName::Memory) => Some(BackendEntry::Memory),
        Some(BackendName::Kubernetes) => Some(BackendEntry::Kubernetes(access(section, directory))),
        None => {
            // The fields of a backend may still be there.
            access(section, directory);
            None
        }
    }
}

fn access(section: &mut Section<'_>, directory: &Path) -> ClusterAccess {
    let file: Option<PathBuf> = section.optional("kubeconfig");
    let context = section.optional("context");
    let is_in_cluster = section.optional("in_cluster").unwrap_or(false);
    if !is_in_cluster {
        let file = file.map(|file| directory.join(file));
        return ClusterAccess::Kubeconfig { file, context };
    }
    if file.is_some() || context.is_some() {
        section.problem(
            "in_cluster",
            "uses the service account: remove kubeconfig and context",
        );
    }
    ClusterAccess::InCluster
}

/// Reads the policy of the operator, field by field.
fn policy(mut section: Section<'_>) -> Policy {
    let mut policy = Policy::default();
    set(&mut policy.namespaces, section.optional("namespaces"));
    set(&mut policy.security, section.optional("security"));
    set(&mut policy.writable_root, section.optional("writable-root"));
    set(&mut policy.pull_policy, section.optional("pull-policy"));
    set(&mut policy.labels, section.optional("labels"));
    set(&mut policy.annotations, section.optional("annotations"));
    set(&mut policy.zones, section.optional("zones"));
    let (scratch, mut sizes) = (&mut policy.scratch, section.table_or_empty("scratch"));
    set(&mut scratch.tmp, sizes.optional("tmp"));
    set(&mut scratch.limit, sizes.optional("limit"));
    scratch.request = sizes.optional("request");
    sizes.finish();
    let (timing, mut times) = (&mut policy.timing, section.table_or_empty("timing"));
    set(
        &mut timing.min_ready_seconds,
        times.optional("min-ready-seconds"),
    );
    set(
        &mut timing.pre_stop_seconds,
        times.optional("pre-stop-seconds"),
    );
    set(
        &mut timing.termination_seconds,
        times.optional("termination-seconds"),
    );
    set(&mut timing.call_seconds, times.optional("call-seconds"));
    set(
        &mut timing.keep_runs_seconds,
        times.optional("keep-runs-seconds"),
    );
    times.finish();
    section.finish();
    policy
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
