//! The answers of a malicious registry, made from choices: one script for each seed.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use choreo_registry::Digest;
use choreo_registry_client::transport::TransportErrorKind;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// The source of all decisions of a script: bytes while there are any, then SplitMix64, or zeros
/// without a seed.
#[derive(Debug)]
pub(crate) struct Choices {
    bytes: Bytes,
    state: Option<u64>,
}

impl Choices {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            bytes: Bytes::new(),
            state: Some(seed),
        }
    }

    /// Choices that are all in these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(bytes),
            state: None,
        }
    }

    /// A number below the limit, which is at least 1.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        if !self.bytes.is_empty() {
            return usize::from(self.bytes.split_to(1)[0]) % limit;
        }
        let Some(state) = &mut self.state else {
            return 0;
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    /// True once in so many.
    pub(crate) fn once_in(&mut self, limit: usize) -> bool {
        self.below(limit) == limit - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn garbage(&mut self) -> Vec<u8> {
        let length = self.below(40);
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

/// The kind of a request, as far as a plausible answer depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    Api,
    Blob,
    Manifest,
    Tags,
    Token,
}

impl Asked {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/v2/" => Self::Api,
            path if path.contains("/blobs/") => Self::Blob,
            path if path.contains("/manifests/") => Self::Manifest,
            path if path.contains("/tags/") => Self::Tags,
            _ => Self::Token,
        }
    }
}

/// An answer, and how long it takes.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) wait: Duration,
    pub(crate) result: Result<Response<Bytes>, TransportErrorKind>,
}

/// A registry's whole behaviour.
#[derive(Debug)]
pub(crate) struct Script {
    choices: Choices,
    scheme: &'static str,
    host: &'static str,
    /// One answer in so many is anything at all.
    odd: usize,
    pages: u32,
}

impl Script {
    /// The behaviour of the registry at this host.
    pub(crate) fn new(mut choices: Choices, scheme: &'static str, host: &'static str) -> Self {
        let odd = choices.pick(&[2, 4, 16, 64, 256]);
        Self {
            choices,
            scheme,
            host,
            odd,
            pages: 0,
        }
    }

    pub(crate) fn choices(&mut self) -> &mut Choices {
        &mut self.choices
    }

    /// The next answer. `token` is one that was never seen before.
    pub(crate) fn act(&mut self, asked: Asked, logged_in: bool, token: &str) -> Act {
        let wait = self.slowness();
        if self.choices.once_in(4 * self.odd) {
            let result = Err(self.choices.pick(&FAILURES));
            return Act { wait, result };
        }
        let is_odd = self.choices.once_in(self.odd);
        let mut response = if is_odd {
            self.oddity(token)
        } else {
            self.plausible(asked, logged_in, token)
        };
        if self.choices.once_in(2 * self.odd) {
            self.decorate(&mut response);
        }
        if self.choices.once_in(4000) {
            let many = self.choices.once_in(4);
            *response.body_mut() = if many { MANY.clone() } else { HUGE.clone() };
        }
        let result = Ok(response);
        Act { wait, result }
    }

    fn slowness(&mut self) -> Duration {
        let millis = [1, 20, 500, 3_000, 29_000, 31_000, 3_600_000];
        if self.choices.once_in(2 * self.odd) {
            Duration::from_millis(self.choices.pick(&millis))
        } else {
            Duration::ZERO
        }
    }

    fn plausible(&mut self, asked: Asked, logged_in: bool, token: &str) -> Response<Bytes> {
        let open = logged_in || self.choices.once_in(6);
        match asked {
            Asked::Token => self.token(token),
            _ if !open && self.odd > 4 && !self.choices.once_in(4) => {
                let value = self.choices.pick(&LOGINS);
                answer(401, header::WWW_AUTHENTICATE, value, Bytes::new())
            }
            _ if !open => self.challenge(401),
            _ if self.choices.once_in(self.odd) => self.redirect(),
            Asked::Api => Response::default(),
            Asked::Manifest => self.manifest(),
            Asked::Blob => Response::new(Bytes::from_static(CONFIG.as_bytes())),
            Asked::Tags => self.tags(),
        }
    }

