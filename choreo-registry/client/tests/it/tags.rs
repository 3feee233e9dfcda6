//! Listing tags, page by page.

use choreo_registry::{Credential, Digest, ImageReference};
use choreo_registry_client::{
    AccessClass, Comparison, ErrorKind, RegistryClient, transport::ScriptedTransport,
};
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
    // The host inside, the path inside, the scheme inside: the list is here all the same.
    for link in [
        r#"<https://evil.example/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<//evil.example/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<http://registry.example.com/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<https://registry.example.com:8443/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"</repository/docker/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<https://robot@evil.example/v2/team/app/tags/list?last=a#x>; rel="next""#,
    ] {
        let (transport, client) = scripted(&two(link));
        let list = client.tags(&app()).await.unwrap();
        assert_eq!((list.tags().len(), list.cut()), (2, None), "{link}");
        for request in transport.requests() {
            assert_eq!(request.uri().host(), Some("registry.example.com"), "{link}");
        }
    }
    for link in [
        r#"<https://evil.example/v2/team/other/tags/list?last=a>; rel="next""#,
        r#"<ftp://evil.example/v2/team/app/tags/list?last=a>; rel="next""#,
        r#"<https://registry.example.com.evil.example/?last=a>; rel="next""#,
        r#"<https://registry.example.com@evil.example/?last=a>; rel="next""#,
        r#"<data:text/plain,x>; rel="next""#,
        r#"<https://[>; rel="next""#,
    ] {
        let (transport, client) = scripted(&two(link));
        let list = client.tags(&app()).await.unwrap();
        assert_eq!(list.tags().len(), 1, "{link}");
        assert!(!list.is_complete() && list.cut().is_some(), "{link}");
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
    let back = [
        ("?n=1000", r#"<?last=a>; rel="next""#, r#"{"tags":["a"]}"#),
        ("?last=a", r#"<?n=1000>; rel="next""#, r#"{"tags":["b"]}"#),
    ];
    for (pages, count) in [
        (&[("?n=1000", itself, r#"{"tags":["a"]}"#)][..], 1),
        (&back, 2),
    ] {
        let list = scripted(pages).1.tags(&app()).await.unwrap();
        assert_eq!(list.tags().len(), count);
        let cut = Some("the registry's list of tags goes in circles");
        assert_eq!(list.cut(), cut);
    }
}

/// Guards that an incomplete list keeps the tags that were read, and reports that it is
/// incomplete.
#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_keeps_what_was_read() {
    let list = "https://registry.example.com/v2/team/app/tags/list";
    for (number, body) in [
        (400, ""),
        (401, ""),
        (404, ""),
        (429, ""),
        (503, ""),
        (200, "<html>"),
    ] {
        let first = http::Response::builder()
            .header("link", r#"<?last=a>; rel="next""#)
            .body(r#"{"tags":["a"]}"#)
            .unwrap();
        let second = http::Response::builder().status(number).body(body).unwrap();
        let transport = ScriptedTransport::new()
            .answer(
                "GET https://registry.example.com/v2/",
                http::Response::new(""),
            )
            .answer(&format!("GET {list}?n=1000"), first)
            .answer(&format!("GET {list}?last=a"), second);
        let host = "registry.example.com".parse().unwrap();
        let client = RegistryClient::new(host, None, Arc::new(transport));
        let tags = client.tags(&app()).await.unwrap();
        assert_eq!(tags.tags().len(), 1, "{number}");
        assert!(!tags.is_complete(), "{number}");
        assert!(tags.cut().unwrap().starts_with("registry "), "{number}");
    }
}

#[tokio::test]
async fn a_registry_that_refuses_the_size_of_a_page_chooses_it() {
    let list = "https://registry.example.com/v2/team/app/tags/list";
    let refused = r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}"#;
    let refused = http::Response::builder().status(400).body(refused).unwrap();
    let transport = ScriptedTransport::new()
        .answer(
            "GET https://registry.example.com/v2/",
            http::Response::new(""),
        )
        .answer(&format!("GET {list}?n=1000"), refused)
        .answer(
            &format!("GET {list}"),
            http::Response::new(r#"{"tags":["a","b"]}"#),
        );
    let host = "registry.example.com".parse().unwrap();
    let client = RegistryClient::new(host, None, Arc::new(transport));
    assert_eq!(client.tags(&app()).await.unwrap().tags().len(), 2);
}

/// Azure Container Registry lists tags for `metadata_read`, and Amazon ECR's policy to pull has no
/// right to list.
#[tokio::test]
async fn the_right_to_list_is_another_one() {
    let list = "https://registry.example.com/v2/team/app/tags/list";
    let asks = |value: &str| {
        http::Response::builder()
            .status(401)
            .header("www-authenticate", value)
            .body("")
            .unwrap()
    };
    let token = "https://registry.example.com/token?scope=repository%3Ateam%2Fapp%3A";
    let script = || {
        ScriptedTransport::new()
            .answer(
                "GET https://registry.example.com/v2/",
                asks(r#"Bearer realm="/token""#),
            )
            .answer(
                &format!("GET {token}pull"),
                http::Response::new(r#"{"token":"pull"}"#),
            )
            .answer(
                &format!("GET {token}metadata_read"),
                http::Response::new(r#"{"token":"list"}"#),
            )
    };
    let wants = r#"Bearer realm="/token",scope="repository:team/app:metadata_read""#;
    let client = |transport| {
        let credential = Credential::new("robot", PASSWORD).unwrap();
        let host = "registry.example.com".parse().unwrap();
        RegistryClient::new(host, Some(credential), Arc::new(transport))
    };
    let azure = script()
        .answer(&format!("GET {list}?n=1000"), asks(wants))
        .answer(
            &format!("GET {list}?n=1000"),
            http::Response::new(r#"{"tags":["1"]}"#),
        );
    assert_eq!(client(azure).tags(&app()).await.unwrap().tags().len(), 1);

    let denied = || http::Response::builder().status(403).body("").unwrap();
    let amazon = client(
        script()
            .answer(&format!("GET {list}?n=1000"), denied())
            .answer(&format!("GET {list}?n=1"), denied()),
    );
    let error = amazon.tags(&app()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("name a tag"), "{error}");
    let access = amazon.verify(Some(&app())).await;
    assert_eq!(access.class(), AccessClass::LoginAccepted);
    assert!(access.to_string().contains("name a tag"), "{access}");
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
