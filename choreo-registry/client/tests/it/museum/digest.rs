//! Digests and documents: the content that was requested is the content that was read, in one
//! reading.

use choreo_registry_client::ErrorKind::{DigestMismatch, UnsupportedImage};
use http::Response;

use super::{Flaw, INSPECT, RESOLVE, Scene, TAGS, Task, home, json, manifest, page};

const MANIFEST: &str = "https://registry.example.com/v2/team/app/manifests/1";
const PINNED: &str = "registry.example.com/team/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const FALSE: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// CVE-2025-24882: regclient took another manifest than the one that was pinned. Guarded: the bytes
/// of a pinned manifest are hashed.
#[tokio::test]
async fn cve_2025_24882_regclient_ignored_the_pinned_digest() {
    let scene = Scene::new(Flaw::IgnoresPin, Task::Resolve(PINNED), home);
    scene
        .held(DigestMismatch)
        .shows(|end| end.result.is_ok())
        .await;
}

/// oci-client, seen in its source: the digest of a tag is what a header says. Guarded: a header is a
/// claim, and one that the bytes do not bear out is refused.
#[tokio::test]
async fn oci_client_believed_the_digest_in_a_header() {
    let scene = Scene::new(Flaw::BelievesHeader, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => {
                let mut answer = manifest("")?;
                let claim = FALSE.parse().unwrap();
                answer.headers_mut().insert("docker-content-digest", claim);
                Ok(answer)
            }
            _ => home(request),
        }
    });
    scene
        .held(DigestMismatch)
        .shows(|end| end.result.as_deref() == Ok(FALSE))
        .await;
}

/// CVE-2024-3727: containers/image put a digest of a manifest unchecked into the path of a request
/// with a login. Guarded: an invalid digest is never requested.
#[tokio::test]
async fn cve_2024_3727_containers_image_asked_for_a_path_as_digest() {
    let scene = Scene::new(Flaw::PastesDigests, INSPECT, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => json(
                r#"{"schemaVersion":2,"config":{"digest":"../../../admin/secret","size":2},"layers":[]}"#
                    .to_owned(),
            ),
            _ => home(request),
        }
    });
    scene
        .held(UnsupportedImage)
        .shows(|end| end.visited("https://registry.example.com/v2/admin/secret"))
        .await;
}

/// CVE-2021-41190 (GHSA-77vh-xpmg-72qh): a document with `manifests` and `layers` was an index for
/// one tool and an image for the next. Guarded: it is neither.
#[tokio::test]
async fn cve_2021_41190_one_document_was_image_and_index() {
    let scene = Scene::new(Flaw::TakesAmbiguous, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => json(
                r#"{"schemaVersion":2,"manifests":[],"config":{"digest":"x","size":2},"layers":[]}"#
                    .to_owned(),
            ),
            _ => home(request),
        }
    });
    scene
        .held(UnsupportedImage)
        .shows(|end| end.result.is_ok())
        .await;
}

/// oci-client 779dfe6: before it, the `null` that registries send for no tags at all was an error.
/// Guarded: it is an empty list.
#[tokio::test]
async fn oci_client_779dfe6_broke_on_a_list_of_no_tags() {
    let scene = Scene::new(Flaw::WantsTags, TAGS, |request| {
        match request.uri().path() {
            path if path.ends_with("/tags/list")
                && request.headers().contains_key("authorization") =>
            {
                Ok(Response::new(r#"{"name":"team/app","tags":null}"#.into()))
            }
            _ => home(request),
        }
    });
    scene.shows(|end| end.result.is_err()).await;
}

/// oci-client, seen in its source: an empty `token` takes precedence over a non-empty
/// `access_token`. Guarded: the non-empty one is used.
#[tokio::test]
async fn oci_client_took_the_empty_token() {
    let scene = Scene::new(Flaw::TakesEmptyToken, RESOLVE, |request| {
        match request.uri().path() {
            "/token" => Ok(Response::new(
                r#"{"token":"","access_token":"full"}"#.into(),
            )),
            _ => home(request),
        }
    });
    scene
        .shows(|end| {
            end.seen(|request| {
                let header = request.headers().get("authorization");
                header.is_some_and(|value| value.to_str().unwrap().trim_end() == "Bearer")
            })
        })
        .await;
}
