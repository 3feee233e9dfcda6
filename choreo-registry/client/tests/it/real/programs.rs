//! The programs of registries: where they are, or how they are built.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use super::skipped;

/// A registry's program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Program {
    /// `crane registry serve`: <https://github.com/google/go-containerregistry>.
    Crane,
    /// Debian's package, distribution 2.8.
    Debian,
    /// <https://github.com/distribution/distribution>, version 3.
    Distribution3,
    /// <https://pkg.go.dev/cuelabs.dev/go/oci/ociregistry>.
    Ociregistry,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crane => "crane",
            Self::Debian => "docker-registry",
            Self::Distribution3 => "distribution",
            Self::Ociregistry => "ociregistry",
        }
    }

    /// The program, ready to start; `None`, said loudly, without it.
    pub(super) fn path_or_skip(self) -> Option<PathBuf> {
        let built = match self {
            Self::Debian => {
                if runs("docker-registry", "--version") {
                    return Some(PathBuf::from("docker-registry"));
                }
                None
            }
            _ => BUILT.as_ref().map(|folder| folder.join(self.name())),
        };
        if built.is_none() {
            let why = match self {
                Self::Debian => "docker-registry is not installed",
                _ => "Go is not installed",
            };
            skipped(&format!("the registry \"{}\"", self.name()), why);
        }
        built
    }
}

/// The folder with the programs of the Go modules that `go/go.mod` pins, built once for all tests; Go
/// keeps what it compiled for the next run.
static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    if !runs("go", "version") {
        return None;
    }
    let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("registries");
    std::fs::create_dir_all(&programs).unwrap();
    let built = Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&programs)
        .args(["./distribution", "./ociregistry"])
        .arg("github.com/google/go-containerregistry/cmd/crane")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/real/go"))
        .env("GOFLAGS", "-mod=readonly")
        .env("GOWORK", "off")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "the registries do not build: {errors}"
    );
    Some(programs)
});

/// Whether the command is there and works.
pub(super) fn runs(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
