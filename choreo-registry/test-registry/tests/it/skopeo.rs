//! Tests the registry with a widely used client (<https://github.com/containers/skopeo>).

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use choreo_test_registry::{Builder, Image, TestRegistry, User};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::client::{OCI_INDEX, OCI_MANIFEST, ask};

/// Runs skopeo. Returns `None` and reports it if skopeo is not installed.
async fn skopeo(arguments: &[&str]) -> Option<Result<String, String>> {
    let run = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .output();
    match run.await {
        Ok(output) if output.status.success() => {
            Some(Ok(String::from_utf8(output.stdout).unwrap()))
        }
        Ok(output) => Some(Err(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // It bypasses the test harness, which captures output.
            let text = b"SKIPPED: skopeo not found in PATH; install it to run this test\n";
            std::io::stderr().write_all(text).unwrap();
            None
        }
        Err(error) => panic!("skopeo does not start: {error}"),
    }
}

/// Writes an image as an OCI layout
/// (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>).
fn write_layout(folder: &Path, tag: &str, image: &Image) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let manifest = image.manifest();
    let parts = image
        .layers()
        .iter()
        .chain([image.config(), manifest.bytes()]);
    for part in parts {
        // The type does not matter for the digest of plain bytes.
        let digest = choreo_test_registry::parts::Manifest::new("", part.clone()).digest();
        std::fs::write(blobs.join(&digest["sha256:".len()..]), part).unwrap();
    }
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": OCI_MANIFEST,
        "digest": manifest.digest(),
        "size": manifest.bytes().len(),
        "annotations": {"org.opencontainers.image.ref.name": tag},
    }]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
}

/// Pushes an image, copies it back, and compares the copy with the content of the registry.
async fn there_and_back(builder: Builder, credentials: Option<&str>) {
    let registry = builder.start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let image = Image::builder()
        .user("10001")
        .layer("hello")
        .layer("world")
        .build();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    write_layout(&source, "v1", &image);
    let source = format!("oci:{}:v1", source.display());
    let target_reference = format!("oci:{}:v1", target.display());
    let remote = format!("docker://{}/team/shop/cart:v1", registry.host());

    let mut push = vec!["copy", "--dest-tls-verify=false", "--preserve-digests"];
    push.extend(credentials.iter().flat_map(|value| ["--dest-creds", value]));
    push.extend([&*source, &*remote]);
    let Some(pushed) = skopeo(&push).await else {
        return;
    };
    pushed.unwrap();
    assert_eq!(
        registry.digest("team/shop/cart", "v1"),
        Some(image.digest())
    );

    let mut pull = vec!["copy", "--src-tls-verify=false", "--preserve-digests"];
    pull.extend(credentials.iter().flat_map(|value| ["--src-creds", value]));
    pull.extend([&*remote, &*target_reference]);
    skopeo(&pull).await.unwrap().unwrap();
    let index = std::fs::read(target.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"][0]["digest"], image.digest());

    if credentials.is_some() {
        let mut wrong = push.clone();
        wrong[4] = "robot:wrong";
        let refused = skopeo(&wrong).await.unwrap().unwrap_err();
        assert!(refused.contains("auth"), "{refused}");
    }
}

const LOGIN: &str = "robot:s3cret";

fn robot() -> User {
    User::new("robot", "s3cret")
}

#[tokio::test]
async fn there_and_back_without_a_login() {
    there_and_back(TestRegistry::builder(), None).await;
}

#[tokio::test]
async fn there_and_back_with_a_password() {
    there_and_back(TestRegistry::builder().basic().user(robot()), Some(LOGIN)).await;
}

#[tokio::test]
async fn there_and_back_with_a_token() {
    there_and_back(TestRegistry::builder().bearer().user(robot()), Some(LOGIN)).await;
}

#[tokio::test]
async fn there_and_back_with_a_token_from_elsewhere() {
    let builder = TestRegistry::builder().bearer().token_server_apart();
    there_and_back(builder.user(robot()), Some(LOGIN)).await;
}

/// Without `--preserve-digests`, skopeo compresses the layer and uploads it in chunks.
#[tokio::test]
async fn a_layer_compressed_on_the_way() {
    let registry = TestRegistry::builder().start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_layout(
        folder.path(),
        "v1",
        &Image::builder().layer("hello").build(),
    );
    let source = format!("oci:{}:v1", folder.path().display());
    let remote = format!("docker://{}/app:v1", registry.host());
    let push = ["copy", "--dest-tls-verify=false", &source, &remote];
    let Some(pushed) = skopeo(&push).await else {
        return;
    };
    pushed.unwrap();
    let accept = [("accept", OCI_MANIFEST)];
    let manifest = ask(&registry, "GET /v2/app/manifests/v1", &accept, "")
        .await
        .json();
    let layer = manifest["layers"][0]["mediaType"].as_str().unwrap();
    assert_eq!(layer, "application/vnd.oci.image.layer.v1.tar+gzip");
    assert!(
        registry
            .requests()
            .iter()
            .any(|request| request.method() == "PATCH")
    );
}

#[tokio::test]
async fn an_index_is_inspected_and_copied_whole() {
    let registry = TestRegistry::builder().start().await.unwrap();
    let pairs = ["linux/amd64", "linux/arm64/v8"].map(|text| {
        let image = Image::builder()
            .platform(text.parse().unwrap())
            .user("7")
            .build();
        (image.platform().clone(), image)
    });
    let digest = registry.push_index("base/app", "v1", &pairs).unwrap();
    let remote = format!("docker://{}/base/app:v1", registry.host());

    let Some(raw) = skopeo(&["inspect", "--tls-verify=false", "--raw", &remote]).await else {
        return;
    };
    let raw: Value = serde_json::from_str(&raw.unwrap()).unwrap();
    assert_eq!(raw["mediaType"], OCI_INDEX);
    assert_eq!(raw["manifests"][1]["platform"]["variant"], "v8");
    let arm = ["--override-arch", "arm64", "--override-variant", "v8"];
    let mut inspect = arm.to_vec();
    inspect.extend(["inspect", "--tls-verify=false", "--config", &remote]);
    let config: Value = serde_json::from_str(&skopeo(&inspect).await.unwrap().unwrap()).unwrap();
    assert_eq!(config["architecture"], "arm64");
    assert_eq!(config["config"]["User"], "7");

    let copy = format!("docker://{}/mirror/of/app:v1", registry.host());
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(&["copy", "--all", tls[0], tls[1], &remote, &copy])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(registry.digest("mirror/of/app", "v1"), Some(digest));

    let list = [
        "list-tags",
        "--tls-verify=false",
        &copy[..copy.len() - ":v1".len()],
    ];
    let tags: Value = serde_json::from_str(&skopeo(&list).await.unwrap().unwrap()).unwrap();
    assert_eq!(tags["Tags"], json!(["v1"]));
    skopeo(&["delete", "--tls-verify=false", &copy])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(registry.digest("mirror/of/app", "v1"), None);
}
