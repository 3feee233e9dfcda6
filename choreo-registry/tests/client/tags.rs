//! Listing tags, page by page.

use choreo_registry::client::{Comparison, ErrorKind, RegistryClient, ScriptedTransport};
use choreo_registry::{Credential, Digest, ImageReference};
use std::sync::Arc;

use crate::{PASSWORD, cart, client, guarded, image, open};

const LIST: &str = "GET https://registry.example.com/v2/team/app/tags/list";

fn scripted(pages: &[(&str, &str, &str)]) -> (Arc<ScriptedTransport>, RegistryClient) {
    let mut transport = ScriptedTransport::new().answer(
        "GET https://registry.example.com/v2/",
        http::Response::builder()
            .status(401)
            .header("www-authenticate", "Basic realm=\"x\"")
            .body("")
            .unwrap(),
    );
    for (query, link, body) in pages {
        let mut page = http::Response::builder();
        if !link.is_empty() {
            page = page.header("link", *link);
        }
        let page = page.body((*body).to_owned()).unwrap();
        transport = transport.answer(&format!("{LIST}{query}"), page);
    }
    let transport = Arc::new(transport);
    let credential = Credential::new("robot", PASSWORD).unwrap();
    let client = RegistryClient::new(
        "registry.example.com".parse().unwrap(),
        Some(credential),
        Arc::clone(&transport) as Arc<_>,
    );
    (transport, client)
}

fn app() -> ImageReference {
    "registry.example.com/team/app".parse().unwrap()
}

async fn tags(pages: &[(&str, &str, &str)]) -> Result<Vec<String>, ErrorKind> {
    let list = scripted(pages).1.tags(&app()).await;
    list.map(|list| list.tags().iter().map(ToString::to_string).collect())
        .map_err(|error| error.kind())
}

#[tokio::test]
async fn a_real_registry_lists_what_was_pushed() {
    let registry = open().await;
    registry.push("team/app", "2", &cart()).unwrap();
    let list = client(&registry, None)
        .tags(&image(&registry, "team/app:2"))
        .await
        .unwrap();
    assert!(list.is_complete());
    let names: Vec<_> = list.tags().iter().map(|tag| tag.as_str()).collect();
    assert_eq!(names, ["1", "2"]);
}

