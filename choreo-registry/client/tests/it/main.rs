//! The client against a real registry on loopback, through the real transport.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod conformance;
mod egress;
mod faults;
mod hostile;
mod isolation;
mod museum;
mod oddities;
mod platforms;
mod real;
mod refusals;
mod resolve;
mod scripted;
mod secrets;
mod ssrf;
mod tags;
mod verify;
mod wire;

use std::sync::Arc;

use choreo_registry::{Credential, ImageReference, image::ResolvedImage};
use choreo_registry_client::{
    ClientError, ErrorKind, RegistryClient, egress::Egress, transport::ReqwestTransport,
};
use choreo_test_registry::{Image, TestRegistry, User};

pub(crate) const MANIFESTS: &str = "/v2/team/app/manifests/";
pub(crate) const PASSWORD: &str = "canary-correct-horse-battery";

/// How many generated cases a property runs: `usual`, or as many as `CHOREO_TEST_CASES` says.
pub(crate) fn cases(usual: u32) -> u32 {
    std::env::var("CHOREO_TEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(usual)
}

/// The policy of an operator that allows a registry on the same machine.
pub(crate) fn loopback(registry: &TestRegistry) -> Egress {
    Egress::tenant()
        .allow_network("127.0.0.0/8".parse().unwrap())
        .allow_plain_http(registry.host().parse().unwrap())
}

pub(crate) fn client_with(
    registry: &TestRegistry,
    egress: Egress,
    password: Option<&str>,
) -> RegistryClient {
    let credential = password.map(|password| Credential::new("robot", password).unwrap());
    let transport = Arc::new(ReqwestTransport::new(egress).unwrap());
    RegistryClient::new(registry.host().parse().unwrap(), credential, transport)
}

pub(crate) fn client(registry: &TestRegistry, password: Option<&str>) -> RegistryClient {
    client_with(registry, loopback(registry), password)
}

pub(crate) fn image(registry: &TestRegistry, name: &str) -> ImageReference {
    format!("{}/{name}", registry.host()).parse().unwrap()
}

pub(crate) fn cart() -> Image {
    Image::builder()
        .user("10001")
        .exposed_port("8080/tcp")
        .build()
}

pub(crate) async fn resolve(
    client: &RegistryClient,
    registry: &TestRegistry,
    name: &str,
) -> Result<ResolvedImage, ClientError> {
    client.resolve(&image(registry, name)).await
}

pub(crate) async fn kind(
    client: &RegistryClient,
    registry: &TestRegistry,
    name: &str,
) -> ErrorKind {
    resolve(client, registry, name).await.unwrap_err().kind()
}

pub(crate) async fn open() -> TestRegistry {
    let registry = TestRegistry::builder().start().await.unwrap();
    registry.push("team/app", "1", &cart()).unwrap();
    registry
}

pub(crate) async fn guarded(bearer: bool) -> TestRegistry {
    let builder = TestRegistry::builder();
    let builder = if bearer {
        builder.bearer()
    } else {
        builder.basic()
    };
    let registry = builder
        .user(User::new("robot", PASSWORD))
        .user(User::without_rights("nobody", PASSWORD))
        .start()
        .await
        .unwrap();
    registry.push("team/app", "1", &cart()).unwrap();
    registry
}
