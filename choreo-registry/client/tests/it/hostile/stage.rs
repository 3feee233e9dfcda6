//! Where scripts are played: a transport that answers from one, and looks at every byte that leaves.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose};
use bytes::Bytes;
use choreo_registry::Credential;
use choreo_registry_client::{
    egress::Egress,
    transport::{HttpTransport, Outbound, TransportError, TransportErrorKind},
};
use http::{Response, Uri, header};

use super::script::{Asked, Choices, Script};

const USERNAME: &str = "rob7f3a";
const PASSWORD: &str = "Canary/correct+horse battery%~9";
/// How every token of a script begins.
const TOKEN: &str = "t0k3n-";

pub(crate) fn credential() -> Credential {
    Credential::new(USERNAME, PASSWORD).unwrap()
}

/// A registry, and who may have what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    /// As the client's user names it.
    pub(crate) registry: &'static str,
    /// How its images' names begin.
    pub(crate) domain: &'static str,
    scheme: &'static str,
    host: &'static str,
    /// The origin of another token server that may have the credential.
    realm: Option<&'static str>,
}

const HOMES: [Home; 5] = [
    home("registry.example.com", "https", None),
    home("registry.example.com:8443", "https", None),
    home("lab.example:5000", "http", None),
    home(
        "corp.example",
        "https",
        Some("https://login.corp.example:8443"),
    ),
    Home {
        host: "registry-1.docker.io",
        ..home("docker.io", "https", Some("https://auth.docker.io:443"))
    },
];

const fn home(registry: &'static str, scheme: &'static str, realm: Option<&'static str>) -> Home {
    Home {
        registry,
        domain: registry,
        scheme,
        host: registry,
        realm,
    }
}

impl Home {
    fn egress(self) -> Egress {
        let corp = "corp.example".parse().unwrap();
        let login = "login.corp.example:8443".parse().unwrap();
        let egress = Egress::tenant().trust_realm(corp, login);
        if self.scheme == "http" {
            egress.allow_plain_http(self.registry.parse().unwrap())
        } else {
            egress
        }
    }

    fn is_origin(self, origin: &str) -> bool {
        let port = if self.host.contains(':') { "" } else { ":443" };
        origin == format!("{}://{}{port}", self.scheme, self.host)
    }
}

/// The stage of one script.
pub(crate) struct Stage {
    pub(crate) home: Home,
    egress: Egress,
    script: Mutex<Script>,
    requests: AtomicUsize,
    logins: AtomicUsize,
    /// Tokens of servers that may have the credential.
    tokens: Mutex<Vec<String>>,
    /// Tokens of all but the registry, and who gave them.
    given_elsewhere: Mutex<Vec<(String, String)>>,
    faults: Mutex<Vec<String>>,
}

