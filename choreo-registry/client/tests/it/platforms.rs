//! The platforms and the configuration of an image, from each document that may state them.

use std::sync::Arc;

use choreo_registry::Digest;
use choreo_registry::image::ResolvedImage;
use choreo_registry_client::{
    ClientError, ErrorKind, RegistryClient, transport::ScriptedTransport,
};
use http::Response;

const ROOT: &str = "https://registry.example.com/v2";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that serves these documents by their digests.
struct Shelf(ScriptedTransport);

impl Shelf {
    fn new() -> Self {
        let ping = format!("GET {ROOT}/");
        Self(ScriptedTransport::new().answer(&ping, Response::new("")))
    }

    /// A document, and its digest.
    fn put(self, kind: &str, body: &str) -> (Self, Digest) {
        let digest = Digest::sha256_of(body.as_bytes());
        let place = if kind.is_empty() {
            "blobs"
        } else {
            "manifests"
        };
        let name = format!("GET {ROOT}/team/app/{place}/{digest}");
        (Self(self.0.answer(&name, served(kind, body))), digest)
    }

    /// An image with this configuration.
    fn single(self, config: &str) -> (Self, Digest, String) {
        let (shelf, config) = self.put("", config);
        let body = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{config}","size":3}},"layers":[]}}"#
        );
        let (shelf, digest) = shelf.put(MANIFEST, &body);
        (shelf, digest, body)
    }

    async fn resolve(self, kind: &str, body: &str) -> Result<ResolvedImage, ClientError> {
        let name = format!("GET {ROOT}/team/app/manifests/1");
        let transport = Arc::new(self.0.answer(&name, served(kind, body)));
        let host = "registry.example.com".parse().unwrap();
        let client = RegistryClient::new(host, None, transport);
        let image = "registry.example.com/team/app:1".parse().unwrap();
        client.resolve(&image).await
    }
}

fn served(kind: &str, body: &str) -> Response<String> {
    Response::builder()
        .header("content-type", kind)
        .body(body.to_owned())
        .unwrap()
}

fn index(entries: &[String]) -> String {
    let entries = entries.join(",");
    format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#)
}

fn entry(digest: &Digest, platform: &str) -> String {
    format!(r#"{{"digest":"{digest}","platform":{platform}}}"#)
}

fn platforms(image: &ResolvedImage) -> Vec<&str> {
    let platforms = image.platforms().iter();
    platforms.map(|platform| platform.as_str()).collect()
}

const CONFIG: &str = r#"{"os":"linux","architecture":"arm64","config":{"User":"10001"}}"#;
const ATTESTATION: &str = r#"{"os":"unknown","architecture":"unknown"}"#;

/// `docker build` on a Mac: no index, so that only the configuration tells the platform.
#[tokio::test]
async fn an_image_without_an_index_says_in_its_configuration_what_it_is_built_for() {
    let (shelf, _, body) = Shelf::new().single(CONFIG);
    let image = shelf.resolve(MANIFEST, &body).await.unwrap();
    assert_eq!(platforms(&image), ["linux/arm64"]);
    assert!(!image.runs_on(&"linux/amd64".parse().unwrap()));
    assert_eq!(image.user(), Some("10001"));
    assert_eq!(image.runs_as_root(), Some(false));
}

/// Guards that an image is resolved even if its configuration cannot be read, because the caller
/// did not request it.
#[tokio::test]
async fn a_configuration_that_cannot_be_read_leaves_the_platform_unknown() {
    let (_, _, body) = Shelf::new().single(CONFIG);
    let image = Shelf::new().resolve(MANIFEST, &body).await.unwrap();
    assert_eq!(platforms(&image), [""; 0]);
    assert!(image.runs_on(&"linux/amd64".parse().unwrap()));
    assert_eq!((image.user(), image.runs_as_root()), (None, None));

    let (shelf, _, body) = Shelf::new().single("{}");
    let image = shelf.resolve(MANIFEST, &body).await.unwrap();
    assert_eq!(platforms(&image), [""; 0]);
    assert_eq!(image.runs_as_root(), Some(true), "it was read");
}

#[tokio::test]
async fn entries_without_a_platform_and_indexes_in_indexes_are_looked_into() {
    let (shelf, arm, _) = Shelf::new().single(CONFIG);
    let amd = CONFIG.replace("arm64", "amd64");
    let (shelf, amd, _) = shelf.single(&amd);
    let (shelf, inner) = shelf.put(INDEX, &index(&[entry(&amd, "null")]));
    let body = index(&[
        entry(&arm, "null"),
        entry(&inner, "null"),
        entry(&arm, ATTESTATION),
        entry(&arm, r#"{"os":"linux","architecture":"s390x"}"#),
    ]);
    let image = shelf.resolve(INDEX, &body).await.unwrap();
    let mut found = platforms(&image);
    found.sort_unstable();
    assert_eq!(found, ["linux/amd64", "linux/arm64", "linux/s390x"]);
}

/// The one that cannot be read may be the one that runs.
#[tokio::test]
async fn an_index_with_an_unreadable_entry_may_run_anywhere() {
    let (_, arm, _) = Shelf::new().single(CONFIG);
    let body = index(&[
        entry(&arm, "null"),
        entry(&arm, r#"{"os":"linux","architecture":"s390x"}"#),
    ]);
    let image = Shelf::new().resolve(INDEX, &body).await.unwrap();
    assert_eq!(platforms(&image), [""; 0]);

    // A hall of mirrors ends.
    let mut shelf = Shelf::new();
    let mut inner = arm;
    for _ in 0..6 {
        (shelf, inner) = shelf.put(INDEX, &index(&[entry(&inner, "null")]));
    }
    let body = index(&[entry(&inner, "null")]);
    let image = shelf.resolve(INDEX, &body).await.unwrap();
    assert_eq!(platforms(&image), [""; 0]);
}

#[tokio::test]
async fn an_index_of_which_nothing_runs_is_no_image() {
    let (shelf, artifact, _) = Shelf::new().single("{}");
    for entries in [
        vec![entry(&artifact, ATTESTATION)],
        vec![entry(&artifact, ATTESTATION), entry(&artifact, "null")],
    ] {
        let copy = Shelf::new().single("{}").0;
        let error = copy.resolve(INDEX, &index(&entries)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
        assert_eq!(
            error.message(),
            "image \"registry.example.com/team/app:1\" cannot run: the index lists attestations or \
             other documents, and no image that a node can run"
        );
    }
    drop(shelf);
}

/// `docker buildx build`: an index of one image and its attestation.
#[tokio::test]
async fn the_one_image_of_an_index_says_whom_it_runs_as() {
    let (shelf, arm, _) = Shelf::new().single(CONFIG);
    let known = r#"{"os":"linux","architecture":"arm64"}"#;
    let one = [entry(&arm, known), entry(&arm, ATTESTATION)];
    let image = shelf.resolve(INDEX, &index(&one)).await.unwrap();
    assert_eq!(
        (platforms(&image), image.user()),
        (vec!["linux/arm64"], Some("10001"))
    );

    // One that cannot be read is resolved all the same.
    let image = Shelf::new().resolve(INDEX, &index(&one)).await.unwrap();
    assert_eq!(
        (platforms(&image), image.user()),
        (vec!["linux/arm64"], None)
    );
}
