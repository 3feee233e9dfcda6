//! Pages of firewalls: they refuse the platform's address, so they say nothing about the login, whichever
//! request they answer.

use choreo_registry_client::{AccessClass, ErrorKind};

use super::*;

const BLOCKED: &str = "<!doctype html><title>Access denied</title>";
const HTML: Headers<'_> = &[("content-type", "text/html; charset=UTF-8")];
const TOKEN: &str = "GET https://registry.example.com/token?service=s";
const HELP: &str = "check that the host is the registry's, and ask its operator whether a firewall or proxy in \
     front of it refuses this platform's address";

/// The error's kind and message, and its help.
async fn refused(transport: ScriptedTransport, password: Option<&str>) -> (String, String) {
    let image = "registry.example.com/team/app:1".parse().unwrap();
    let error = client(transport, password)
        .resolve(&image)
        .await
        .unwrap_err();
    (told(&error), error.help())
}

fn breaks(detail: &str) -> String {
    format!(
        "invalid-response: registry \"registry.example.com\" violates the protocol: \
         {detail}"
    )
}

/// A firewall in front of a token server must not send a developer to look for a new password.
#[tokio::test]
async fn a_page_of_a_token_server_is_not_about_the_login() {
    for (status, password) in [
        (400, Some("secret")),
        (403, Some("secret")),
        (403, None),
        (405, Some("secret")),
    ] {
        let transport = ScriptedTransport::new()
            .answer(ROOT, answer(401, &[("www-authenticate", BEARER)], ""))
            .answer(PULL, answer(status, HTML, BLOCKED))
            .answer(
                "POST https://registry.example.com/token",
                answer(status, HTML, BLOCKED),
            );
        let (told, help) = refused(transport, password).await;
        let detail = format!("its token server answers {status} with a web page");
        assert_eq!(told, breaks(&detail), "{status} {password:?}");
        assert_eq!(help, HELP, "{status} {password:?}");
    }
}

/// Some firewalls answer 200 with a page that wants a browser to run a script.
#[tokio::test]
async fn a_page_in_place_of_a_token_is_named() {
    let transport = ScriptedTransport::new()
        .answer(ROOT, answer(401, &[("www-authenticate", BEARER)], ""))
        .answer(PULL, answer(200, HTML, BLOCKED));
    let (told, help) = refused(transport, Some("secret")).await;
    assert_eq!(told, breaks("its token server answers 200 with a web page"));
    assert_eq!(help, HELP);
}

/// Cloudflare answers programs with a line of text where browsers get a page.
#[tokio::test]
async fn an_error_of_cloudflare_is_named() {
    let plain: Headers<'_> = &[
        ("content-type", "text/plain; charset=UTF-8"),
        ("server", "cloudflare"),
    ];
    let transport = ScriptedTransport::new()
        .answer(ROOT, answer(401, &[("www-authenticate", BEARER)], ""))
        .answer(PULL, answer(403, plain, "error code: 1010"));
    let (told, help) = refused(transport, Some("secret")).await;
    let detail = "its token server answers 403 with an error page of Cloudflare";
    assert_eq!(told, breaks(detail));
    assert_eq!(help, HELP);
    // The same server header is on every answer of a registry that Cloudflare serves.
    let transport = ScriptedTransport::new()
        .answer(ROOT, answer(401, &[("www-authenticate", BEARER)], ""))
        .answer(PULL, answer(403, plain, "incorrect username or password"));
    let (told, _) = refused(transport, Some("secret")).await;
    assert!(told.starts_with("credential-refused: "), "{told}");
}

#[tokio::test]
async fn a_page_of_the_root_is_not_about_the_login() {
    let basic: Headers<'_> = &[("www-authenticate", "Basic realm=\"x\"")];
    for status in [400, 403] {
        let transport = ScriptedTransport::new()
            .answer(ROOT, answer(401, basic, ""))
            .answer(ROOT, answer(status, HTML, BLOCKED));
        let access = client(transport, Some("secret")).verify(None).await;
        assert_eq!(access.class(), AccessClass::NotARegistry, "{status}");
        let told = format!("invalid-response: {}", access.message());
        assert_eq!(told, breaks("it answers with a web page"), "{status}");
        assert_eq!(access.help(), Some(HELP), "{status}");
    }
}

