//! `[[data_planes]]`: where components run.

use std::path::{Path, PathBuf};

use choreo_deploy::target::DataPlane;
use choreo_deploy_kubernetes::Policy;
use serde::Deserialize;

use super::section::Section;

/// A data plane and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct DataPlaneEntry {
    pub(crate) data_plane: DataPlane,
    pub(crate) backend: BackendEntry,
    /// What its operator decides. Rendering follows it, also in memory.
    pub(crate) policy: Policy,
}

/// What runs the components of a data plane.
#[derive(Clone, Debug)]
pub(crate) enum BackendEntry {
    /// A Kubernetes cluster.
    Kubernetes {
        kubeconfig: Option<PathBuf>,
        context: Option<String>,
    },
    /// Nothing: for trying out. Everything is ready at once, and forgotten with the process.
    Memory,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BackendName {
    Kubernetes,
    Memory,
}

impl DataPlaneEntry {
    pub(super) fn of(mut section: Section<'_>, directory: &Path) -> Option<Self> {
        let id = section.required("id");
        let backend = backend(&mut section, directory);
        let cloud = section.optional("cloud");
        let platforms = section.list("platforms");
        let policy = section.optional("policy").unwrap_or_default();
        if backend.is_some() {
            section.finish();
        }
        let mut data_plane = DataPlane::new(id?);
        data_plane.cloud = cloud;
        data_plane.platforms = platforms;
        Some(Self {
            data_plane,
            backend: backend?,
            policy,
        })
    }
}

fn backend(section: &mut Section<'_>, directory: &Path) -> Option<BackendEntry> {
    match section.required("backend")? {
        BackendName::Memory => Some(BackendEntry::Memory),
        BackendName::Kubernetes => {
            let kubeconfig: Option<PathBuf> = section.optional("kubeconfig");
            let kubeconfig = kubeconfig.map(|file| directory.join(file));
            let context = section.optional("context");
            Some(BackendEntry::Kubernetes {
                kubeconfig,
                context,
            })
        }
    }
}
