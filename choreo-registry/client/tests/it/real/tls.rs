//! Registries whose certificates a private authority issued, as inside companies.

use std::{path::Path, process::Command, sync::Arc};

use choreo_registry::Credential;
use choreo_registry_client::{
    AccessClass, RegistryClient, egress::Egress, transport::ReqwestTransport,
};

use super::{Folder, HTPASSWD, Login, Program, RealRegistry, programs::runs, skipped};
use crate::PASSWORD;

/// A certificate authority of a test's own.
struct Authority<'f>(&'f Folder);

impl<'f> Authority<'f> {
    fn or_skip(folder: &'f Folder) -> Option<Self> {
        if !runs("openssl", "version") {
            skipped("TLS of real registries", "openssl is not installed");
            return None;
        }
        let options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt";
        openssl(&folder.0, options);
        Some(Self(folder))
    }

    fn certificate(&self) -> String {
        std::fs::read_to_string(self.0.0.join("ca.crt")).unwrap()
    }

    /// Issues a certificate for an address, and returns the lines that configure it.
    fn issue(&self, address: &str) -> String {
        let folder = &self.0.0;
        openssl(
            folder,
            "req -newkey rsa:2048 -nodes -subj /CN=registry -keyout server.key -out server.csr",
        );
        self.0
            .write("server.ext", &format!("subjectAltName = IP:{address}\n"));
        let options = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
                       -extfile server.ext -out server.crt";
        openssl(folder, options);
        let folder = folder.display();
        format!("  tls:\n    certificate: {folder}/server.crt\n    key: {folder}/server.key\n")
    }
}

/// A certificate that its registry signed itself, as distribution's guide makes it: openssl says by
/// default that it is an authority. Its PEM, and the lines that configure it.
fn self_signed(folder: &Folder, address: &str) -> Option<(String, String)> {
    if !runs("openssl", "version") {
        skipped("TLS of real registries", "openssl is not installed");
        return None;
    }
    let made = format!(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=self -keyout self.key -out self.crt \
         -addext subjectAltName=IP:{address}"
    );
    openssl(&folder.0, &made);
    let place = folder.0.display();
    let lines = format!("  tls:\n    certificate: {place}/self.crt\n    key: {place}/self.key\n");
    let pem = std::fs::read_to_string(folder.0.join("self.crt")).unwrap();
    Some((pem, lines))
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_once_the_operator_gives_exactly_it() {
    let folders = [Folder::new(), Folder::new(), Folder::new()];
    let (here, elsewhere) = ("127.0.0.1", "127.0.0.2");
    let made: Vec<_> = std::iter::zip(&folders, [here, here, elsewhere])
        .map_while(|(folder, address)| self_signed(folder, address))
        .collect();
    let [(pem, lines), (other, _), (elsewhere_pem, elsewhere_lines)] = &*made else {
        return;
    };
    for program in [Program::Debian, Program::Distribution3] {
        let Some(registry) = over_tls(program, lines).await else {
            continue;
        };
        let found = class(&registry, Some(pem), PASSWORD).await;
        assert_eq!(found, AccessClass::LoginAccepted, "{program:?}");
        for given in [None, Some(&**other)] {
            let found = class(&registry, given, PASSWORD).await;
            assert_eq!(found, AccessClass::Unreachable, "{program:?}");
        }
        // A given certificate is accepted only for the addresses that it names.
        let Some(registry) = over_tls(program, elsewhere_lines).await else {
            continue;
        };
        let found = class(&registry, Some(elsewhere_pem), PASSWORD).await;
        assert_eq!(found, AccessClass::Unreachable, "{program:?}");
    }
}

fn openssl(folder: &Path, options: &str) {
    let made = Command::new("openssl")
        .args(options.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{options}: {errors}");
}

/// Returns the class of access to a registry with a password, over TLS, with this trusted
/// authority.
async fn class(registry: &RealRegistry, authority: Option<&str>, password: &str) -> AccessClass {
    let egress = Egress::tenant().allow_network("127.0.0.0/8".parse().unwrap());
    let egress = match authority {
        Some(pem) => egress.add_root_certificate(pem),
        None => egress,
    };
    let transport = Arc::new(ReqwestTransport::new(egress).unwrap());
    let credential = Credential::new("robot", password).unwrap();
    let host = registry.host.parse().unwrap();
    let client = RegistryClient::new(host, Some(credential), transport).with_retries(0);
    client.verify(None).await.class()
}

async fn over_tls(program: Program, certificate_lines: &str) -> Option<RealRegistry> {
    let folder = Folder::new();
    let users = folder.write("htpasswd", HTPASSWD);
    let started = RealRegistry::started(program, Login::Password, |port| {
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  inmemory: {{}}\nhttp:\n  addr: \
             127.0.0.1:{port}\n  secret: of-a-test\n{certificate_lines}auth:\n  htpasswd:\n    \
             realm: real\n    path: {}\n",
            users.display()
        );
        let config = folder.write("config.yml", &config);
        vec!["serve".to_owned(), config.display().to_string()]
    });
    let started = started.await?;
    Some(RealRegistry {
        _folder: Some(folder),
        ..started
    })
}

#[tokio::test]
async fn a_private_authority_is_trusted_once_the_operator_adds_it() {
    let (folder, other_folder) = (Folder::new(), Folder::new());
    let (Some(ours), Some(other)) = (
        Authority::or_skip(&folder),
        Authority::or_skip(&other_folder),
    ) else {
        return;
    };
    let (trusted, foreign) = (ours.certificate(), other.certificate());
    for program in [Program::Debian, Program::Distribution3] {
        let Some(registry) = over_tls(program, &ours.issue("127.0.0.1")).await else {
            continue;
        };
        let found = class(&registry, Some(&trusted), PASSWORD).await;
        assert_eq!(found, AccessClass::LoginAccepted, "{program:?}");
        let found = class(&registry, Some(&trusted), "wrong-password").await;
        assert_eq!(found, AccessClass::CredentialRefused, "{program:?}");
        for authority in [None, Some(&*foreign)] {
            let found = class(&registry, authority, PASSWORD).await;
            assert_eq!(found, AccessClass::Unreachable, "{program:?}");
        }

        // A certificate of the right authority, for another address.
        let Some(elsewhere) = over_tls(program, &ours.issue("127.0.0.2")).await else {
            continue;
        };
        let found = class(&elsewhere, Some(&trusted), PASSWORD).await;
        assert_eq!(found, AccessClass::Unreachable, "{program:?}");
    }
}