#[tokio::test]
async fn a_list_needs_the_right_to_pull() {
    let registry = guarded(true).await;
    let app = image(&registry, "team/app");
    assert!(client(&registry, Some(PASSWORD)).tags(&app).await.is_ok());
    let error = client(&registry, None).tags(&app).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let missing = image(&registry, "team/missing");
    let error = client(&registry, Some(PASSWORD))
        .tags(&missing)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn pages_are_followed_at_home_alone() {
    let two = |link| {
        [
            ("?n=1000", link, r#"{"tags":["a"]}"#),
            ("?last=a", "", r#"{"tags":["b"]}"#),
        ]
    };
    for link in [
        r#"</v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<?last=a>; rel="next""#,
        r#"<https://registry.example.com/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<https://registry.example.com:443/v2/team/app/tags/list?last=a>; rel="next""#,
    ] {
        assert_eq!(tags(&two(link)).await.unwrap(), ["a", "b"], "{link}");
    }
    for link in [
        r#"<https://evil.example/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<//evil.example/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<http://registry.example.com/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<https://registry.example.com:8443/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<https://registry.example.com.evil.example/?last=a>; rel="next""#,
        r#"<https://registry.example.com@evil.example/?last=a>; rel="next""#,
        r#"<data:text/plain,x>; rel="next""#,
        r#"<https://[>; rel="next""#,
    ] {
        let (transport, client) = scripted(&two(link));
        let error = client.tags(&app()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{link}");
        // The ping, the first page without and with the login, and nothing else.
        for request in transport.requests() {
            assert_eq!(request.uri().host(), Some("registry.example.com"), "{link}");
            assert!(!request.uri().to_string().contains("last"), "{link}");
        }
    }
}

#[tokio::test]
async fn circles_end() {
    let itself = r#"<?n=1000>; rel="next""#;
    let error = tags(&[("?n=1000", itself, r#"{"tags":["a"]}"#)]).await;
    assert_eq!(error, Err(ErrorKind::InvalidResponse));
    let back = [
        ("?n=1000", r#"<?last=a>; rel="next""#, r#"{"tags":["a"]}"#),
        ("?last=a", r#"<?n=1000>; rel="next""#, r#"{"tags":["b"]}"#),
    ];
    assert_eq!(tags(&back).await, Err(ErrorKind::InvalidResponse));
}

#[tokio::test]
async fn a_list_without_end_is_cut() {
    let links: Vec<_> = (0..101)
        .map(|page| format!(r#"<?page={}>; rel="next""#, page + 1))
        .collect();
    let queries: Vec<_> = (0..101)
        .map(|page| match page {
            0 => "?n=1000".to_owned(),
            page => format!("?page={page}"),
        })
        .collect();
    let pages: Vec<_> = queries
        .iter()
        .zip(&links)
        .map(|(query, link)| (query.as_str(), link.as_str(), r#"{"tags":["a"]}"#))
        .collect();
    let (transport, client) = scripted(&pages);
    let list = client.tags(&app()).await.unwrap();
    assert!(!list.is_complete());
    assert_eq!(list.tags().len(), 100);
    // The ping, and each page once.
    assert_eq!(transport.requests().len(), 101);
}

#[tokio::test]
async fn odd_lists_are_read_and_broken_ones_refused() {
    for (body, expected) in [
        (r#"{"name":"team/app","tags":null}"#, &[][..]),
        (r#"{"name":"team/app"}"#, &[]),
        (r#"{"tags":["1.0","-not a tag","2.0"]}"#, &["1.0", "2.0"]),
    ] {
        assert_eq!(tags(&[("?n=1000", "", body)]).await.unwrap(), expected);
    }
    for body in ["", "[]", "<html>", r#"{"tags":[1]}"#, r#"{"tags":"1"}"#] {
        let error = tags(&[("?n=1000", "", body)]).await.unwrap_err();
        assert_eq!(error, ErrorKind::InvalidResponse, "{body}");
    }
}

/// The last page may have as many as there is room for.
#[tokio::test]
async fn a_list_ends_at_its_bound_on_the_last_page_too() {
    for (count, kept, complete) in [(100_000, 100_000, true), (400_000, 100_000, false)] {
        let body = format!(r#"{{"tags":["a"{}]}}"#, r#","a""#.repeat(count - 1));
        let url = "https://registry.example.com/v2/team/app/tags/list?n=1000";
        let transport = ScriptedTransport::new()
            .answer(
                "GET https://registry.example.com/v2/",
                http::Response::new(""),
            )
            .answer(&format!("GET {url}"), http::Response::new(body));
        let host = "registry.example.com".parse().unwrap();
        let client = RegistryClient::new(host, None, Arc::new(transport));
        let list = client.tags(&app()).await.unwrap();
        assert_eq!((list.tags().len(), list.is_complete()), (kept, complete));
    }
}

#[tokio::test]
async fn a_tag_that_moved_is_seen_without_reading_it() {
    let registry = open().await;
    let client = client(&registry, None);
    let app = image(&registry, "team/app:1");
    let first = client.resolve(&app).await.unwrap().digest();
    assert_eq!(
        client.compare(&app, &first).await.unwrap(),
        Comparison::Same
    );

    let image = choreo_test_registry::Image::builder().user("other").build();
    registry.push("team/app", "1", &image).unwrap();
    let pinned = app.with_digest(first);
    let moved = client.compare(&pinned, &first).await.unwrap();
    let now = client.resolve(&app).await.unwrap().digest();
    assert_eq!(moved, Comparison::Moved(now));
    assert_ne!(now, first);

    let gone = crate::image(&registry, "team/app:gone");
    let error = client.compare(&gone, &first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn without_a_claim_the_bytes_decide() {
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    let digest = Digest::sha256_of(manifest.as_bytes());
    let other = Digest::sha256_of(b"other");
    for head in [
        http::Response::builder().status(200),
        http::Response::builder()
            .status(200)
            .header("docker-content-digest", ""),
        http::Response::builder().status(405),
        http::Response::builder().status(404),
    ] {
        let url = "https://registry.example.com/v2/team/app/manifests/latest";
        let transport = ScriptedTransport::new()
            .answer(
                "GET https://registry.example.com/v2/",
                http::Response::new(""),
            )
            .answer(&format!("HEAD {url}"), head.body("").unwrap())
            .answer(&format!("GET {url}"), http::Response::new(manifest));
        let client = RegistryClient::new(
            "registry.example.com".parse().unwrap(),
            None,
            Arc::new(transport),
        );
        let same = client.compare(&app(), &digest).await.unwrap();
        assert!(same.is_same());
        let moved = client.compare(&app(), &other).await.unwrap();
        assert_eq!(moved, Comparison::Moved(digest));
    }
}
