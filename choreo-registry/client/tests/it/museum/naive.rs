//! The naive twin: a registry client as one writes it, with one mistake at a time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use choreo_registry::Digest;
use choreo_registry_client::transport::{HttpTransport as _, Outbound, TransportErrorKind};
use http::{Request, Response, header};
use serde_json::Value;
use url::{Host, Url};

use super::{Internet, Task, robot};

/// The mistakes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flaw {
    /// Answers the challenge of the target of a redirect.
    AnswersAnyone,
    /// Asks any realm for a token, and shows it the password.
    AnyRealm,
    /// Takes the digest from a header.
    BelievesHeader,
    /// Keeps `Authorization` while the host's name is the same.
    ComparesHostNames,
    /// Repeats a remote body in its error.
    EchoesBody,
    /// Sends the password itself when it cannot read a Bearer challenge.
    FallsBackToBasic,
    /// Speaks plain HTTP to a host whose TLS fails.
    FallsBackToHttp,
    /// Gets layers from the URLs that a manifest names.
    FetchesForeignUrls,
    /// Follows `Link` to any host.
    FollowsAnyLink,
    /// Follows redirects from https to http.
    FollowsToHttp,
    /// Follows the redirects of a token server.
    FollowsTokenServer,
    /// Accepts any content for a requested digest.
    IgnoresPin,
    /// Judges an address by its text.
    JudgesText,
    /// Judges no address.
    JudgesNothing,
    /// Keeps `Authorization` on every redirect.
    KeepsAuthorization,
    /// Sends its login to the host of any requested image.
    LoginForAnyImage,
    /// Does not know 0.0.0.0 for this machine.
    MissesUnspecified,
    /// Reads `0177` as 177.
    OctalAsDecimal,
    /// Writes a digest into a path as it came.
    PastesDigests,
    /// Writes a challenge's parameters into a query as they came.
    PastesParameters,
    /// Reads bodies to their end.
    ReadsWithoutBound,
    /// Trusts every realm of the registry's domain.
    RealmByDomain,
    /// Trusts every realm of the registry's host name.
    RealmByHostName,
    /// Reserves as much memory as a manifest announces.
    ReservesAnnounced,
    /// Takes a document that is image and index at once.
    TakesAmbiguous,
    /// Takes an empty `token` before a full `access_token`.
    TakesEmptyToken,
    /// Shares tokens by registry alone.
    TokensByRegistry,
    /// Wants a list of tags to be one.
    WantsTags,
}

pub(super) type Tokens = Arc<Mutex<HashMap<String, String>>>;

#[derive(Debug)]
pub(super) struct Naive {
    host: &'static str,
    flaw: Option<Flaw>,
    internet: Arc<Internet>,
    basic: String,
    tokens: Tokens,
}

type Fetched = Result<(Url, Response<Bytes>), String>;

impl Naive {
    pub(super) fn new(host: &'static str, flaw: Option<Flaw>, internet: Arc<Internet>) -> Self {
        Self {
            host,
            flaw,
            internet,
            basic: format!("Basic {}", *robot().expose_basic()),
            tokens: Tokens::default(),
        }
    }

