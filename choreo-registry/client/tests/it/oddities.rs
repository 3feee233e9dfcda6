//! Answers that proxies, gateways, storage and token servers give in a registry's place, or in a way
//! that few registries do: each has one meaning, and none makes a healthy image look broken.

mod pages;

use std::sync::Arc;

use choreo_registry::image::Platform;
use choreo_registry::{Credential, Digest};
use choreo_registry_client::{ClientError, RegistryClient, transport::ScriptedTransport};
use flate2::{Compression, write::GzEncoder};
use http::Response;
use std::io::Write as _;

const ROOT: &str = "GET https://registry.example.com/v2/";
const MANIFEST: &str = "GET https://registry.example.com/v2/team/app/manifests/1";
const HEAD: &str = "HEAD https://registry.example.com/v2/team/app/manifests/1";
const PULL: &str =
    "GET https://registry.example.com/token?service=s&scope=repository%3Ateam%2Fapp%3Apull";
const BEARER: &str = r#"Bearer realm="/token",service="s""#;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const PAGE: &str = "<!doctype html><title>Sign in</title>";

type Headers<'a> = &'a [(&'a str, &'a str)];

fn answer(status: u16, headers: Headers<'_>, body: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    let builder = Response::builder().status(status);
    let builder = headers.iter().fold(builder, |builder, (name, value)| {
        builder.header(*name, *value)
    });
    builder.body(body.into()).unwrap()
}

