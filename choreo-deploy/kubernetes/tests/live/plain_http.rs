//! Guards the reason for a registry without TLS at an address from which nodes pull over HTTPS.

use std::process::Command;
use std::time::Duration;

use choreo_deploy::backend::{DeploymentBackend, DeploymentBackendExt, Intent};
use choreo_deploy::deployment::Generation;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::rollout::RolloutPhase;
use choreo_registry::ImageReference;
use choreo_test_registry::TestRegistry;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::cluster::{self, Backend, example, push, quick, release, service};

/// An address of the loopback interface outside 127.0.0.0/8, from which containerd pulls over plain
/// HTTP. It is from a network for documentation (RFC 5737), and removed on drop.
struct LoopbackAddress(&'static str);

impl LoopbackAddress {
    fn add(address: &'static str) -> Self {
        // It may remain from a run that was killed.
        let _ = ip(["address", "delete", address, "dev", "lo"]);
        assert!(ip(["address", "add", address, "dev", "lo"]), "needs root");
        Self(address)
    }

    fn ip(&self) -> &str {
        self.0.trim_end_matches("/32")
    }
}

impl Drop for LoopbackAddress {
    fn drop(&mut self) {
        let _ = ip(["address", "delete", self.0, "dev", "lo"]);
    }
}

fn ip(arguments: [&str; 5]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// Forwards connections to a registry, until it is dropped.
struct Door {
    host: String,
    accepting: AbortHandle,
    _address: LoopbackAddress,
}

impl Door {
    async fn to(registry: &TestRegistry) -> Self {
        let address = LoopbackAddress::add("198.51.100.7/32");
        let listener = TcpListener::bind((address.ip(), 0)).await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let registry = registry.host().to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let registry = registry.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(&registry).await;
                    let mut server = server.expect("it listens");
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self {
            host,
            accepting: accepting.abort_handle(),
            _address: address,
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The text comes from the HTTP client, so only a real node shows whether the table still matches
/// it.
#[tokio::test]
async fn a_registry_without_tls_is_named() {
    let Some(config) = cluster::config().await else {
        return;
    };
    let registry = TestRegistry::builder().start().await.expect("a registry");
    let image = push(&registry, "1", "10001");
    let door = Door::to(&registry).await;
    let image = image.as_str().replacen(&*registry.host(), &door.host, 1);
    let image: ImageReference = image.parse().expect("it is a reference");
    let backend = Backend::new(config, quick());
    let (target, release) = (example("plain-http"), release(service(&[]), &image));
    let intent = Intent::new(&target, Generation::new(0, 1), &release);
    backend.apply(&intent).await.expect("it is applied");
    let every = Duration::from_millis(300);
    let watch = backend.watch_until_settled(&target, Generation::new(0, 1), every);
    let rollout = tokio::time::timeout(Duration::from_secs(120), watch).await;
    let rollout = rollout.expect("it ends in time").expect("it can be seen");
    let reason = &rollout.reasons[0];
    assert_eq!(
        (rollout.phase, reason.code),
        (RolloutPhase::Failed, ReasonCode::RegistryTls),
        "{rollout:?}"
    );
    let image = release.image.deployed();
    assert_eq!(
        reason.message,
        format!("the registry of image {image} speaks plain HTTP, and nodes pull over HTTPS")
    );
    assert_eq!(
        reason.help.as_deref(),
        Some(
            "give the registry a certificate, or ask the operator to allow plain HTTP to it on the nodes"
        )
    );
    let evidence = reason.evidence.as_ref().expect("it has evidence");
    assert!(
        evidence
            .as_str()
            .contains("server gave HTTP response to HTTPS client"),
        "{evidence}"
    );
}
