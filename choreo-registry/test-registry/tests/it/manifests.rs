use choreo_test_registry::parts::Manifest;
use choreo_test_registry::{Image, TestRegistry};
use serde_json::json;

use crate::client::{OCI_INDEX, OCI_MANIFEST, ask};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

async fn open() -> TestRegistry {
    TestRegistry::builder().start().await.unwrap()
}

/// Returns a registry with the blobs of an image, and the manifest, which is not pushed yet.
async fn with_parts(repository: &str) -> (TestRegistry, Manifest) {
    let registry = open().await;
    let image = Image::builder().layer("hello").build();
    for part in image.layers().iter().chain([image.config()]) {
        registry.push_blob(repository, part.clone()).unwrap();
    }
    (registry, image.manifest())
}

#[tokio::test]
async fn a_manifest_is_pulled_as_it_was_pushed() {
    let (registry, manifest) = with_parts("a/b/c/d").await;
    let digest = manifest.digest();
    let kind = [("content-type", OCI_MANIFEST)];
    for reference in ["v1", &digest] {
        let line = format!("PUT /v2/a/b/c/d/manifests/{reference}");
        let put = ask(&registry, &line, &kind, manifest.bytes().clone()).await;
        assert_eq!(put.status, 201);
        assert_eq!(put.header("docker-content-digest"), Some(&*digest));
        let location = format!("/v2/a/b/c/d/manifests/{digest}");
        assert_eq!(put.header("location"), Some(&*location));
    }
    for reference in ["v1", &digest] {
        let line = format!("GET /v2/a/b/c/d/manifests/{reference}");
        let got = ask(&registry, &line, &[("accept", OCI_MANIFEST)], "").await;
        assert_eq!(got.body, manifest.bytes());
        assert_eq!(got.header("content-type"), Some(OCI_MANIFEST));
        assert_eq!(got.header("docker-content-digest"), Some(&*digest));
    }
}

#[tokio::test]
async fn head_says_digest_type_and_length() {
    let registry = open().await;
    let image = Image::builder().build();
    registry.push("app", "v1", &image).unwrap();
    let accept = [("accept", OCI_MANIFEST)];
    let head = ask(&registry, "HEAD /v2/app/manifests/v1", &accept, "").await;
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
    let length = image.manifest().bytes().len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
    assert_eq!(head.header("docker-content-digest"), Some(&*image.digest()));
    assert_eq!(head.header("content-type"), Some(OCI_MANIFEST));

    let etag = format!("\"{}\"", image.digest());
    let known = [("accept", OCI_MANIFEST), ("if-none-match", &etag)];
    let head = ask(&registry, "HEAD /v2/app/manifests/v1", &known, "").await;
    assert_eq!(head.status, 304);
}

#[tokio::test]
async fn oci_types_are_given_only_when_accepted_by_name() {
    let registry = open().await;
    let image = Image::builder().build();
    registry.push("app", "image", &image).unwrap();
    let images = [(image.platform().clone(), image)];
    registry.push_index("app", "index", &images).unwrap();
    for (tag, media_type) in [("image", OCI_MANIFEST), ("index", OCI_INDEX)] {
        let line = format!("GET /v2/app/manifests/{tag}");
        let unknown = (404, "MANIFEST_UNKNOWN".to_owned());
        assert_eq!(ask(&registry, &line, &[], "").await.error(), unknown);
        let any = [("accept", "*/*")];
        assert_eq!(ask(&registry, &line, &any, "").await.error(), unknown);
        let several = format!("text/plain, {media_type};q=0.5");
        let named = [("accept", &*several)];
        assert_eq!(ask(&registry, &line, &named, "").await.status, 200);
    }
}

