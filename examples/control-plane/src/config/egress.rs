//! `[egress]`: the destinations of the registry client other than public addresses over https.

use std::path::{Path, PathBuf};

use choreo_registry::RegistryHost;
use choreo_registry_client::{
    egress::{Egress, IpNetwork},
    transport::ReqwestTransport,
};

use super::problem::Problems;
use super::section::Section;
use crate::failure::plain;

/// The policy of the operator. The files of its certificates are not read yet.
#[derive(Clone, Debug)]
pub(super) struct EgressEntry {
    networks: Vec<IpNetwork>,
    plain_http: Vec<RegistryHost>,
    realms: Vec<(RegistryHost, RegistryHost)>,
    root_certificates: Vec<PathBuf>,
}

impl EgressEntry {
    pub(super) fn of(mut section: Section<'_>, directory: &Path) -> Self {
        let networks = section.list("networks");
        let plain_http = section.list("plain_http");
        let realms = section
            .tables("trusted_realms")
            .into_iter()
            .filter_map(realm)
            .collect();
        let files: Vec<PathBuf> = section.optional("root_certificates").unwrap_or_default();
        section.finish();
        let root_certificates = files.into_iter().map(|file| directory.join(file)).collect();
        Self {
            networks,
            plain_http,
            realms,
            root_certificates,
        }
    }

    /// Reads the certificates and creates the policy.
    pub(super) fn open(&self, problems: &Problems) -> Egress {
        let entry = self.clone();
        let egress = entry
            .networks
            .into_iter()
            .fold(Egress::tenant(), Egress::allow_network);
        let egress = entry
            .plain_http
            .into_iter()
            .fold(egress, Egress::allow_plain_http);
        let realms = entry.realms.into_iter();
        let mut egress = realms.fold(egress, |egress, (registry, realm)| {
            egress.trust_realm(registry, realm)
        });
        for (index, file) in self.root_certificates.iter().enumerate() {
            match std::fs::read(file) {
                Ok(pem) => {
                    let alone = Egress::tenant().add_root_certificate(pem.clone());
                    match ReqwestTransport::new(alone) {
                        Ok(_) => egress = egress.add_root_certificate(pem),
                        Err(error) => problems.add(
                            format!("egress.root_certificates[{index}]"),
                            format!("file {file:?}: {}", plain(&error.to_string())),
                        ),
                    }
                }
                Err(error) => problems.add(
                    format!("egress.root_certificates[{index}]"),
                    format!(
                        "file {file:?} cannot be read: {}",
                        plain(&error.to_string())
                    ),
                ),
            }
        }
        egress
    }
}

fn realm(mut section: Section<'_>) -> Option<(RegistryHost, RegistryHost)> {
    let registry = section.required("registry");
    let realm = section.required("realm");
    section.finish();
    registry.zip(realm)
}
