//! Redirects, links and foreign layers: the headers that are sent along, and how far.

use choreo_registry_client::ErrorKind::{self, Blocked, InvalidResponse};
use http::{Response, header};

use super::{
    Answer, Flaw, INSPECT, Outcome, RESOLVE, Scene, TAGS, challenge, home, manifest, moved, page,
};

const MANIFEST: &str = "https://registry.example.com/v2/team/app/manifests/1";

/// GHSA-vh4v-2xq2-g5cg: oras-go kept `Authorization` when a redirect led to another port of the same
/// host. Guarded: the origin is scheme, host and port.
#[tokio::test]
async fn ghsa_vh4v_oras_go_kept_the_login_for_another_port() {
    let scene = Scene::new(Flaw::ComparesHostNames, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => {
                moved("https://registry.example.com:8443/blob")
            }
            "https://registry.example.com:8443/blob" => manifest(""),
            _ => home(request),
        }
    });
    scene.shows(Outcome::robbed).await;
}

/// go-containerregistry #2349: a fix (#2337) attached the token again after a redirect to another
/// host. Guarded: a removed header stays removed.
#[tokio::test]
async fn ggcr_2349_attached_the_token_again_elsewhere() {
    let scene = Scene::new(Flaw::KeepsAuthorization, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => {
                moved("https://storage.example/blob")
            }
            "https://storage.example/blob" => manifest(""),
            _ => home(request),
        }
    });
    scene
        .shows(|end| end.shown_to("https://storage.example/"))
        .await;
}

/// regclient 746d6cf: before it, the target of a redirect could request a login. Guarded: a 401 of
/// another host gets no login.
#[tokio::test]
async fn regclient_746d6cf_logged_in_where_it_was_redirected() {
    let scene = Scene::new(Flaw::AnswersAnyone, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => {
                moved("https://evil.example/blob")
            }
            MANIFEST => moved("https://evil.example/blob"),
            "https://evil.example/blob" if request.headers().contains_key("authorization") => {
                manifest("")
            }
            "https://evil.example/blob" => challenge("Basic realm=\"x\""),
            _ => home(request),
        }
    });
    let fell = |end: &Outcome| end.shown_to("https://evil.example/") || gave_password(end);
    scene.held(InvalidResponse).shows(fell).await;
}

/// Returns whether the registry received the password although it required a token, which an
/// attacker can also provoke.
fn gave_password(end: &Outcome) -> bool {
    end.seen(|request| {
        let shown = request.headers().get(header::AUTHORIZATION);
        request.uri().path().starts_with("/v2/")
            && shown.is_some_and(|value| value.to_str().unwrap().starts_with("Basic"))
    })
}

/// regclient 1a80807: before it, redirects went from https to http. Guarded: nothing leaves https.
#[tokio::test]
async fn regclient_1a80807_followed_from_https_to_http() {
    let scene = Scene::new(Flaw::FollowsToHttp, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST => moved("http://storage.example/blob"),
            _ => home(request),
        }
    });
    scene
        .held(Blocked)
        .shows(|end| end.visited("http://"))
        .await;
}

/// reqwest 0.12.28, seen in its source: the scheme was not compared, so a redirect from https to http
/// at the same port kept `Authorization`. Guarded: the same name and port over http.
#[tokio::test]
async fn reqwest_0_12_kept_the_login_from_https_to_http() {
    let scene = Scene::new(Flaw::ComparesHostNames, RESOLVE, |request| {
        match page(request).as_str() {
            MANIFEST if request.headers().contains_key("authorization") => {
                moved("http://registry.example.com:443/blob")
            }
            _ => home(request),
        }
    });
    scene
        .held(Blocked)
        .shows(|end| end.shown_to("http://"))
        .await;
}

/// CVE-2021-32690: Helm passed a repository's login on to the other domain that it was sent to.
/// Guarded: a password, as a token, stays at its origin.
#[tokio::test]
async fn cve_2021_32690_helm_passed_the_login_to_another_domain() {
    let scene = Scene::new(Flaw::KeepsAuthorization, RESOLVE, |request| {
        let has_login = request.headers().contains_key("authorization");
        match page(request).as_str() {
            url if url.starts_with("https://charts.example/") => manifest(""),
            _ if !has_login => challenge("Basic realm=\"x\""),
            MANIFEST => moved("https://charts.example/app"),
            _ => home(request),
        }
    });
    scene
        .shows(|end| end.shown_to("https://charts.example/"))
        .await;
}

/// CVE-2020-15157: containerd fetched foreign layers from the URLs of the manifest, and logged in
/// there if challenged. Guarded: foreign URLs are not fetched.
#[tokio::test]
async fn cve_2020_15157_containerd_logged_in_for_a_foreign_layer() {
    let scene = Scene::new(Flaw::FetchesForeignUrls, INSPECT, |request| {
        let has_login = request.headers().contains_key("authorization");
        match page(request).as_str() {
            MANIFEST if has_login => manifest(r#","urls":["https://evil.example/layer"]"#),
            "https://evil.example/layer" if !has_login => challenge("Basic realm=\"x\""),
            _ => home(request),
        }
    });
    scene
        .shows(|end| end.shown_to("https://evil.example/"))
        .await;
}

/// CVE-2014-5277: Docker fell back to plain http when https failed, and the login with it. Guarded:
/// a failure of TLS is the end.
#[tokio::test]
async fn cve_2014_5277_docker_fell_back_to_http() {
    let scene = Scene::new(Flaw::FallsBackToHttp, RESOLVE, |request| {
        match request.uri().scheme_str() {
            Some("https") => Err(choreo_registry_client::transport::TransportErrorKind::Tls),
            _ => home(request),
        }
    });
    scene
        .held(ErrorKind::Tls)
        .shows(|end| end.shown_to("http://"))
        .await;
}

fn linked(link: &str) -> Answer {
    let page = Response::builder().header(header::LINK, link);
    Ok(page.body(r#"{"tags":["1"]}"#.into()).unwrap())
}

/// GHSA-h7vf-4x9w-h99v: oras-go requested the next page of a list of tags from any host that the
/// list named. Guarded: pages are requested from the registry only.
#[tokio::test]
async fn ghsa_h7vf_oras_go_turned_the_page_elsewhere() {
    let scene = Scene::new(Flaw::FollowsAnyLink, TAGS, |request| {
        match request.uri().path() {
            "/v2/team/app/tags/list" if request.headers().contains_key("authorization") => {
                linked("<https://evil.example/page>; rel=\"next\"")
            }
            _ => home(request),
        }
    });
    scene
        .shows(|end| end.visited("https://evil.example/"))
        .await;
}

/// go-containerregistry #2332: the next page could be another port of the host. Guarded: default
/// ports are compared, too.
#[tokio::test]
async fn ggcr_2332_turned_the_page_to_another_port() {
    let scene = Scene::new(Flaw::FollowsAnyLink, TAGS, |request| {
        match request.uri().path() {
            "/v2/team/app/tags/list" if request.headers().contains_key("authorization") => {
                linked("<https://registry.example.com:8443/page>; rel=\"next\"")
            }
            _ => home(request),
        }
    });
    scene
        .shows(|end| end.visited("https://registry.example.com:8443/"))
        .await;
}