    /// The same client for another login, with the cache of tokens that all share.
    pub(super) fn with_login(self, basic: String, tokens: &Tokens) -> Self {
        let tokens = Arc::clone(tokens);
        Self {
            basic,
            tokens,
            ..self
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(super) async fn run(&self, task: Task) -> Result<String, String> {
        let image = task.image();
        let host = match image.domain() {
            host if self.has(Flaw::LoginForAnyImage) || host == self.host => host,
            other => return Err(format!("{other} is another registry")),
        };
        let root = format!("https://{host}/v2/{}", image.repository());
        match task {
            Task::Tags(_) => self.tags(&root).await,
            Task::Resolve(_) | Task::Inspect(_) => {
                let pin = image.digest().map(|digest| digest.to_string());
                let tag = image.tag().map(|tag| tag.to_string());
                let name = pin.clone().or(tag).unwrap();
                let url = format!("{root}/manifests/{name}");
                let (digest, manifest) = self.manifest(&url, pin).await?;
                if let Task::Inspect(_) = task {
                    self.inspect(&root, &manifest).await?;
                }
                Ok(digest)
            }
        }
    }

    async fn manifest(&self, url: &str, pin: Option<String>) -> Result<(String, Value), String> {
        let (_, response) = self.get(url).await?;
        let body = response.body();
        let header = response.headers().get("docker-content-digest");
        let claimed = header.map(|value| value.to_str().unwrap().to_owned());
        let digest = Digest::sha256_of(body).to_string();
        let differs = |other: &Option<String>| other.as_ref().is_some_and(|it| *it != digest);
        let document: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if !self.has(Flaw::TakesAmbiguous)
            && !document["manifests"].is_null()
            && !document["layers"].is_null()
        {
            return Err("image and index".to_owned());
        }
        if self.has(Flaw::BelievesHeader) {
            return Ok((claimed.unwrap_or(digest), document));
        }
        if self.has(Flaw::IgnoresPin) {
            return Ok((pin.unwrap_or(digest), document));
        }
        if differs(&claimed) || differs(&pin) {
            return Err("another digest".to_owned());
        }
        Ok((digest, document))
    }

    async fn inspect(&self, root: &str, manifest: &Value) -> Result<(), String> {
        let config = &manifest["config"];
        let digest = config["digest"].as_str().unwrap();
        if !self.has(Flaw::PastesDigests) {
            digest
                .parse::<Digest>()
                .map_err(|error| error.to_string())?;
        }
        if self.has(Flaw::ReservesAnnounced) {
            let size = usize::try_from(config["size"].as_u64().unwrap()).unwrap();
            let reserved = Vec::<u8>::new().try_reserve_exact(size);
            reserved.map_err(|_| "out of memory: this would have been a panic".to_owned())?;
        }
        self.get(&format!("{root}/blobs/{digest}")).await?;
        if self.has(Flaw::FetchesForeignUrls) {
            for layer in manifest["layers"].as_array().unwrap() {
                for url in layer["urls"].as_array().unwrap() {
                    self.get(url.as_str().unwrap()).await?;
                }
            }
        }
        Ok(())
    }

    async fn tags(&self, root: &str) -> Result<String, String> {
        let mut url = format!("{root}/tags/list");
        let mut found = String::new();
        loop {
            let (at, response) = self.get(&url).await?;
            let list: Value =
                serde_json::from_slice(response.body()).map_err(|error| error.to_string())?;
            if self.has(Flaw::WantsTags) && !list["tags"].is_array() {
                return Err("expected a sequence".to_owned());
            }
            found += &list["tags"].to_string();
            let Some(link) = response.headers().get(header::LINK) else {
                return Ok(found);
            };
            let link = link.to_str().unwrap();
            let next = link.split(['<', '>']).nth(1).unwrap();
            let next = at.join(next).map_err(|error| error.to_string())?;
            if next.origin() != at.origin() && !self.has(Flaw::FollowsAnyLink) {
                return Err("a page elsewhere".to_owned());
            }
            url = next.to_string();
        }
    }

    /// Gets a page, with a login if the responding host requires one.
    async fn get(&self, url: &str) -> Fetched {
        let authorization = self.known_token();
        let (at, response) = self.follow(url, authorization).await?;
        let (at, response) = match response.headers().get(header::WWW_AUTHENTICATE) {
            Some(challenge) => {
                let start = Url::parse(url).unwrap();
                if at.origin() != start.origin() && !self.has(Flaw::AnswersAnyone) {
                    return Err("a login for somebody else".to_owned());
                }
                let challenge = challenge.to_str().unwrap();
                let authorization = self.log_in(&at, challenge).await?;
                let again = if self.has(Flaw::AnswersAnyone) {
                    at.as_str()
                } else {
                    url
                };
                self.follow(again, Some(authorization)).await?
            }
            None => (at, response),
        };
        if response.status().is_success() {
            return Ok((at, response));
        }
        let body = String::from_utf8_lossy(response.body());
        Err(match self.flaw {
            Some(Flaw::EchoesBody) => format!("{}: {body}", response.status()),
            _ => response.status().to_string(),
        })
    }

    fn known_token(&self) -> Option<String> {
        self.tokens.lock().unwrap().get(&self.cache_key()).cloned()
    }

    fn cache_key(&self) -> String {
        if self.has(Flaw::TokensByRegistry) {
            self.host.to_owned()
        } else {
            format!("{} {}", self.host, self.basic)
        }
    }

    async fn log_in(&self, at: &Url, challenge: &str) -> Result<String, String> {
        if challenge.starts_with("Basic") {
            return Ok(self.basic.clone());
        }
        let Some(raw) = parameter(challenge, "realm") else {
            return match self.flaw {
                Some(Flaw::FallsBackToBasic) => Ok(self.basic.clone()),
                _ => Err("no realm".to_owned()),
            };
        };
        let mut realm = at.join(raw).map_err(|error| error.to_string())?;
        self.judge_realm(at, raw, &realm)?;
        let service = parameter(challenge, "service").unwrap_or_default();
        if self.has(Flaw::PastesParameters) {
            realm = Url::parse(&format!("{realm}?service={service}")).unwrap();
        } else {
            realm.query_pairs_mut().append_pair("service", service);
        }
        let basic = Some(self.basic.clone());
        let (_, response) = if self.has(Flaw::FollowsTokenServer) {
            self.follow(realm.as_str(), basic).await?
        } else {
            let response = self.send(&realm, basic.as_ref()).await?;
            (realm, response)
        };
        let answer: Value =
            serde_json::from_slice(response.body()).map_err(|error| error.to_string())?;
        let token = [&answer["token"], &answer["access_token"]]
            .into_iter()
            .filter_map(Value::as_str)
            .find(|token| self.has(Flaw::TakesEmptyToken) || !token.is_empty());
        let token = format!("Bearer {}", token.ok_or("no token")?);
        self.tokens
            .lock()
            .unwrap()
            .insert(self.cache_key(), token.clone());
        Ok(token)
    }

    fn judge_realm(&self, at: &Url, raw: &str, realm: &Url) -> Result<(), String> {
        let domain = |url: &Url| {
            let host = url.host_str().unwrap_or_default().to_owned();
            let labels: Vec<_> = host.rsplitn(3, '.').take(2).map(str::to_owned).collect();
            labels
        };
        let trusted = match self.flaw {
            Some(Flaw::AnyRealm) => true,
            Some(Flaw::RealmByDomain) => domain(at) == domain(realm),
            Some(Flaw::RealmByHostName) => at.host_str() == realm.host_str(),
            Some(Flaw::JudgesText | Flaw::MissesUnspecified) => self.judge(raw, realm).is_ok(),
            _ => at.origin() == realm.origin(),
        };
        trusted.then_some(()).ok_or("a realm elsewhere".to_owned())
    }

    /// Returns whether an address may be dialled: `raw` is its original spelling, `url` the parsed
    /// one.
    fn judge(&self, raw: &str, url: &Url) -> Result<(), String> {
        let written = raw.split("://").nth(1).unwrap_or_default();
        let written = written.split(['/', ':']).next().unwrap_or_default();
        let inside = match self.flaw {
            Some(Flaw::JudgesNothing | Flaw::FollowsTokenServer | Flaw::FetchesForeignUrls) => {
                false
            }
            Some(Flaw::JudgesText) => written.parse().is_ok_and(is_inside),
            Some(Flaw::OctalAsDecimal) => decimal(written).is_some_and(is_inside),
            Some(Flaw::MissesUnspecified) => match url.host() {
                Some(Host::Ipv4(v4)) => !v4.is_unspecified() && is_inside(v4),
                _ => false,
            },
            _ => !matches!(url.host(), Some(Host::Domain(_))),
        };
        (!inside)
            .then_some(())
            .ok_or("an inside address".to_owned())
    }

    async fn follow(&self, url: &str, mut authorization: Option<String>) -> Fetched {
        let mut raw = url.to_owned();
        let mut url = Url::parse(url).map_err(|error| error.to_string())?;
        for _ in 0..5 {
            self.judge(&raw, &url)?;
            let response = self.send(&url, authorization.as_ref()).await?;
            let Some(location) = response.headers().get(header::LOCATION) else {
                return Ok((url, response));
            };
            location.to_str().unwrap().clone_into(&mut raw);
            let next = url.join(&raw).map_err(|error| error.to_string())?;
            let follows_down = [Flaw::FollowsToHttp, Flaw::ComparesHostNames];
            let down = url.scheme() == "https" && next.scheme() == "http";
            if down && !self.flaw.is_some_and(|flaw| follows_down.contains(&flaw)) {
                return Err("away from https".to_owned());
            }
            let keeps = match self.flaw {
                Some(Flaw::KeepsAuthorization) => true,
                Some(Flaw::ComparesHostNames) => url.host() == next.host(),
                _ => url.origin() == next.origin(),
            };
            authorization = authorization.filter(|_| keeps);
            url = next;
        }
        Err("too many redirects".to_owned())
    }

    async fn send(
        &self,
        url: &Url,
        authorization: Option<&String>,
    ) -> Result<Response<Bytes>, String> {
        match self.exchange(url, authorization).await {
            Err(TransportErrorKind::Tls) if self.has(Flaw::FallsBackToHttp) => {
                let mut plain = url.clone();
                plain.set_scheme("http").unwrap();
                let authorization = Some(&self.basic);
                self.exchange(&plain, authorization).await
            }
            result => result,
        }
        .map_err(|kind| format!("{kind:?}"))
    }

    async fn exchange(
        &self,
        url: &Url,
        authorization: Option<&String>,
    ) -> Result<Response<Bytes>, TransportErrorKind> {
        let mut request = Request::get(url.as_str());
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Bytes::new()).unwrap();
        let limit = match self.flaw {
            Some(Flaw::ReadsWithoutBound) => usize::MAX,
            _ => 64 * 1024,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let outbound = Outbound::new(request, limit, deadline);
        let sent = self.internet.send(outbound).await;
        sent.map_err(|error| error.kind())
    }
}

/// A quoted parameter of a challenge.
fn parameter<'c>(challenge: &'c str, name: &str) -> Option<&'c str> {
    let start = challenge.find(&format!("{name}=\""))? + name.len() + 2;
    let value = &challenge[start..];
    Some(&value[..value.find('"')?])
}

fn is_inside(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
}

/// An address as a parser reads it that knows nothing of octal numbers.
fn decimal(text: &str) -> Option<Ipv4Addr> {
    let octets: Vec<u8> = text
        .split('.')
        .map(|octet| octet.parse().ok())
        .collect::<Option<_>>()?;
    let octets: [u8; 4] = octets.try_into().ok()?;
    Some(octets.into())
}

/// Returns whether a host is a forbidden literal. The addresses of a name are not checked.
pub(super) fn literal_is_inside(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(v4)) => is_inside(v4),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unspecified(),
        Err(_) => false,
    }
}