fn index(media_type: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,{media_type}"manifests":[{{"digest":"sha256:{ZEROS}","platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
    )
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn open() -> ScriptedTransport {
    ScriptedTransport::new().answer(ROOT, answer(200, &[], "{}"))
}

fn client(transport: ScriptedTransport, password: Option<&str>) -> RegistryClient {
    let credential = password.map(|password| Credential::new("robot", password).unwrap());
    let host = "registry.example.com".parse().unwrap();
    RegistryClient::new(host, credential, Arc::new(transport)).with_retries(1)
}

fn told(error: &ClientError) -> String {
    format!("{}: {}", error.kind(), error.message())
}

/// The platforms, or the kind of the error and its message.
async fn resolved(client: &RegistryClient, image: &str) -> String {
    match client.resolve(&image.parse().unwrap()).await {
        Ok(image) => image.platforms().iter().map(Platform::as_str).collect(),
        Err(error) => told(&error),
    }
}

async fn read(manifest: Response<Vec<u8>>) -> String {
    let client = client(open().answer(MANIFEST, manifest), None);
    resolved(&client, "registry.example.com/team/app:1").await
}

const READ: &str = "linux/amd64";

/// Storage and proxies write a type of their own: the document says what it is.
#[tokio::test]
async fn a_generic_content_type_leaves_it_to_the_document() {
    let own = format!(r#""mediaType":"{INDEX}","#);
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "application/octet-stream",
        "Application/Octet-Stream",
        "binary/octet-stream",
        "text/plain;charset=UTF-8",
        "text/json",
        "",
    ] {
        let typed = read(answer(200, &[("content-type", kind)], index(&own))).await;
        assert_eq!(typed, READ, "{kind}");
        let silent = read(answer(200, &[("content-type", kind)], index(""))).await;
        assert!(
            silent.starts_with("unsupported-image: "),
            "{kind}: {silent}"
        );
    }
}

#[tokio::test]
async fn a_digest_header_that_is_none_is_passed_over() {
    let body = index("");
    let digest = Digest::sha256_of(body.as_bytes()).to_string();
    for header in [
        digest.as_str(),
        &digest.to_ascii_uppercase(),
        &format!("\"{digest}\""),
        "",
        "md5:0",
    ] {
        let headers = [("content-type", INDEX), ("docker-content-digest", header)];
        assert_eq!(
            read(answer(200, &headers, body.as_str())).await,
            READ,
            "{header}"
        );
    }
}

/// Guards that a sign-in page in front of a registry is not reported as a damaged image.
#[tokio::test]
async fn a_web_page_in_place_of_a_manifest_is_not_the_registrys() {
    for (name, reference) in [("1", ":1".to_owned()), (ZEROS, format!("@sha256:{ZEROS}"))] {
        let name = if name == ZEROS {
            format!("sha256:{ZEROS}")
        } else {
            name.to_owned()
        };
        let asked = format!("GET https://registry.example.com/v2/team/app/manifests/{name}");
        let page = answer(200, &[("content-type", "Text/HTML; charset=utf-8")], PAGE);
        let client = client(open().answer(&asked, page), None);
        assert_eq!(
            resolved(
                &client,
                &format!("registry.example.com/team/app{reference}")
            )
            .await,
            "invalid-response: registry \"registry.example.com\" violates the protocol: it answers with a web page"
        );
    }
}

#[tokio::test]
async fn what_is_compressed_unasked_is_read_or_told_apart_from_a_damaged_image() {
    let body = index("");
    let digest = Digest::sha256_of(body.as_bytes()).to_string();
    let with = |encoding: &str, content: Vec<u8>| {
        let headers = [
            ("content-type", INDEX),
            ("docker-content-digest", digest.as_str()),
            ("content-encoding", encoding),
        ];
        answer(200, &headers, content)
    };
    assert_eq!(read(with("gzip", gzip(&body))).await, READ);
    assert_eq!(read(with("identity", body.clone().into())).await, READ);
    // It says so and does not do it.
    assert_eq!(read(with("br", body.clone().into())).await, READ);
    for encoding in ["br", "zstd", "deflate", "gzip, br"] {
        let told = read(with(encoding, b"\x1b\x02\x03".to_vec())).await;
        assert_eq!(
            told,
            format!(
                "invalid-response: registry \"registry.example.com\" violates the protocol: it compresses its answer in a way that was not asked for, {encoding:?}"
            )
        );
    }
    for plain in ["identity", "aws-chunked"] {
        let damaged = read(with(plain, b"{}".to_vec())).await;
        assert!(damaged.starts_with("digest-mismatch: "), "{damaged}");
    }
}

/// Guards that content with the right digest is attributed to the registry, whatever its headers
/// say.
#[tokio::test]
async fn content_that_matches_its_digest_is_judged_by_itself() {
    let body = r#"{"schemaVersion":1,"name":"team/app"}"#;
    let digest = Digest::sha256_of(body.as_bytes()).to_string();
    for odd in [("content-type", "text/html"), ("content-encoding", "br")] {
        let headers = [("docker-content-digest", digest.as_str()), odd];
        let told = read(answer(200, &headers, body)).await;
        assert!(told.starts_with("unsupported-image: "), "{odd:?}: {told}");
    }
}

/// A proxy that goes away in the middle: the next answer is whole.
#[tokio::test]
async fn a_compressed_answer_without_its_end_is_asked_for_again() {
    let body = index("");
    let whole = gzip(&body);
    let headers = [("content-type", INDEX), ("content-encoding", "gzip")];
    for kept in [whole.len() - 9, whole.len() - 1, 12] {
        let transport = open()
            .answer(MANIFEST, answer(200, &headers, &whole[..kept]))
            .answer(MANIFEST, answer(200, &headers, whole.clone()));
        let client = client(transport, None);
        assert_eq!(
            resolved(&client, "registry.example.com/team/app:1").await,
            READ,
            "{kept}"
        );
    }
}

#[tokio::test]
async fn refusals_are_told_by_who_gives_them() {
    let json: Headers<'_> = &[("content-type", "application/json")];
    let html: Headers<'_> = &[("content-type", "text/html")];
    let past: Headers<'_> = &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")];
    let far: Headers<'_> = &[("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT")];
    let denied = r#"{"errors":[{"code":"DENIED"}]}"#;
    for (status, headers, body, expected) in [
        (
            403,
            html,
            PAGE,
            "denied: registry \"registry.example.com\" does not allow pulling \
          \"registry.example.com/team/app:1\": it answers with a web page",
        ),
        (
            403,
            json,
            denied,
            "denied: registry \"registry.example.com\" does not allow pulling \
          \"registry.example.com/team/app:1\"",
        ),
        (
            410,
            json,
            "{}",
            "not-found: image \"registry.example.com/team/app:1\" was not found",
        ),
        (
            429,
            past,
            "",
            "rate-limited: registry \"registry.example.com\" has received too many requests",
        ),
        (
            429,
            far,
            PAGE,
            "rate-limited: registry \"registry.example.com\" has received too many requests",
        ),
        (
            451,
            html,
            PAGE,
            "invalid-response: registry \"registry.example.com\" violates the protocol: it answers with a web page",
        ),
    ] {
        assert_eq!(
            read(answer(status, headers, body)).await,
            expected,
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_refusal_by_a_web_page_is_not_laid_upon_the_login_alone() {
    let page = answer(403, &[("content-type", "text/html")], PAGE);
    let client = client(open().answer(MANIFEST, page), None);
    let image = "registry.example.com/team/app:1".parse().unwrap();
    let error = client.resolve(&image).await.unwrap_err();
    assert!(
        error.help().contains("firewall or proxy"),
        "{}",
        error.help()
    );
}

#[tokio::test]
async fn token_servers_answer_in_many_ways() {
    for (status, body, expected) in [
        (
            200,
            r#"{"token":"","access_token":"t","expires_in":0}"#,
            READ,
        ),
        (
            200,
            r#"{"token":"t","access_token":"","expires_in":"300"}"#,
            READ,
        ),
        (
            200,
            r#"{"access_token":"t","token_type":"bearer","expires_in":null}"#,
            READ,
        ),
        (201, r#"{"token":"t"}"#, READ),
        (203, r#"{"token":"t"}"#, READ),
        (
            200,
            PAGE,
            "invalid-response: registry \"registry.example.com\" violates the protocol: its token server's answer is refused, it is not a JSON object with a token",
        ),
        (
            204,
            "",
            "invalid-response: registry \"registry.example.com\" violates the protocol: its token server's answer is refused, it is not a JSON object with a token",
        ),
    ] {
        let transport = ScriptedTransport::new()
            .answer(ROOT, answer(401, &[("www-authenticate", BEARER)], ""))
            .answer(PULL, answer(status, &[], body))
            .answer(MANIFEST, answer(200, &[("content-type", INDEX)], index("")));
        let client = client(transport, Some("secret"));
        let seen = resolved(&client, "registry.example.com/team/app:1").await;
        assert_eq!(seen, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn several_challenges_and_odd_realms_lead_to_the_token_server() {
    let at = |query: &str| format!("GET https://registry.example.com/token?{query}");
    let scope = "scope=repository%3Ateam%2Fapp%3Apull";
    for (challenges, asked) in [
        (
            &[r#"Basic realm="x""#, BEARER][..],
            at(&format!("service=s&{scope}")),
        ),
        (
            &["Negotiate", "NTLM", BEARER],
            at(&format!("service=s&{scope}")),
        ),
        (
            &[r#"Bearer realm="/token?account=a%20b&x""#],
            at(&format!("account=a%20b&x&{scope}")),
        ),
        (
            &[r#"Bearer realm="/token?",service="s""#],
            at(&format!("service=s&{scope}")),
        ),
        (
            &[r#"Bearer error="invalid_token",realm="/token""#],
            at(scope),
        ),
    ] {
        let headers: Vec<_> = challenges
            .iter()
            .map(|one| ("www-authenticate", *one))
            .collect();
        let transport = ScriptedTransport::new()
            .answer(ROOT, answer(401, &headers, ""))
            .answer(&asked, answer(200, &[], r#"{"token":"t"}"#))
            .answer(MANIFEST, answer(200, &[("content-type", INDEX)], index("")));
        let client = client(transport, Some("secret"));
        let seen = resolved(&client, "registry.example.com/team/app:1").await;
        assert_eq!(seen, READ, "{challenges:?}");
    }
}

/// The second look at a tag is a HEAD: where that tells nothing, the manifest is read.
#[tokio::test]
async fn a_head_that_tells_nothing_is_followed_by_a_get() {
    for head in [
        answer(404, &[], ""),
        answer(405, &[("allow", "GET")], ""),
        answer(400, &[], ""),
        answer(501, &[], ""),
        answer(200, &[], ""),
        answer(200, &[("docker-content-digest", "")], ""),
        answer(200, &[("content-type", "text/html")], ""),
        answer(204, &[], ""),
    ] {
        let status = head.status();
        let transport = open()
            .answer(MANIFEST, answer(200, &[("content-type", INDEX)], index("")))
            .answer(HEAD, head);
        let client = client(transport, None);
        for look in [1, 2] {
            let seen = resolved(&client, "registry.example.com/team/app:1").await;
            assert_eq!(seen, READ, "{status}, look {look}");
        }
        let digest = Digest::sha256_of(index("").as_bytes());
        let image = "registry.example.com/team/app:1".parse().unwrap();
        assert!(
            client.compare(&image, &digest).await.unwrap().is_same(),
            "{status}"
        );
    }
}

#[tokio::test]
async fn tag_lists_go_on_wherever_the_link_is_relative_to() {
    let list = "GET https://registry.example.com/v2/team/app/tags/list";
    for link in [
        "?n=2&last=b",
        "list?n=2&last=b",
        "./list?n=2&last=b",
        "/v2/team/app/tags/list?n=2&last=b",
        "v2/team/app/tags/list?n=2&last=b",
        "//inside.example.net/v2/team/app/tags/list?n=2&last=b",
        "http://inside.example.net:8081/repository/hub/v2/team/app/tags/list?n=2&last=b",
    ] {
        let link = format!("<{link}>; rel=next");
        let transport = open()
            .answer(
                &format!("{list}?n=1000"),
                answer(200, &[("link", &link)], r#"{"tags":["a","b"]}"#),
            )
            .answer(
                &format!("{list}?n=2&last=b"),
                answer(200, &[], r#"{"tags":["c"]}"#),
            );
        let tags = client(transport, None)
            .tags(&"registry.example.com/team/app".parse().unwrap())
            .await
            .unwrap();
        assert_eq!((tags.tags().len(), tags.is_complete()), (3, true), "{link}");
    }
}

#[tokio::test]
async fn a_page_size_is_refused_by_several_statuses() {
    let list = "GET https://registry.example.com/v2/team/app/tags/list";
    for status in [400, 413, 416, 422] {
        let transport = open()
            .answer(&format!("{list}?n=1000"), answer(status, &[], ""))
            .answer(list, answer(200, &[], r#"{"tags":["a"]}"#));
        let tags = client(transport, None)
            .tags(&"registry.example.com/team/app".parse().unwrap())
            .await;
        assert_eq!(
            tags.map(|tags| tags.tags().len())
                .map_err(|error| told(&error)),
            Ok(1),
            "{status}"
        );
    }
}