#[tokio::test]
async fn a_page_before_any_login_is_no_demand_for_one() {
    for password in [None, Some("secret")] {
        let transport = ScriptedTransport::new()
            .answer(ROOT, answer(403, HTML, BLOCKED))
            .answer(MANIFEST, answer(403, HTML, BLOCKED));
        let access = client(transport, password).verify(None).await;
        let told = format!("invalid-response: {}", access.message());
        assert_eq!(told, breaks("it answers with a web page"), "{password:?}");
        assert_eq!(access.help(), Some(HELP), "{password:?}");
    }
}

/// Proxies write a page for a wrong password, too: its status and its challenge are about the login.
#[tokio::test]
async fn a_page_with_status_401_is_about_the_login() {
    let basic = ("www-authenticate", "Basic realm=\"x\"");
    let page: Headers<'_> = &[basic, HTML[0]];
    let transport = ScriptedTransport::new()
        .answer(ROOT, answer(401, &[basic], ""))
        .answer(ROOT, answer(401, page, BLOCKED));
    let access = client(transport, Some("secret")).verify(None).await;
    assert_eq!(access.class(), AccessClass::CredentialRefused);

    let transport = ScriptedTransport::new()
        .answer(ROOT, answer(401, &[("www-authenticate", BEARER)], ""))
        .answer(TOKEN, answer(401, HTML, BLOCKED));
    let access = client(transport, Some("secret")).verify(None).await;
    assert_eq!(access.class(), AccessClass::CredentialRefused);
}

/// Two pieces of advice are right for a list of tags: the firewall, and a tag that needs no list.
#[tokio::test]
async fn a_page_in_place_of_a_tag_list_keeps_the_advice_to_name_a_tag() {
    let list = "GET https://registry.example.com/v2/team/app/tags/list?n=1000";
    let transport = open().answer(list, answer(403, HTML, BLOCKED));
    let image = "registry.example.com/team/app".parse().unwrap();
    let error = client(transport, None).tags(&image).await.unwrap_err();
    assert_eq!(
        told(&error),
        "denied: registry \"registry.example.com\" does not allow listing the tags of \
         \"registry.example.com/team/app\": it answers with a web page"
    );
    assert!(error.help().contains("firewall"), "{}", error.help());
    assert!(error.help().contains("name a tag"), "{}", error.help());
}

/// Guards that a page is recognized behind a response to `HEAD`, which has no body: the second time that an
/// image is resolved, and each time that a tag is compared, the first request is a `HEAD`.
#[tokio::test]
async fn a_page_in_place_of_a_head_is_a_page() {
    let plain: Headers<'_> = &[("content-type", "text/plain; charset=UTF-8")];
    for (headers, page, name) in [
        (HTML, BLOCKED, "a web page"),
        (plain, "error code: 1010", "an error page of Cloudflare"),
    ] {
        let transport = open()
            .answer(MANIFEST, answer(200, &[("content-type", INDEX)], index("")))
            .answer(MANIFEST, answer(403, headers, page))
            .answer(HEAD, answer(403, headers, ""));
        let client = client(transport, Some("secret"));
        let image = "registry.example.com/team/app:1".parse().unwrap();
        let known = client.resolve(&image).await.unwrap();
        let resolved = client.resolve(&image).await.unwrap_err();
        let compared = client.compare(&image, &known.digest()).await.unwrap_err();
        for error in [resolved, compared] {
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(error.message().contains(name), "{}", error.message());
            assert!(error.help().contains("firewall"), "{}", error.help());
        }
    }
}

/// Guards that a registry's own denial of a `HEAD` costs one request.
#[tokio::test]
async fn a_denied_head_is_not_repeated() {
    for headers in [&[][..], &[("content-type", "application/json")]] {
        let transport = Arc::new(open().answer(HEAD, answer(403, headers, "")));
        let host = "registry.example.com".parse().unwrap();
        let client = RegistryClient::new(host, None, Arc::clone(&transport) as _);
        let image = "registry.example.com/team/app:1".parse().unwrap();
        let error = client.compare(&image, &Digest::sha256_of(b"")).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Denied);
        let requests = transport.requests();
        assert_eq!(requests.last().unwrap().method(), "HEAD", "{headers:?}");
    }
}
