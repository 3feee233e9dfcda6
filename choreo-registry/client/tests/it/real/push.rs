//! Pushing by hand: one request, one connection, nothing of the client that is tested.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use choreo_registry::Digest;
use choreo_test_registry::{Image, Platform, parts::Manifest};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::PASSWORD;

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends `METHOD PATH` to a host on loopback; returns `None` if nothing answers.
#[expect(
    clippy::disallowed_methods,
    reason = "the test's own registry, on loopback"
)]
pub(super) async fn try_ask(
    host: &str,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(host).await.ok()?;
    let length = body.len();
    let mut request = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = answer[end + 4..].to_vec();
    Some(Answer { status, head, body })
}

/// Pushes to one repository.
pub(crate) struct Pusher {
    host: String,
    repository: String,
    authorization: Option<String>,
}

impl Pusher {
    pub(super) fn new(host: &str, repository: &str, authorization: Option<String>) -> Self {
        Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            authorization,
        }
    }

    /// Pushes an image under a tag, and returns its digest.
    pub(crate) async fn image(&self, tag: &str, image: &Image) -> Digest {
        for blob in image.layers().iter().chain([image.config()]) {
            self.blob(blob).await;
        }
        self.manifest(tag, &image.manifest()).await
    }

    /// Pushes images and an index of them under a tag, and returns its digest.
    pub(crate) async fn index(&self, tag: &str, images: &[(Platform, Image)]) -> Digest {
        let mut entries = Vec::new();
        for (platform, image) in images {
            let manifest = image.manifest();
            let digest = self.image(&image.digest(), image).await;
            let (os, architecture) = platform_parts(platform);
            entries.push(json!({
                "mediaType": manifest.media_type(),
                "digest": digest.as_str(),
                "size": manifest.bytes().len(),
                "platform": { "os": os, "architecture": architecture },
            }));
        }
        let index = "application/vnd.oci.image.index.v1+json";
        let content = json!({ "schemaVersion": 2, "mediaType": index, "manifests": entries });
        self.manifest(tag, &Manifest::new(index, content.to_string()))
            .await
    }

    /// Pushes a manifest under a tag or its digest, and returns its digest.
    pub(crate) async fn manifest(&self, reference: &str, manifest: &Manifest) -> Digest {
        let line = format!("PUT /v2/{}/manifests/{reference}", self.repository);
        let kind = [("content-type", manifest.media_type())];
        let answer = self.ask(&line, &kind, manifest.bytes()).await;
        assert_eq!(answer.status, 201, "{line}: {}", text(&answer.body));
        Digest::sha256_of(manifest.bytes())
    }

    async fn blob(&self, content: &[u8]) {
        let line = format!("POST /v2/{}/blobs/uploads/", self.repository);
        let started = self.ask(&line, &[], b"").await;
        assert_eq!(started.status, 202, "{line}: {}", text(&started.body));
        let place = started.header("location").unwrap();
        let place = place
            .strip_prefix(&format!("http://{}", self.host))
            .unwrap_or(place);
        let joint = if place.contains('?') { '&' } else { '?' };
        let digest = Digest::sha256_of(content);
        let line = format!("PUT {place}{joint}digest={digest}");
        let kind = [("content-type", "application/octet-stream")];
        let answer = self.ask(&line, &kind, content).await;
        assert_eq!(answer.status, 201, "{line}: {}", text(&answer.body));
    }

    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut headers = headers.to_vec();
        if let Some(value) = &self.authorization {
            headers.push(("authorization", value));
        }
        try_ask(&self.host, line, &headers, body).await.unwrap()
    }
}

/// The login of `robot`.
pub(super) fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("robot:{PASSWORD}")))
}

/// A token of the test registry's own server, for pushing.
pub(super) async fn token(host: &str, repository: &str) -> String {
    let line = format!("GET /token?service={host}&scope=repository:{repository}:pull,push");
    let login = basic();
    let answer = try_ask(host, &line, &[("authorization", &login)], b"").await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
    format!("Bearer {}", answer["token"].as_str().unwrap())
}

fn platform_parts(platform: &Platform) -> (String, String) {
    let text = platform.to_string();
    let (os, architecture) = text.split_once('/').unwrap();
    (os.to_owned(), architecture.to_owned())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
