//! Registries that lie, stall, break off or drown.

use std::time::{Duration, Instant};

use choreo_registry::Digest;
use choreo_registry_client::ErrorKind;
use choreo_test_registry::Fault;
use http::{Method, StatusCode};

use crate::{MANIFESTS, cart, client, image, kind, open, resolve};

#[tokio::test]
async fn lies_about_the_digest_are_found() {
    let registry = open().await;
    let client = client(&registry, None);
    let other = Digest::sha256_of(b"other").to_string();
    let digest = registry.digest("team/app", "1").unwrap();

    registry.inject(Fault::on(Method::GET, MANIFESTS).digest(&other));
    assert_eq!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::DigestMismatch
    );
    // The header is true, the body is another's.
    let body = String::from_utf8(cart().manifest().bytes().to_vec()).unwrap();
    registry.inject(Fault::on(Method::GET, MANIFESTS).body(format!("{body} ")));
    assert_eq!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::DigestMismatch
    );
    // Without the header the tag's digest is that of the bytes, and a pinned one still has to fit.
    registry.inject(
        Fault::on(Method::GET, MANIFESTS)
            .without_digest()
            .body(format!("{body} ")),
    );
    let error = kind(&client, &registry, &format!("team/app@{digest}")).await;
    assert_eq!(error, ErrorKind::DigestMismatch);
    // An empty or absent header claims nothing.
    for fault in [
        Fault::on(Method::GET, MANIFESTS).digest(""),
        Fault::on(Method::GET, MANIFESTS).without_digest(),
    ] {
        registry.inject(fault);
        let resolved = resolve(&client, &registry, "team/app:1").await.unwrap();
        assert_eq!(resolved.digest().as_str(), digest);
    }
}

#[tokio::test]
async fn a_lying_configuration_is_found() {
    let registry = open().await;
    registry.inject(
        Fault::on(Method::GET, "/v2/team/app/blobs/").body(r#"{"config":{"User":"root"}}"#),
    );
    let error = client(&registry, None)
        .inspect(&image(&registry, "team/app:1"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
}

#[tokio::test]
async fn huge_bodies_are_cut_off_announced_or_not() {
    let registry = open().await;
    let client = client(&registry, None);
    let huge = vec![b' '; 4 * 1024 * 1024 + 1];
    for chunked in [false, true] {
        let fault = Fault::on(Method::GET, MANIFESTS)
            .without_digest()
            .body(huge.clone());
        registry.inject(if chunked { fault.chunked() } else { fault });
        assert_eq!(
            kind(&client, &registry, "team/app:1").await,
            ErrorKind::TooLarge,
            "{chunked}"
        );
    }
}

#[tokio::test]
async fn slow_answers_end_at_the_deadline() {
    let registry = open().await;
    let client = client(&registry, None).with_timeout(Duration::from_millis(300));
    let faults = [
        Fault::on(Method::GET, MANIFESTS).delay(Duration::from_secs(20)),
        Fault::on(Method::GET, MANIFESTS).stall_after(10),
        Fault::on(Method::GET, "/v2/").delay(Duration::from_secs(20)),
    ];
    for fault in faults {
        registry.clear_faults();
        registry.inject(fault);
        let started = Instant::now();
        let error = resolve(&client, &registry, "team/app:1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_retryable());
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn broken_connections_are_repeated_and_then_unreachable() {
    let registry = open().await;
    for fault in [
        Fault::on(Method::GET, MANIFESTS).hang_up(),
        Fault::on(Method::GET, MANIFESTS).cut_after(10),
    ] {
        let client = client(&registry, None);
        registry.inject(fault.clone().times(2));
        registry.clear_requests();
        resolve(&client, &registry, "team/app:1").await.unwrap();
        let requests = registry.requests().len();
        assert_eq!(requests, 5, "the first question and the configuration too");

        // An unknown name, so that the client requests its manifest.
        registry.push("team/app", "2", &cart()).unwrap();
        registry.inject(fault.times(3));
        let error = resolve(&client, &registry, "team/app:2").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{:?}", error);
        assert!(error.is_retryable());
    }
    registry.shutdown().await;
}

#[tokio::test]
async fn nobody_at_home_is_unreachable() {
    let registry = open().await;
    let (client, image) = (client(&registry, None), image(&registry, "team/app:1"));
    let host = registry.host();
    registry.shutdown().await;
    let error = client.resolve(&image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(
        error.message(),
        format!("registry \"{host}\" cannot be reached: no connection")
    );
}

#[tokio::test]
async fn too_many_requests_carry_their_wait() {
    let registry = open().await;
    let busy = Fault::on(Method::GET, MANIFESTS).answer(StatusCode::TOO_MANY_REQUESTS);
    registry.inject(busy.header("retry-after", "17"));
    let error = resolve(&client(&registry, None), &registry, "team/app:1")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
    assert!(
        error.to_string().contains("try again in 17 seconds"),
        "{error}"
    );
}

#[tokio::test]
async fn manifests_that_can_be_read_in_two_ways_are_refused() {
    let registry = open().await;
    let client = client(&registry, None);
    let both = r#"{"schemaVersion":2,"manifests":[],"config":{"digest":"x"},"layers":[]}"#;
    for body in [both, r#"{"schemaVersion":1}"#, "not json"] {
        registry.inject(
            Fault::on(Method::GET, MANIFESTS)
                .without_digest()
                .body(body),
        );
        assert_eq!(
            kind(&client, &registry, "team/app:1").await,
            ErrorKind::UnsupportedImage,
            "{body}"
        );
    }
    registry.inject(
        Fault::on(Method::GET, MANIFESTS)
            .header("content-type", "application/vnd.oci.image.index.v1+json"),
    );
    assert_eq!(
        kind(&client, &registry, "team/app:1").await,
        ErrorKind::UnsupportedImage
    );
}
