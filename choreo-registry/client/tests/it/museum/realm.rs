//! Token servers: any host that answers 401 names one, and requires the password there.

use choreo_registry_client::ErrorKind::{InvalidResponse, RealmNotTrusted};

use super::{Flaw, Outcome, RESOLVE, Scene, challenge, home, moved, page};

/// CVE-2026-33540: distribution, as a proxy, took its upstream's word for the token server and
/// logged in there. Guarded: a password goes to the registry's own origin, or where it was allowed.
#[tokio::test]
async fn cve_2026_33540_distribution_sent_the_password_to_the_realm() {
    let scene = Scene::new(Flaw::AnyRealm, RESOLVE, |request| {
        match request.uri().host() {
            Some("registry.example.com") => {
                challenge(r#"Bearer realm="https://evil.example/token""#)
            }
            _ => home(request),
        }
    });
    let scene = scene.held(RealmNotTrusted);
    scene
        .shows(|end| end.shown_to("https://evil.example/"))
        .await;
}

/// CVE-2026-48978: oras-go showed its credential to the realm of whatever registry it talked to.
/// Guarded: a realm without a scheme, which leads elsewhere all the same.
#[tokio::test]
async fn cve_2026_48978_oras_go_asked_any_realm() {
    let scene = Scene::new(Flaw::AnyRealm, RESOLVE, |request| {
        match request.uri().host() {
            Some("registry.example.com") => challenge(r#"Bearer realm="//evil.example/token""#),
            _ => home(request),
        }
    });
    scene.held(RealmNotTrusted).shows(Outcome::robbed).await;
}

/// CVE-2026-24845: malcontent, a scanner, gave its registry credential to a malicious image's
/// registry, by way of the realm. Guarded: a host that only begins like the registry's.
#[tokio::test]
async fn cve_2026_24845_malcontent_was_asked_by_a_registry_of_strangers() {
    let scene = Scene::new(Flaw::AnyRealm, RESOLVE, |request| match page(request) {
        url if url.starts_with("https://registry.example.com/") => {
            challenge(r#"Bearer realm="https://registry.example.com.evil.example/token""#)
        }
        _ => home(request),
    });
    scene.held(RealmNotTrusted).shows(Outcome::robbed).await;
}

/// jib #4523: jib sends its credential to any realm. Guarded: a realm with the registry's name
/// before an `@`.
#[tokio::test]
async fn jib_4523_read_no_realm_before_it_logged_in() {
    let scene = Scene::new(Flaw::AnyRealm, RESOLVE, |request| {
        match request.uri().host() {
            Some("registry.example.com") => {
                challenge(r#"Bearer realm="https://registry.example.com@evil.example/token""#)
            }
            _ => home(request),
        }
    });
    scene
        .held(RealmNotTrusted)
        .shows(|end| end.robbed() || end.visited("https://registry.example.com@"))
        .await;
}

/// go-containerregistry #2243: a realm could name any address of the inside. Guarded: the realm at
/// the cloud's metadata address.
#[tokio::test]
async fn ggcr_2243_asked_the_metadata_service_for_a_token() {
    let scene = Scene::new(Flaw::AnyRealm, RESOLVE, |request| {
        match request.uri().host() {
            Some("registry.example.com") => {
                challenge(r#"Bearer realm="http://169.254.169.254/token""#)
            }
            _ => home(request),
        }
    });
    scene
        .held(RealmNotTrusted)
        .shows(|end| end.visited("http://169.254.169.254/"))
        .await;
}

/// go-containerregistry #2285: the list of forbidden realms lacked 0.0.0.0, which is this machine.
/// Guarded: the unspecified address as a realm.
#[tokio::test]
async fn ggcr_2285_forgot_the_unspecified_address() {
    let scene = Scene::new(Flaw::MissesUnspecified, RESOLVE, |request| {
        match request.uri().host() {
            Some("registry.example.com") => challenge(r#"Bearer realm="https://0.0.0.0/token""#),
            _ => home(request),
        }
    });
    scene
        .held(RealmNotTrusted)
        .shows(|end| end.visited("https://0.0.0.0/"))
        .await;
}

/// go-containerregistry #2292: the realm was judged, the redirects of the token server were not.
/// Guarded: a good token server that redirects inside.
#[tokio::test]
async fn ggcr_2292_followed_the_token_server_inside() {
    let scene = Scene::new(Flaw::FollowsTokenServer, RESOLVE, |request| {
        match page(request).as_str() {
            "https://registry.example.com/token" => moved("https://169.254.169.254/latest/"),
            _ => home(request),
        }
    });
    scene
        .held(RealmNotTrusted)
        .shows(|end| end.visited("https://169.254.169.254/"))
        .await;
}

/// go-containerregistry #2425: 2130706433, 0x7f000001 and 127.1 passed every guard, because they
/// were compared as text. Guarded: an address in another spelling.
#[tokio::test]
async fn ggcr_2425_judged_addresses_by_their_text() {
    let scene = Scene::new(Flaw::JudgesText, RESOLVE, |request| {
        match request.uri().host() {
            Some("registry.example.com") => challenge(r#"Bearer realm="https://2130706433/token""#),
            _ => home(request),
        }
    });
    scene
        .held(RealmNotTrusted)
        .shows(|end| end.shown_to("https://127.0.0.1/"))
        .await;
}

/// regclient 39de02d: before it, a realm could change from https to http. Guarded: the registry's
/// own name and port, in plain text.
#[tokio::test]
async fn regclient_39de02d_let_a_realm_leave_https() {
    let scene = Scene::new(Flaw::RealmByHostName, RESOLVE, |request| {
        match request.uri().scheme_str() {
            Some("https") => challenge(r#"Bearer realm="http://registry.example.com:443/token""#),
            _ => home(request),
        }
    });
    scene
        .held(RealmNotTrusted)
        .shows(|end| end.shown_to("http://"))
        .await;
}

/// CVE-2019-10214: containers/image sent credentials to a token server without TLS. Guarded: a realm
/// of plain http at the registry's own name.
#[tokio::test]
async fn cve_2019_10214_containers_image_logged_in_without_tls() {
    let scene = Scene::new(Flaw::AnyRealm, RESOLVE, |request| {
        match request.uri().scheme_str() {
            Some("https") => challenge(r#"Bearer realm="http://registry.example.com/token""#),
            _ => home(request),
        }
    });
    scene
        .held(RealmNotTrusted)
        .shows(|end| end.shown_to("http://"))
        .await;
}

/// oras-go, seen in its source: a realm of the same host name passes, whatever its port. Guarded: a
/// token server at another port of the registry's host, which may be another's.
#[tokio::test]
async fn oras_go_took_every_port_for_the_registrys() {
    let scene = Scene::new(Flaw::RealmByHostName, RESOLVE, |request| {
        match request.uri().port_u16() {
            None => challenge(r#"Bearer realm="https://registry.example.com:8443/token""#),
            _ => home(request),
        }
    });
    scene.held(RealmNotTrusted).shows(Outcome::robbed).await;
}

/// distribution 3.1.0, seen in its source: a realm of the registry's domain passes. Guarded: a
/// neighbour under a vendor's domain, who is another customer.
#[tokio::test]
async fn distribution_3_1_took_the_neighbour_for_the_registry() {
    let scene = Scene::new(Flaw::RealmByDomain, RESOLVE, |request| {
        match request.uri().host() {
            Some("registry.example.com") => {
                challenge(r#"Bearer realm="https://neighbour.example.com/token""#)
            }
            _ => home(request),
        }
    });
    scene.held(RealmNotTrusted).shows(Outcome::robbed).await;
}

/// devcontainers/cli #1276: a challenge's parameters went into the query as they came, and could add
/// to it. Guarded: parameters are written as values.
#[tokio::test]
async fn devcontainers_1276_pasted_the_challenge_into_a_query() {
    let scene = Scene::new(Flaw::PastesParameters, RESOLVE, |request| {
        let has_login = request.headers().contains_key("authorization");
        match request.uri().path() {
            "/token" => home(request),
            _ if !has_login => challenge(r#"Bearer realm="/token",service="s&account=admin""#),
            _ => home(request),
        }
    });
    scene
        .shows(|end| end.seen(|request| request.uri().to_string().contains("&account=admin")))
        .await;
}

/// oci-client 0.17.0, seen in its source: a challenge that it cannot parse makes it send the password
/// to the registry. Guarded: a garbled Bearer challenge ends the login.
#[tokio::test]
async fn oci_client_sent_the_password_when_it_could_not_read() {
    let scene = Scene::new(Flaw::FallsBackToBasic, RESOLVE, |request| {
        let has_login = request.headers().contains_key("authorization");
        match has_login {
            false => challenge(r#"Bearer realm="https://registry.example.com/token"#),
            true => home(request),
        }
    });
    scene
        .held(InvalidResponse)
        .shows(|end| end.shown_to("https://registry.example.com/v2/"))
        .await;
}