impl Stage {
    pub(crate) fn new(mut choices: Choices) -> Self {
        let home = choices.pick(&HOMES);
        Self {
            home,
            egress: home.egress(),
            script: Mutex::new(Script::new(choices, home.scheme, home.host)),
            requests: AtomicUsize::default(),
            logins: AtomicUsize::default(),
            tokens: Mutex::default(),
            given_elsewhere: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    /// Returns a number below the limit, from the script's own choices.
    pub(crate) fn choose(&self, limit: usize) -> usize {
        self.script.lock().unwrap().choices().below(limit)
    }

    pub(crate) fn root(&self) -> String {
        format!("{}://{}/", self.home.scheme, self.home.host)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns how often an authorized origin received the credential or a token.
    pub(crate) fn logins(&self) -> usize {
        self.logins.load(Ordering::Relaxed)
    }

    /// Returns the secrets that reached an unauthorized origin.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    fn fault(&self, what: &str, origin: &str) {
        self.faults
            .lock()
            .unwrap()
            .push(format!("{what}: {origin}"));
    }

    fn look(&self, request: &http::Request<Bytes>, origin: &str) {
        let uri = request.uri();
        self.requests.fetch_add(1, Ordering::Relaxed);
        if uri.authority().unwrap().as_str().contains('@') {
            self.fault("a user name in a url", origin);
        }
        if is_inside(uri) {
            self.fault("an address inside", origin);
        }
        if uri.scheme_str() != Some("https") && !self.home.is_origin(origin) {
            self.fault("no https", origin);
        }
        let authorization = request.headers().get(header::AUTHORIZATION);
        let shows = authorization.is_some() || !request.body().is_empty();
        if self.home.is_origin(origin) {
            self.logins.fetch_add(shows.into(), Ordering::Relaxed);
            let value = authorization.map_or("", |value| value.to_str().unwrap());
            if let Some(token) = value.strip_prefix("Bearer ")
                && !self.tokens.lock().unwrap().iter().any(|own| own == token)
            {
                self.fault("a token of another server", origin);
            }
            return;
        }
        let text = text(request);
        // A registry behind a redirect issues separate tokens to anyone, and may receive them
        // again.
        let shown = authorization.map(|value| value.to_str().unwrap());
        let its_own = shown.filter(|shown| {
            let given = self.given_elsewhere.lock().unwrap();
            let token = shown.strip_prefix("Bearer ");
            given
                .iter()
                .any(|(at, own)| at == origin && Some(&**own) == token)
        });
        let others = text.replace(&its_own.unwrap_or("\n\n").to_ascii_lowercase(), "");
        if others.contains(TOKEN) {
            self.fault("a token", origin);
        }
        if self.home.realm == Some(origin) {
            self.logins.fetch_add(shows.into(), Ordering::Relaxed);
        } else if shows_credential(&text) {
            self.fault("the credential", origin);
        }
    }

    /// Returns the next answer, with a separate token.
    fn next(&self, request: &http::Request<Bytes>, origin: &str) -> super::script::Act {
        let token = format!("{TOKEN}{}", self.requests());
        let both = || [token.clone(), format!("{token}-two")];
        if self.home.is_origin(origin) || self.home.realm == Some(origin) {
            self.tokens.lock().unwrap().extend(both());
        }
        if !self.home.is_origin(origin) {
            let given = both().map(|token| (origin.to_owned(), token));
            self.given_elsewhere.lock().unwrap().extend(given);
        }
        let asked = Asked::of(request.uri().path());
        let logged_in = request.headers().contains_key(header::AUTHORIZATION);
        self.script.lock().unwrap().act(asked, logged_in, &token)
    }
}

/// Shows nothing, because the `Debug` of a client is searched for tokens.
impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage")
    }
}

#[async_trait]
impl HttpTransport for Stage {
    async fn send(&self, outbound: Outbound) -> Result<Response<Bytes>, TransportError> {
        let origin = origin(outbound.request.uri());
        self.look(&outbound.request, &origin);
        let act = self.next(&outbound.request, &origin);
        // Half of the time the transport keeps the time itself, and now and then not even the limit.
        let ends = tokio::time::Instant::from_std(outbound.deadline);
        let timely = self.choose(2) == 0;
        if timely && tokio::time::Instant::now() + act.wait > ends {
            tokio::time::sleep_until(ends).await;
            return Err(TransportError::new(TransportErrorKind::Timeout));
        }
        if !act.wait.is_zero() {
            tokio::time::sleep(act.wait).await;
        }
        let response = act.result.map_err(TransportError::new)?;
        let bounded = self.choose(4) != 3;
        if bounded && response.body().len() > outbound.body_limit {
            return Err(TransportError::new(TransportErrorKind::TooLarge));
        }
        Ok(response)
    }

    fn egress(&self) -> Egress {
        self.egress.clone()
    }
}

/// Scheme, host and port, always with a port.
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap();
    let usual = if scheme == "https" { 443 } else { 80 };
    let host = uri.host().unwrap().to_ascii_lowercase();
    format!("{scheme}://{host}:{}", uri.port_u16().unwrap_or(usual))
}

