//! The tools whose choice of a key is explained.

use std::fmt;

/// A program, or a library in several programs, that looks up a registry's credential under
/// `auths`.
///
/// `Display` writes the common name: `kubelet`, `docker`, `podman`, `oras`.
///
/// ```
/// use choreo_registry::keyring::Tool;
///
/// assert_eq!(Tool::ALL.len(), 4);
/// assert_eq!(Tool::ContainersImage.to_string(), "podman");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Tool {
    /// The kubelet, with the keys of pull secrets.
    Kubelet,
    /// Docker's command line.
    Docker,
    /// containers/image: Podman, Skopeo, Buildah, and CRI-O with a file of its own.
    ContainersImage,
    /// oras and other programs that use oras-go.
    Oras,
}

impl Tool {
    /// All tools, in the order of explanations.
    pub const ALL: [Self; 4] = [
        Self::Kubelet,
        Self::Docker,
        Self::ContainersImage,
        Self::Oras,
    ];
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kubelet => "kubelet",
            Self::Docker => "docker",
            Self::ContainersImage => "podman",
            Self::Oras => "oras",
        })
    }
}