    fn oddity(&mut self, token: &str) -> Response<Bytes> {
        match self.choices.below(10) {
            0 | 1 => self.challenge(401),
            2 => self.challenge(403),
            3..=5 => self.redirect(),
            6 => self.token(token),
            7 => self.manifest(),
            8 => self.tags(),
            _ => {
                let status = self.choices.pick(&STATUSES);
                let body = self.choices.garbage();
                answer(status, header::SERVER, b"x", body)
            }
        }
    }

    fn redirect(&mut self) -> Response<Bytes> {
        let status = self.choices.pick(&[301, 302, 303, 307, 308, 300, 304, 305]);
        let place = self.place();
        answer(status, header::LOCATION, &place, Bytes::new())
    }

    /// Where a realm, a redirect, a link or a layer leads.
    pub(crate) fn place(&mut self) -> Vec<u8> {
        if self.choices.once_in(40) {
            return self.choices.garbage();
        }
        let form = if self.choices.once_in(3) {
            self.choices.pick(&HOME)
        } else {
            self.choices.pick(&ELSEWHERE)
        };
        let bare = self.host.split(':').next().unwrap_or_default();
        let place = form
            .replace("{s}", self.scheme)
            .replace("{h}", self.host)
            .replace("{b}", bare)
            .replace("{H}", &self.host.to_ascii_uppercase());
        if self.choices.once_in(400) {
            return [place.as_bytes(), &[b'a'; 20_000]].concat();
        }
        place.into_bytes()
    }

