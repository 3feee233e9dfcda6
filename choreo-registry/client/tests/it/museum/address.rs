//! Addresses of the inside: in every spelling, behind names, at the end of redirects.

use std::net::SocketAddr;

use choreo_registry::RegistryHost;
use choreo_registry_client::{AccessClass, ErrorKind::Blocked, egress::Egress};

use super::{Flaw, INSPECT, RESOLVE, Scene, Task, home, manifest, moved, naive, page};
use crate::open;

const MANIFEST: &str = "https://registry.example.com/v2/team/app/manifests/1";

/// google/kf #1108: a tenant's image reference made the controller talk to an address of the tenant's
/// choice. Guarded: the registry's host itself is judged.
#[tokio::test]
async fn kf_1108_dialled_the_host_that_a_tenant_chose() {
    let task = Task::Resolve("169.254.169.254/team/app:1");
    let scene = Scene::new(Flaw::JudgesNothing, task, home).at("169.254.169.254");
    scene
        .held(Blocked)
        .shows(|end| end.visited("https://169.254.169.254/"))
        .await;
}

/// go-containerregistry #2293: the `urls` of a foreign layer led inside. Guarded: they are not
/// fetched.
#[tokio::test]
async fn ggcr_2293_fetched_a_layer_from_the_inside() {
    let scene = Scene::new(Flaw::FetchesForeignUrls, INSPECT, |request| {
        let has_login = request.headers().contains_key("authorization");
        match page(request).as_str() {
            MANIFEST if has_login => manifest(r#","urls":["https://10.0.0.9/layer"]"#),
            _ => home(request),
        }
    });
    scene.shows(|end| end.visited("https://10.0.0.9/")).await;
}

/// go-containerregistry #2295: a redirect of a download led inside. Guarded: every hop is judged.
#[tokio::test]
async fn ggcr_2295_was_redirected_inside() {
    let scene = Scene::new(Flaw::JudgesNothing, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST => moved("https://10.0.0.7/latest/"),
            _ => home(request),
        }
    });
    scene
        .held(Blocked)
        .shows(|end| end.visited("https://10.0.0.7/"))
        .await;
}

/// CVE-2021-29922: Rust's address parser read 0177.0.0.1 as 177.0.0.1, where resolvers read
/// 127.0.0.1. Guarded: the checked address is the dialled address.
#[tokio::test]
async fn cve_2021_29922_rust_read_octal_as_decimal() {
    let scene = Scene::new(Flaw::OctalAsDecimal, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST => moved("https://0177.0.0.1/secret"),
            _ => home(request),
        }
    });
    scene
        .held(Blocked)
        .shows(|end| end.visited("https://127.0.0.1/"))
        .await;
}

/// CVE-2020-8562: Kubernetes looked a name up, judged the address, and looked it up again to dial; a
/// name with two faces passed. Guarded: all addresses of a name are judged, and one refuses the rest.
#[test]
fn cve_2020_8562_kubernetes_judged_one_face_of_a_name() {
    let answers: [SocketAddr; 2] = ["1.1.1.1:443", "127.0.0.1:443"].map(|it| it.parse().unwrap());
    let egress = Egress::tenant();
    let naive = egress.check_addresses("two.example", &answers[..1]);
    assert!(naive.is_ok(), "the first address is a public one");
    let ours = egress.check_addresses("two.example", &answers);
    assert!(ours.is_err());
}

/// go-containerregistry #2440: address literals are checked, the addresses of a name are not.
/// Guarded: a name of loopback. The control is dialled on loopback.
#[expect(
    clippy::disallowed_methods,
    reason = "a client that must fail the test"
)]
#[tokio::test]
async fn ggcr_2440_judged_no_address_behind_a_name() {
    let registry = open().await;
    let host = format!("localhost:{}", registry.address().port());
    let plain = Egress::tenant().allow_plain_http(host.parse().unwrap());
    let transport = choreo_registry_client::transport::ReqwestTransport::new(plain).unwrap();
    let transport = std::sync::Arc::new(transport);
    let ours = choreo_registry_client::RegistryClient::new(host.parse().unwrap(), None, transport);
    assert_eq!(ours.verify(None).await.class(), AccessClass::Blocked);
    assert!(registry.requests().is_empty());

    assert!(!naive::literal_is_inside("localhost") && naive::literal_is_inside("127.0.0.1"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let _ = client.get(format!("http://{host}/v2/")).send().await;
    assert!(!registry.requests().is_empty());
}

/// RUSTSEC-2024-0421: idna before 1.0 decoded `xn--example-` to `example`, so that two spellings
/// were one host. Guarded: the false spelling is rejected, and never equals the true one.
#[test]
fn rustsec_2024_0421_idna_made_two_spellings_one_host() {
    let decoded = |host: &str| {
        let labels = host.split('.').map(|label| {
            let ascii = label
                .strip_prefix("xn--")
                .and_then(|it| it.strip_suffix('-'));
            ascii.unwrap_or(label).to_owned()
        });
        labels.collect::<Vec<_>>().join(".")
    };
    let (forged, real) = ("xn--example-.org", "example.org");
    assert_eq!(decoded(forged), decoded(real), "the naive twin");
    let ours = [forged, real].map(|host| host.parse::<RegistryHost>().ok());
    assert_ne!(ours[0], ours[1]);
    let uri = format!("https://{forged}/v2/").parse().unwrap();
    assert!(Egress::tenant().check_uri(&uri).is_err());
}
