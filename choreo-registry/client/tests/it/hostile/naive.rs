//! The control: a client that believes what it is told, as many did. It sends the credential to
//! whatever realm a challenge names, answers a challenge wherever one comes from, and follows
//! redirects and links with its headers on.

use std::time::Instant;

use bytes::Bytes;
use choreo_registry_client::transport::{HttpTransport as _, Outbound};
use http::{Response, header};
use url::Url;

use super::stage::{Stage, credential};

/// Pulls a manifest, or lists tags: at most twelve requests.
pub(super) async fn pull(stage: &Stage) {
    let root = Url::parse(&stage.root()).unwrap();
    let mut url = root.join("v2/team/app/manifests/1").unwrap();
    let mut authorization = None;
    for _ in 0..6 {
        let Some(response) = get(stage, &url, authorization.as_deref()).await else {
            return;
        };
        if let Some(next) = leads(&response, &url) {
            url = next;
        } else if let Some(challenge) = value(&response, header::WWW_AUTHENTICATE) {
            authorization = login(stage, &url, &challenge).await;
        } else {
            return;
        }
    }
}

async fn login(stage: &Stage, url: &Url, challenge: &str) -> Option<String> {
    let basic = format!("Basic {}", *credential().expose_basic());
    let Some((_, after)) = challenge.split_once("realm=\"") else {
        return Some(basic);
    };
    if !challenge.to_ascii_lowercase().contains("bearer") {
        return Some(basic);
    }
    let mut realm = url.join(after.split('"').next()?).ok()?;
    for _ in 0..3 {
        let response = get(stage, &realm, Some(&basic)).await?;
        if let Some(next) = leads(&response, &realm) {
            realm = next;
            continue;
        }
        let answer: serde_json::Value = serde_json::from_slice(response.body()).ok()?;
        let token = answer["token"].as_str().or(answer["access_token"].as_str());
        return token.map(|token| format!("Bearer {token}"));
    }
    None
}

async fn get(stage: &Stage, url: &Url, authorization: Option<&str>) -> Option<Response<Bytes>> {
    url.host_str()
        .filter(|_| url.scheme().starts_with("http"))?;
    let mut request = http::Request::get(url.as_str());
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Bytes::new()).ok()?;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let deadline: Instant = deadline.into_std();
    let outbound = Outbound::new(request, 4 * 1024 * 1024, deadline);
    stage.send(outbound).await.ok()
}

/// A redirect or a link to more.
fn leads(response: &Response<Bytes>, url: &Url) -> Option<Url> {
    let location = value(response, header::LOCATION);
    let link = value(response, header::LINK);
    let link = link.and_then(|link| Some(link.strip_prefix('<')?.split('>').next()?.to_owned()));
    url.join(&location.or(link)?).ok()
}

fn value(response: &Response<Bytes>, name: header::HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}
