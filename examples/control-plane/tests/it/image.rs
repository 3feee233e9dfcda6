//! Images with one layer, which contains one small program.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An image for the architecture of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    layer: Vec<u8>,
    config: String,
}

impl Image {
    /// The media type of the manifest
    /// (<https://github.com/opencontainers/image-spec/blob/main/manifest.md>).
    pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

    /// Returns an image that will not run.
    pub(crate) fn empty() -> Self {
        Self::new(&tar("program", b"#!/bin/false\n"), &[])
    }

    /// Returns an image that runs `program.c`, with its default arguments.
    pub(crate) fn program(arguments: &[&str]) -> Self {
        Self::new(&tar("program", program()), arguments)
    }

    fn new(layer: &[u8], arguments: &[&str]) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "User": "10001", "Entrypoint": ["/program"], "Cmd": arguments },
            "rootfs": { "type": "layers", "diff_ids": [sha256(layer)] },
        });
        Self {
            layer: layer.to_vec(),
            config: config.to_string(),
        }
    }

    /// Returns the manifest. A note makes it another image with the same content.
    pub(crate) fn manifest(&self, note: &str) -> String {
        json!({
            "schemaVersion": 2,
            "mediaType": Self::MANIFEST_TYPE,
            "config": descriptor("application/vnd.oci.image.config.v1+json", self.config.as_bytes()),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &self.layer)],
            "annotations": { "org.opencontainers.image.version": note },
        })
        .to_string()
    }

    /// Returns the blobs, for a registry in process.
    pub(crate) fn blobs(&self) -> [Vec<u8>; 2] {
        [self.layer.clone(), self.config.clone().into_bytes()]
    }

    /// Writes the image as a layout
    /// (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>).
    pub(crate) fn write_layout(&self, directory: &Path) {
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).expect("a directory can be made");
        let manifest = self.manifest("as pushed");
        for blob in [&self.layer[..], self.config.as_bytes(), manifest.as_bytes()] {
            let digest = sha256(blob);
            let file = blobs.join(digest.trim_start_matches("sha256:"));
            std::fs::write(file, blob).expect("a blob is written");
        }
        let entry = descriptor(Self::MANIFEST_TYPE, manifest.as_bytes());
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        std::fs::write(directory.join("index.json"), index).expect("the index is written");
        let layout = r#"{"imageLayoutVersion":"1.0.0"}"#;
        std::fs::write(directory.join("oci-layout"), layout).expect("the layout is written");
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "size": bytes.len(), "digest": sha256(bytes) })
}

fn sha256(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("sha256:{digits}")
}

/// Returns the program, which is compiled once.
fn program() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let out = directory.path().join("program");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/program.c");
        let compiled = Command::new("cc")
            .args(["-static", "-Os", "-s", "-o"])
            .arg(&out)
            .arg(source)
            .status();
        assert!(
            compiled.expect("cc can be run").success(),
            "the program does not compile"
        );
        std::fs::read(out).expect("the program can be read")
    })
}

/// Returns an archive of one executable file
/// (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>, ustar).
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}