    fn challenge(&mut self, status: u16) -> Response<Bytes> {
        let mut response = answer(status, header::SERVER, b"x", Bytes::new());
        let headers = if self.choices.once_in(4) { 2 } else { 1 };
        for _ in 0..headers {
            let value = self.challenge_value();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                response
                    .headers_mut()
                    .append(header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }

    fn challenge_value(&mut self) -> Vec<u8> {
        let bearer = self.bearer();
        let around: (&[u8], &[u8]) = match self.choices.below(32) {
            0..=17 => (b"", b""),
            18 => return b"Basic realm=\"x\"".to_vec(),
            19 => return b"basic".to_vec(),
            20 => (b"Basic realm=\"x\", ", b""),
            21 => (b"", b", Basic realm=\"x\""),
            22 => (b"Negotiate abc==, ", b""),
            23 => (b"Negotiate, NTLM, ", b""),
            24 => (b" , ,", b","),
            25 => (b"", b",realm=\"https://evil.example/token\""),
            26 => (b"", b";error=\"insufficient_scope\""),
            27 => (b"", b",error=\"insufficient_scope\",x = \"\\\"y\""),
            28 => (b"\xc3\xa4 ", b""),
            29 => return b"Basic, ".repeat(self.choices.pick(&[7, 8, 9])),
            30 => (b"", &[b'a'; 9000]),
            _ => return self.choices.garbage(),
        };
        [around.0, &bearer, around.1].concat()
    }

    fn bearer(&mut self) -> Vec<u8> {
        let place = self.place();
        let scheme: &[u8] = self
            .choices
            .pick(&[&b"Bearer "[..], b"bearer ", b"bEaReR\t"]);
        let realm: (&[u8], &[u8]) = match self.choices.below(16) {
            0 => (b"realm=", b""),
            1 => (b"realm='", b"'"),
            2 => (b"realm = \"", b"\""),
            3 => (b"realm=\"", b""),
            4 => (b"REALM=\"", b"\""),
            5 => return [scheme, b"service=\"s\""].concat(),
            6 => return [scheme, b"realm=\"\""].concat(),
            _ => (b"realm=\"", b"\""),
        };
        let service: &[u8] = self
            .choices
            .pick(&[&b""[..], b",service=\"s\"", b",service=\"\""]);
        let scope = self.choices.pick(&SCOPES);
        [scheme, realm.0, &place, realm.1, service, scope].concat()
    }

    fn token(&mut self, token: &str) -> Response<Bytes> {
        let forms = if self.odd > 4 && !self.choices.once_in(4) {
            10
        } else {
            24
        };
        let body = match self.choices.below(forms) {
            0..=9 => format!(r#"{{"token":"{token}","expires_in":300}}"#),
            10 | 11 => format!(r#"{{"access_token":"{token}"}}"#),
            12 => format!(r#"{{"token":"{token}","access_token":"{token}-two"}}"#),
            13 => format!(r#"{{"token":"","access_token":"{token}","expires_in":-1}}"#),
            14 => format!(r#"{{"token":"{token}","expires_in":"x","issued_at":7}}"#),
            15 => format!(
                r#"{{"token":"{token}","expires_in":99999999999999999999,"issued_at":"1970-01-01T00:00:00Z"}}"#
            ),
            16 => format!(r#"{{"token":["{token}"]}}"#),
            17 => format!(r#"{{"token":"{token}\r\nx: y"}}"#),
            18 => format!(r#"{{"token":"{token}","token":"{token}"}}"#),
            19 => format!(r#"{{"token":"{token}","pad":"{}"}}"#, "x".repeat(70 * 1024)),
            20 => "[".repeat(3000),
            21 => return self.challenge(401),
            22 => return self.redirect(),
            _ => String::new(),
        };
        let status = self.choices.pick(&[200, 200, 200, 200, 200, 200, 201, 405]);
        answer(status, header::SERVER, b"x", body)
    }

    fn manifest(&mut self) -> Response<Bytes> {
        let (kind, body) = self.choices.pick(&DOCUMENTS);
        let body = if body == "MANIFEST" { &*MANIFEST } else { body };
        let body = if body == "INDEX" { &*INDEX } else { body };
        let kind = if self.choices.once_in(8) {
            self.choices.pick(&DOCUMENTS).0
        } else {
            kind
        };
        let digest = match self.choices.below(12) {
            0 => Digest::sha256_of(b"another").to_string(),
            1 => String::new(),
            2 => "sha256:../../x".to_owned(),
            3..=6 => Digest::sha256_of(body.as_bytes()).to_string(),
            _ => return answer(200, header::CONTENT_TYPE, kind.as_bytes(), body.to_owned()),
        };
        let mut response = answer(200, header::CONTENT_TYPE, kind.as_bytes(), body.to_owned());
        let digest = HeaderValue::from_str(&digest).unwrap();
        response
            .headers_mut()
            .insert("docker-content-digest", digest);
        response
    }

    fn tags(&mut self) -> Response<Bytes> {
        self.pages += 1;
        let kinds = if self.odd > 4 { 5 } else { TAGS.len() };
        let body = self.choices.pick(&TAGS[..kinds]);
        let page = self.pages;
        let own = format!("</v2/team/app/tags/list?n=1000&last={page}>; rel=\"next\"");
        let link = match self.choices.below(2 + 4 * self.odd) {
            0 => [b"<", &self.place()[..], b">; rel=\"next\""].concat(),
            1 => b"</v2/team/app/tags/list?n=1000>; rel=next".to_vec(),
            2 | 3 => return answer(200, header::SERVER, b"x", body),
            _ => own.into_bytes(),
        };
        answer(200, header::LINK, &link, body)
    }

    /// Headers that lead elsewhere, on any answer.
    fn decorate(&mut self, response: &mut Response<Bytes>) {
        let name = self.choices.pick(&LEADING);
        let value = match name {
            "www-authenticate" => self.challenge_value(),
            "retry-after" | "ratelimit-limit" => self.choices.pick(&WAITS).as_bytes().to_vec(),
            "link" => [b"<", &self.place()[..], b">; rel=\"next\""].concat(),
            "refresh" => [b"0; url=", &self.place()[..]].concat(),
            _ => self.place(),
        };
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        if name == "retry-after" {
            let status = self.choices.pick(&[429, 502, 503, 504]);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
        }
    }
}

fn answer(status: u16, name: HeaderName, value: &[u8], body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    // A value that a header may not contain is not sent.
    if let Ok(value) = HeaderValue::from_bytes(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Challenges as they should be.
const LOGINS: [&[u8]; 4] = [
    b"Basic realm=\"x\"",
    b"Bearer realm=\"/token\",service=\"s\"",
    b"Bearer realm=\"/token\",scope=\"repository:team/app:pull\"",
    b"Bearer realm=\"https://login.corp.example:8443/token\"",
];

/// The registry's own origin, in every spelling. `{s}` is its scheme, `{h}` its host and port, `{b}`
/// the host alone.
const HOME: [&str; 9] = [
    "{s}://{h}/token",
    "{s}://{H}/token?account=x",
    "/token",
    "/token",
    "token?account=x",
    "//{h}/token",
    "/v2/team/app/manifests/2",
    "/v2/team/app/tags/list?n=1",
    "{s}:/\\{h}\\token",
];

/// Names similar to the registry's, known token servers, other hosts, inside addresses, and texts
/// that are not addresses.
const ELSEWHERE: [&str; 67] = [
    "https://{b}:8443/token",
    "https://{b}:80/token",
    "https://{b}:443/token",
    "https://{b}/token",
    "http://{h}/token",
    "http://{b}/token",
    "http://{b}:443/token",
    "https://{h}.evil.example/token",
    "https://{b}.evil.example/token",
    "https://{b}evil.example/token",
    "https://{h}@evil.example/token",
    "https://{h}:x@evil.example/token",
    "https://robot:x@{h}/token",
    "https://sub.{h}/token",
    "https://{b}./token",
    "https://{b}%2e/token",
    "https://{b}%00.evil.example/token",
    "https://evil.example\\@{h}/token",
    "https://{h}\\@evil.example/token",
    "https://evil.example#@{h}/token",
    "https://evil.example?@{h}/token",
    "https://evil.example/{h}/token",
    "https://evil%2eexample/token",
    "https://registry\u{3002}example.com/token",
    "https://r\u{435}gistry.example.com/token",
    "https://\u{24e1}egistry.example.com/token",
    "https://xn--rgistry-9gf.example.com/token",
    "https://example.com/token",
    "https://com/token",
    "https://evil.example/token",
    "https://evil.example/token",
    "https://evil.example/v2/team/app/manifests/1",
    "https://evil.example/v2/",
    "https://evil.example:8443/token",
    "http://evil.example/token",
    "//evil.example/token",
    "\\\\evil.example\\token",
    "/\\evil.example/token",
    "https:evil.example/token",
    "https:/evil.example/token",
    "https:\\\\evil.example/token",
    " https://evil.example/token",
    "HTTPS://EVIL.EXAMPLE/token",
    "ftp://evil.example/token",
    "ws://{h}/token",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:,x",
    "blob:https://{h}/token",
    "https://auth.docker.io/token",
    "https://auth.docker.io:8443/token",
    "https://gitlab.com/jwt/auth",
    "https://api.digitalocean.com/v2/registry/auth",
    "https://login.corp.example:8443/token",
    "https://login.corp.example/token",
    "https://127.1/token",
    "https://2130706433/token",
    "https://0x7f.0.0.1:5000/token",
    "https://10.0.0.7/token",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/token",
    "https://[::ffff:a9fe:a9fe]/latest/meta-data",
    "https://[fd00::1]/token",
    "https://localhost/token",
    "https://",
    "https://:443/",
    "",
];

const FAILURES: [TransportErrorKind; 7] = [
    TransportErrorKind::Blocked,
    TransportErrorKind::Connect,
    TransportErrorKind::Protocol,
    TransportErrorKind::Resolve,
    TransportErrorKind::Timeout,
    TransportErrorKind::Tls,
    TransportErrorKind::TooLarge,
];

const STATUSES: [u16; 24] = [
    100, 101, 200, 200, 201, 202, 204, 206, 226, 400, 401, 402, 403, 404, 405, 407, 408, 410, 418,
    429, 500, 502, 503, 999,
];

const SCOPES: [&[u8]; 8] = [
    b"",
    b",scope=\"repository:team/app:pull\"",
    b",scope=\"repository:team/app:pull,push\"",
    b",scope=\"repository:other/app:*\"",
    b",scope=\"aws\"",
    b",scope=\"registry:catalog:*  a b\"",
    b",scope=\"repository:team/app:pull\",error=\"insufficient_scope\"",
    b",scope=\"\"",
];

/// Headers that may lead a client to another host.
const LEADING: [&str; 9] = [
    "alt-svc",
    "content-location",
    "link",
    "location",
    "proxy-authenticate",
    "ratelimit-limit",
    "refresh",
    "retry-after",
    "www-authenticate",
];

const WAITS: [&str; 9] = [
    "0",
    "1",
    "2",
    "-1",
    "3600",
    "99999999999999999999999",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Mon, 21 Oct 2599 07:28:00 GMT",
    "soon",
];

const TAGS: [&str; 8] = [
    r#"{"name":"team/app","tags":["1","2"]}"#,
    r#"{"name":"team/app","tags":["1","2"]}"#,
    r#"{"name":"team/app","tags":["1","2"]}"#,
    r#"{"name":"team/app","tags":[]}"#,
    r#"{"name":"team/app","tags":null}"#,
    r#"{"tags":["../..","-","https://evil.example/"]}"#,
    r#"{}"#,
    r#"{"tags":[1,{}]}"#,
];

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Content types and documents; the first two are right.
const DOCUMENTS: [(&str, &str); 10] = [
    (OCI, "MANIFEST"),
    (OCI_INDEX, "INDEX"),
    (OCI, "MANIFEST"),
    (OCI_INDEX, "INDEX"),
    (
        OCI_INDEX,
        r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}]}"#,
    ),
    (
        OCI,
        r#"{"schemaVersion":2,"manifests":[],"config":{"digest":"x"},"layers":[]}"#,
    ),
    (OCI, r#"{"schemaVersion":2,"config":7,"layers":{}}"#),
    (
        "application/vnd.docker.distribution.manifest.v1+json",
        r#"{"schemaVersion":1}"#,
    ),
    ("text/html", "<html><base href=https://evil.example/>"),
    ("", ""),
];

const CONFIG: &str = r#"{"os":"linux","architecture":"amd64","config":{"User":"10001","ExposedPorts":{"8080/tcp":{},"x":{}}},"urls":["https://evil.example/"]}"#;

/// An image whose layer is to be had elsewhere, as it says.
static MANIFEST: LazyLock<String> = LazyLock::new(|| {
    let digest = Digest::sha256_of(CONFIG.as_bytes());
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"digest":"{digest}","size":1,"urls":["https://evil.example/config"]}},"layers":[{{"digest":"{digest}","size":7,"urls":["https://evil.example/layer","http://169.254.169.254/"]}}]}}"#
    )
});

static INDEX: LazyLock<String> = LazyLock::new(|| {
    let digest = Digest::sha256_of(MANIFEST.as_bytes());
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"digest":"{digest}","size":1,"urls":["https://evil.example/manifest"],"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
    )
});

/// Over every limit.
static HUGE: LazyLock<Bytes> = LazyLock::new(|| vec![b'{'; 5 * 1024 * 1024].into());

/// A valid answer that exceeds every limit.
static MANY: LazyLock<Bytes> = LazyLock::new(|| {
    let tags = vec!["\"1\""; 1_300_000].join(",");
    format!("{{\"tags\":[{tags}]}}").into()
});