#[tokio::test]
async fn a_docker_list_becomes_its_default_image_for_old_clients() {
    let registry = open().await;
    let build = |platform: &str| {
        let platform = platform.parse().unwrap();
        Image::builder()
            .docker_media_types()
            .platform(platform)
            .build()
    };
    let images = ["linux/arm64", "linux/amd64"].map(build);
    let default = images[1].digest();
    let pairs = images.map(|image| (image.platform().clone(), image));
    let list = registry.push_index("app", "v1", &pairs).unwrap();

    let accept = [("accept", DOCKER_MANIFEST)];
    let old = ask(&registry, "GET /v2/app/manifests/v1", &accept, "").await;
    assert_eq!(old.header("docker-content-digest"), Some(&*default));
    assert_eq!(old.header("content-type"), Some(DOCKER_MANIFEST));
    let accept = [("accept", DOCKER_LIST)];
    let new = ask(&registry, "GET /v2/app/manifests/v1", &accept, "").await;
    assert_eq!(new.header("docker-content-digest"), Some(&*list));
    let line = format!("GET /v2/app/manifests/{list}");
    let pinned = ask(&registry, &line, &[], "").await;
    assert_eq!(pinned.header("docker-content-digest"), Some(&*list));
}

#[tokio::test]
async fn what_cannot_be_right_is_refused() {
    let (registry, manifest) = with_parts("app").await;
    let good = std::str::from_utf8(manifest.bytes()).unwrap();
    let wrong_digest = format!("sha256:{}", "0".repeat(64));
    let both = good.replacen('{', r#"{"manifests":[],"#, 1);
    let missing = json!({"schemaVersion": 2, "layers": [], "config": {"digest": wrong_digest}});
    let missing = missing.to_string();
    for (reference, kind, body, code) in [
        ("v1", OCI_MANIFEST, "not JSON", "MANIFEST_INVALID"),
        ("v1", OCI_MANIFEST, "{}", "MANIFEST_INVALID"),
        ("v1", OCI_INDEX, good, "MANIFEST_INVALID"),
        ("v1", DOCKER_MANIFEST, good, "MANIFEST_INVALID"),
        ("v1", OCI_MANIFEST, &both, "MANIFEST_INVALID"),
        ("v1", OCI_MANIFEST, &missing, "MANIFEST_BLOB_UNKNOWN"),
        (&wrong_digest, OCI_MANIFEST, good, "DIGEST_INVALID"),
        ("sha256:short", OCI_MANIFEST, good, "DIGEST_INVALID"),
        ("-v1", OCI_MANIFEST, good, "TAG_INVALID"),
    ] {
        let line = format!("PUT /v2/app/manifests/{reference}");
        let kind = [("content-type", kind)];
        let put = ask(&registry, &line, &kind, body.to_owned()).await;
        assert_eq!(put.error(), (400, code.to_owned()), "{reference} {body}");
    }
    let none = ask(&registry, "PUT /v2/app/manifests/v1", &[], good.to_owned()).await;
    assert_eq!(none.error(), (400, "MANIFEST_INVALID".to_owned()));
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    let put = ask(&registry, "PUT /v2/app/manifests/v1", &[], large).await;
    assert_eq!(put.error(), (413, "SIZE_INVALID".to_owned()));
    assert_eq!(registry.digest("app", "v1"), None);

    // The control: the same request without the mistake.
    let kind = [("content-type", OCI_MANIFEST)];
    let put = ask(
        &registry,
        "PUT /v2/app/manifests/v1",
        &kind,
        good.to_owned(),
    )
    .await;
    assert_eq!(put.status, 201);
}

#[tokio::test]
async fn any_other_media_type_is_kept_verbatim() {
    let registry = open().await;
    let kind = [("content-type", "application/x-anything; a=b")];
    let put = ask(&registry, "PUT /v2/app/manifests/v1", &kind, "\0 any bytes").await;
    assert_eq!(put.status, 201);
    let got = ask(&registry, "GET /v2/app/manifests/v1", &[], "").await;
    assert_eq!(got.body, "\0 any bytes");
    assert_eq!(
        got.header("content-type"),
        Some("application/x-anything; a=b")
    );
}

#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest_and_deleting_that_takes_its_tags() {
    let registry = open().await;
    let image = Image::builder().build();
    registry.push("app", "v1", &image).unwrap();
    registry.push("app", "v2", &image).unwrap();
    let digest = image.digest();
    let by_digest = format!("/v2/app/manifests/{digest}");
    let delete = async |path: &str| ask(&registry, &format!("DELETE {path}"), &[], "").await;

    assert_eq!(delete("/v2/app/manifests/v1").await.status, 202);
    assert_eq!(registry.digest("app", "v2"), Some(digest));
    assert_eq!(delete(&by_digest).await.status, 202);
    assert_eq!(registry.digest("app", "v2"), None);
    let unknown = (404, "MANIFEST_UNKNOWN".to_owned());
    assert_eq!(delete(&by_digest).await.error(), unknown);
}