/// Whether a host is an address that is not of the public internet. Written here once more, in a few
/// lines, so that it is not the client that says where the client may go.
fn is_inside(uri: &Uri) -> bool {
    let host = uri.host().unwrap();
    if let Ok(v4) = host.parse::<Ipv4Addr>() {
        let [a, b, c, _] = v4.octets();
        return v4.is_private()
            || v4.is_loopback()
            || v4.is_link_local()
            || v4.is_documentation()
            || matches!((a, b), (0 | 224.., _) | (100, 64..=127) | (198, 18 | 19))
            || matches!([a, b, c], [192, 0, 0] | [192, 88, 99])
            || v4 == Ipv4Addr::new(168, 63, 129, 16);
    }
    let v6 = host.trim_matches(['[', ']']).parse::<Ipv6Addr>();
    v6.is_ok_and(|v6| match v6.segments() {
        [0x2001, ..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, ..=0xfff, ..] => true,
        [first, ..] => first >> 13 != 1,
    })
}

/// Everything that a request carries, as it is and without percent signs, in lower case.
fn text(request: &http::Request<Bytes>) -> String {
    let mut bytes = format!("{} {}\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
    }
    bytes.extend(&request.body()[..]);
    if bytes.contains(&b'%') {
        let decoded = decoded(&bytes);
        bytes.extend(decoded);
    }
    bytes.make_ascii_lowercase();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    decoded
}

/// Returns whether a text in lower case contains the credential or a part of it, raw or encoded.
fn shows_credential(text: &str) -> bool {
    NEEDLES.iter().any(|needle| text.contains(needle))
}

/// Returns whether the visible text of a client contains one of its secrets.
pub(crate) fn exposes(shown: &str) -> bool {
    let shown = shown.to_ascii_lowercase();
    let mut secret = NEEDLES.iter().skip(1);
    shown.contains(TOKEN) || secret.any(|needle| shown.contains(needle))
}

/// The texts to search for, in lower case; the user name first.
static NEEDLES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let pair = format!("{USERNAME}:{PASSWORD}");
    let mut needles = vec![USERNAME.to_owned(), "canary".to_owned(), "horse".to_owned()];
    needles.extend(
        url::form_urlencoded::byte_serialize(PASSWORD.as_bytes())
            .map(str::to_owned)
            .filter(|part| part.len() > 5),
    );
    for secret in [PASSWORD, &pair] {
        needles.push(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
        for shift in 0..3 {
            needles.extend(base64_inside(secret, shift));
        }
    }
    for needle in &mut needles {
        needle.make_ascii_lowercase();
    }
    needles
});

/// Returns the base64 of the secret at this offset from a multiple of three bytes, without the
/// characters that depend on its neighbours.
fn base64_inside(secret: &str, shift: usize) -> [String; 2] {
    let bytes = [&vec![0; shift][..], secret.as_bytes()].concat();
    let own = (shift * 8).div_ceil(6)..bytes.len() * 8 / 6;
    let standard = general_purpose::STANDARD_NO_PAD.encode(&bytes);
    let for_urls = general_purpose::URL_SAFE_NO_PAD.encode(&bytes);
    [standard, for_urls].map(|text| text[own.clone()].to_owned())
}

/// Guards the search itself: it finds each encoding of the secret in a request, and nothing in a
/// request without it.
#[cfg(test)]
#[test]
fn the_secret_is_found_however_it_is_written() {
    let basic = credential().expose_basic().to_string();
    let url_safe = general_purpose::URL_SAFE.encode(format!("x{USERNAME}:{PASSWORD}yz"));
    let hex: String = PASSWORD.bytes().map(|byte| format!("{byte:02X}")).collect();
    let percent: String = PASSWORD
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let form: String = url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
    for secret in [basic, url_safe, hex, percent, form, USERNAME.to_owned()] {
        let inside = |request: http::request::Builder, body: &str| {
            text(&request.body(Bytes::from(body.to_owned())).unwrap())
        };
        let root = "https://evil.example/";
        for text in [
            inside(http::Request::get(format!("{root}?x={secret}")), ""),
            inside(http::Request::get(root).header("x-any", &secret), ""),
            inside(http::Request::post(root), &secret),
        ] {
            assert!(shows_credential(&text), "{text}");
        }
        assert!(!shows_credential(&inside(http::Request::get(root), "")));
    }
}
