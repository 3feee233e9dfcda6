//! Bodies without end, and sizes that are announced.

use choreo_registry::Digest;
use choreo_registry_client::ErrorKind::TooLarge;
use http::Response;

use super::{Flaw, INSPECT, RESOLVE, Scene, home, json, page};

const MANIFEST: &str = "https://registry.example.com/v2/team/app/manifests/1";
const HUGE: usize = 9 * 1024 * 1024;

/// CVE-2020-1702: containers/image read a manifest whole, however large. Guarded: 4 MiB are the end.
#[tokio::test]
async fn cve_2020_1702_containers_image_read_manifests_whole() {
    let scene = Scene::new(Flaw::ReadsWithoutBound, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => {
                Ok(Response::new(vec![b' '; HUGE].into()))
            }
            _ => home(request),
        }
    });
    scene
        .held(TooLarge)
        .shows(|end| end.received() >= HUGE)
        .await;
}

/// go-containerregistry #2296: the responses of token servers were read whole. Guarded: the
/// response with a token has a separate limit.
#[tokio::test]
async fn ggcr_2296_read_tokens_whole() {
    let scene = Scene::new(Flaw::ReadsWithoutBound, RESOLVE, |request| {
        match request.uri().path() {
            "/token" => Ok(Response::new(vec![b' '; HUGE].into())),
            _ => home(request),
        }
    });
    scene
        .held(TooLarge)
        .shows(|end| end.received() >= HUGE)
        .await;
}

/// GHSA-f36w-mj3v-6jqv: oras-go made room for as many bytes as a descriptor announced, and panicked.
/// Guarded: a size in a manifest is only a number.
#[tokio::test]
async fn ghsa_f36w_oras_go_reserved_what_was_announced() {
    let scene = Scene::new(Flaw::ReservesAnnounced, INSPECT, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => {
                let digest = Digest::sha256_of(b"{}");
                json(format!(
                    r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","size":{}}},"layers":[]}}"#,
                    i64::MAX
                ))
            }
            _ => home(request),
        }
    });
    scene.shows(|end| end.result.is_err()).await;
}