#[tokio::test]
async fn referrers_are_the_manifests_with_that_subject() {
    let (registry, subject) = with_parts("app").await;
    let digest = subject.digest();
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/x-signature",
        "config": serde_json::from_slice::<serde_json::Value>(subject.bytes()).unwrap()["config"],
        "layers": [],
        "subject": { "mediaType": OCI_MANIFEST, "digest": digest, "size": 1 },
        "annotations": { "by": "me" },
    });
    let kind = [("content-type", OCI_MANIFEST)];
    let put = ask(
        &registry,
        "PUT /v2/app/manifests/s",
        &kind,
        signature.to_string(),
    )
    .await;
    assert_eq!(put.header("oci-subject"), Some(&*digest));

    let line = format!("GET /v2/app/referrers/{digest}");
    let all = ask(&registry, &line, &[], "").await;
    assert_eq!(all.header("content-type"), Some(OCI_INDEX));
    let entry = &all.json()["manifests"][0];
    assert_eq!(entry["artifactType"], "application/x-signature");
    assert_eq!(entry["annotations"]["by"], "me");
    assert_eq!(
        entry["digest"],
        put.header("docker-content-digest").unwrap()
    );

    let other = ask(&registry, &format!("{line}?artifactType=x"), &[], "").await;
    assert_eq!(other.json()["manifests"], json!([]));
    assert_eq!(other.header("oci-filters-applied"), Some("artifactType"));
    let bad = ask(&registry, "GET /v2/app/referrers/sha256:short", &[], "").await;
    assert_eq!(bad.error(), (400, "DIGEST_INVALID".to_owned()));
}

#[tokio::test]
async fn paths_names_and_methods_have_their_own_errors() {
    let registry = open().await;
    registry.push_blob("app", "x").unwrap();
    for (line, status, code) in [
        ("GET /v3/", 404, "UNSUPPORTED"),
        ("GET /v2/app", 404, "UNSUPPORTED"),
        ("GET /v2/_catalog", 404, "UNSUPPORTED"),
        ("GET /token", 404, "UNSUPPORTED"),
        ("GET /v2/App/manifests/v1", 400, "NAME_INVALID"),
        ("GET /v2/none/manifests/v1", 404, "NAME_UNKNOWN"),
        ("GET /v2/app/manifests/v1", 404, "MANIFEST_UNKNOWN"),
        ("POST /v2/app/manifests/v1", 405, "UNSUPPORTED"),
        ("PUT /v2/app/tags/list", 405, "UNSUPPORTED"),
    ] {
        let answer = ask(&registry, line, &[], "").await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{line}");
    }
    let ping = ask(&registry, "GET /v2/", &[], "").await;
    assert_eq!(ping.status, 200);
    let version = ping.header("docker-distribution-api-version");
    assert_eq!(version, Some("registry/2.0"));
    let post = ask(&registry, "POST /v2/", &[], "").await;
    assert_eq!(post.header("allow"), Some("GET, HEAD"));
}
