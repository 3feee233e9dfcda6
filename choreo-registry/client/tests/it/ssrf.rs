//! Addresses of the inside in every spelling, at every place where a user or a registry can put one.
//!
//! The transport is a recorder: it answers as a hostile registry would and records the destination
//! of each request. No traffic leaves the machine, even if a test fails; the tests that must dial
//! use a listener on loopback.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use choreo_registry::{Credential, RegistryHost};
use choreo_registry_client::{
    AccessClass, ErrorKind, RegistryClient,
    egress::Egress,
    transport::{HttpTransport, Outbound, ReqwestTransport, TransportError},
};
use choreo_test_registry::{Fault, TestRegistry};
use http::{Method, Response, header};

use crate::{MANIFESTS, cases, client_with, kind, open};

const HOST: &str = "registry.example.com";

/// Loopback, private, link-local, metadata, special: one or two of each.
const INSIDE: [[u8; 4]; 34] = [
    [0, 0, 0, 0],
    [10, 0, 0, 7],
    [100, 64, 0, 1],
    [100, 100, 100, 200],
    [127, 0, 0, 1],
    [127, 9, 9, 9],
    [168, 63, 129, 16],
    [169, 254, 0, 23],
    [169, 254, 169, 254],
    [169, 254, 170, 2],
    [172, 16, 0, 1],
    [172, 31, 255, 254],
    [192, 0, 0, 192],
    [192, 0, 2, 1],
    [192, 168, 1, 1],
    [198, 18, 0, 1],
    [203, 0, 113, 9],
    [224, 0, 0, 1],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
    [0, 1, 2, 3],
    [10, 20, 30, 40],
    [10, 255, 255, 254],
    [100, 127, 255, 254],
    [127, 1, 2, 3],
    [127, 255, 255, 254],
    [169, 254, 170, 23],
    [169, 254, 255, 254],
    [172, 20, 10, 2],
    [192, 88, 99, 1],
    [192, 168, 100, 50],
    [198, 19, 255, 254],
    [198, 51, 100, 7],
    [239, 255, 255, 250],
];

/// IPv6 addresses of the inside, in the spellings of RFC 4291.
const INSIDE_V6: [&str; 16] = [
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[fe80::1]",
    "[FE80::A9FE:A9FE]",
    "[febf::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[FD00:0EC2:0:0:0:0:0:0254]",
    "[fd20:ce::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001::1]",
    "[2001:db8::1]",
    "[64:ff9b:1::7f00:1]",
];

/// All spellings of one IPv4 address that some parser of URLs takes for it.
fn spellings(octets: [u8; 4]) -> BTreeSet<String> {
    let [a, b, c, d] = octets.map(u32::from);
    let low = [b << 16 | c << 8 | d, c << 8 | d];
    let whole = a << 24 | low[0];
    let radices: [fn(u32) -> String; 5] = [
        |part| part.to_string(),
        |part| format!("{part:#x}"),
        |part| format!("0X{part:X}"),
        |part| format!("0{part:o}"),
        |part| format!("0x{part:08x}"),
    ];
    let mut found = BTreeSet::new();
    for (index, radix) in radices.iter().enumerate() {
        let next = radices[(index + 1) % radices.len()];
        found.insert(radix(whole));
        found.insert(format!("{}.{}", radix(a), radix(low[0])));
        found.insert(format!("{}.{}", radix(a), next(low[0])));
        found.insert(format!("{}.{}.{}", radix(a), radix(b), radix(low[1])));
        found.insert([a, b, c, d].map(radix).join("."));
        found.insert(format!("{}.{}.{}.{}", radix(a), next(b), radix(c), next(d)));
    }
    let dotted = [a, b, c, d].map(|part| part.to_string()).join(".");
    found.insert(format!("{dotted}."));
    found.insert(format!("{whole}."));
    for stop in ["。", "．", "｡", "%2e", "%2E", "%E3%80%82"] {
        found.insert(dotted.replace('.', stop));
    }
    for zero in ['０', '𝟎', '𝟘', '𝟢', '𝟬', '𝟶'] {
        let digits = |text: &str| -> String {
            let other = |digit: u32| char::from_u32(zero as u32 + digit);
            let turn = |c: char| c.to_digit(10).and_then(other).unwrap_or(c);
            text.chars().map(turn).collect()
        };
        found.insert(digits(&dotted));
        found.insert(digits(&whole.to_string()));
    }
    let percent =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    found.insert(percent(&dotted));
    found.insert(percent(&whole.to_string()));
    let (high, low) = (a << 8 | b, c << 8 | d);
    for prefix in ["::ffff:", "0:0:0:0:0:ffff:", "::", "64:ff9b::", "::ffff:0:"] {
        found.insert(format!("[{prefix}{dotted}]"));
        found.insert(format!("[{prefix}{high:x}:{low:x}]"));
        found.insert(format!("[{prefix}{high:04X}:{low:04X}]"));
    }
    found.insert(format!("[2002:{high:x}:{low:x}::]"));
    found.insert(format!("[2002:{high:x}:{low:x}:0:0:0:0:1]"));
    // Teredo addresses contain the client's address inverted.
    found.insert(format!(
        "[2001:0:0:0:0:0:{:x}:{:x}]",
        high ^ 0xffff,
        low ^ 0xffff
    ));
    found
}

fn all_spellings() -> BTreeSet<String> {
    let v6 = INSIDE_V6.into_iter().map(str::to_owned);
    INSIDE.into_iter().flat_map(spellings).chain(v6).collect()
}

/// Where a hostile registry puts the address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Ping,
    Manifest,
    Blob,
    Realm,
    TokenServer,
    ForeignUrl,
}

const PLACES: [Place; 6] = [
    Place::Ping,
    Place::Manifest,
    Place::Blob,
    Place::Realm,
    Place::TokenServer,
    Place::ForeignUrl,
];

/// A registry that does everything right but at one place.
#[derive(Debug)]
struct Recorder {
    egress: Egress,
    place: Place,
    address: String,
    hosts: Mutex<Vec<String>>,
}

impl Recorder {
    fn redirect(&self, path: &str) -> Response<Bytes> {
        let location = format!("https://{}{path}", self.address);
        let location = header::HeaderValue::from_bytes(location.as_bytes()).unwrap();
        Response::builder()
            .status(307)
            .header(header::LOCATION, location)
            .body(Bytes::new())
            .unwrap()
    }

    fn challenge(&self) -> Response<Bytes> {
        let realm = match self.place {
            Place::Realm => format!("https://{}/token", self.address),
            _ => "/token".to_owned(),
        };
        let value = format!("Bearer realm=\"{realm}\",service=\"s\"");
        Response::builder()
            .status(401)
            .header(
                header::WWW_AUTHENTICATE,
                header::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
            .body(Bytes::new())
            .unwrap()
    }

    fn manifest(&self) -> Response<Bytes> {
        let digest = choreo_registry::Digest::sha256_of(b"{}");
        let urls = match self.place {
            Place::ForeignUrl => format!(r#","urls":["https://{}/blob"]"#, self.address),
            _ => String::new(),
        };
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2{urls}}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{digest}","size":2{urls}}}]}}"#
        );
        Response::builder()
            .header("content-type", kind)
            .body(body.into())
            .unwrap()
    }
}

#[async_trait]
impl HttpTransport for Recorder {
    async fn send(&self, outbound: Outbound) -> Result<Response<Bytes>, TransportError> {
        let request = outbound.request;
        let host = request.uri().host().unwrap().to_owned();
        self.hosts.lock().unwrap().push(host);
        let path = request.uri().path();
        let logged_in = request.headers().contains_key(header::AUTHORIZATION);
        Ok(match (path, self.place) {
            ("/v2/", Place::Ping) => self.redirect("/v2/"),
            ("/token", Place::TokenServer) => self.redirect("/token"),
            ("/token", _) => Response::new(r#"{"token":"t"}"#.into()),
            _ if !logged_in => self.challenge(),
            (_, Place::Manifest) if path.contains("/manifests/") => self.redirect(path),
            _ if path.contains("/manifests/") => self.manifest(),
            (_, Place::Blob) => self.redirect(path),
            _ => Response::new("{}".into()),
        })
    }

    fn egress(&self) -> Egress {
        self.egress.clone()
    }
}

/// The hosts that requests went to, and what came of it.
async fn visited(place: Place, address: &str) -> (Vec<String>, Option<ErrorKind>) {
    let recorder = Arc::new(Recorder {
        egress: Egress::tenant(),
        place,
        address: address.to_owned(),
        hosts: Mutex::default(),
    });
    let credential = Credential::new("robot", "secret").unwrap();
    let transport = Arc::<Recorder>::clone(&recorder);
    let client = RegistryClient::new(HOST.parse().unwrap(), Some(credential), transport);
    let image = format!("{HOST}/team/app:1").parse().unwrap();
    let result = client.inspect(&image).await;
    let hosts = recorder.hosts.lock().unwrap().clone();
    (hosts, result.err().map(|error| error.kind()))
}

#[tokio::test]
async fn no_spelling_at_any_place_leads_inside() {
    let spellings = all_spellings();
    assert!(spellings.len() >= 2_000, "{}", spellings.len());
    // All of them on request; else each spelling at two of the six places.
    let step = if cases(0) > 0 { 1 } else { 3 };
    for (shift, place) in PLACES.into_iter().enumerate() {
        for spelling in spellings.iter().skip(shift % step).step_by(step) {
            let (hosts, error) = visited(place, spelling).await;
            assert!(
                hosts.iter().all(|host| host == HOST) && !hosts.is_empty(),
                "{place:?} {spelling}: {hosts:?}"
            );
            let expected: &[Option<ErrorKind>] = match place {
                Place::Ping | Place::Manifest | Place::Blob => {
                    &[Some(ErrorKind::Blocked), Some(ErrorKind::InvalidResponse)]
                }
                Place::Realm | Place::TokenServer => &[
                    Some(ErrorKind::RealmNotTrusted),
                    Some(ErrorKind::InvalidResponse),
                ],
                // Never fetched, so never an error.
                Place::ForeignUrl => &[None],
            };
            assert!(expected.contains(&error), "{place:?} {spelling}: {error:?}");
        }
    }
}

/// The control: the same places with a public address are visited, so the recorder would see it.
#[tokio::test]
async fn a_public_address_is_visited() {
    for place in [Place::Ping, Place::Manifest, Place::Blob] {
        let (hosts, _) = visited(place, "1.1.1.1").await;
        assert!(
            hosts.iter().any(|host| host == "1.1.1.1"),
            "{place:?}: {hosts:?}"
        );
    }
}

/// The seventh place: the host that a user registers. It is either rejected as a host or blocked.
#[tokio::test]
async fn no_spelling_as_a_registrys_host_leads_inside() {
    let mut parsed = 0;
    for spelling in all_spellings() {
        let Ok(host) = spelling.parse::<RegistryHost>() else {
            continue;
        };
        parsed += 1;
        let recorder = Arc::new(Recorder {
            egress: Egress::tenant(),
            place: Place::ForeignUrl,
            address: String::new(),
            hosts: Mutex::default(),
        });
        let transport = Arc::<Recorder>::clone(&recorder);
        let access = RegistryClient::new(host, None, transport)
            .verify(None)
            .await;
        assert!(recorder.hosts.lock().unwrap().is_empty(), "{spelling}");
        assert_eq!(access.class(), AccessClass::Blocked, "{spelling}: {access}");
    }
    assert!(parsed >= 100, "{parsed}");
}

/// 127.0.0.1 in every spelling, for real: a registry redirects to a listener beside it.
fn loopback_spellings() -> Vec<String> {
    let is_mapped = |text: &String| text.starts_with("[::ffff:") && !text.starts_with("[::ffff:0:");
    spellings(Ipv4Addr::LOCALHOST.octets())
        .into_iter()
        .filter(|text| !text.starts_with('[') || is_mapped(text))
        .filter(|text| {
            // The control must not dial a text that a URL parser reads as another address or as a
            // name.
            let url = url::Url::parse(&format!("http://{text}/"));
            let host = url.as_ref().ok().and_then(url::Url::host);
            match host {
                Some(url::Host::Ipv4(v4)) => v4.is_loopback(),
                Some(url::Host::Ipv6(v6)) => v6.to_canonical() == IpAddr::from(Ipv4Addr::LOCALHOST),
                _ => false,
            }
        })
        .collect()
}

async fn redirecting(inside: &TestRegistry, spelling: &str) -> TestRegistry {
    let registry = open().await;
    let location = format!(
        "http://{spelling}:{}/v2/team/app/manifests/1",
        inside.address().port()
    );
    registry.inject(
        Fault::on(Method::GET, MANIFESTS)
            .redirect(location)
            .always(),
    );
    registry
}

#[tokio::test]
async fn redirects_to_loopback_reach_no_listener() {
    let inside = open().await;
    let spellings = loopback_spellings();
    assert!(spellings.len() > 40, "{}", spellings.len());
    for spelling in spellings.iter().filter(|spelling| spelling.is_ascii()) {
        let registry = redirecting(&inside, spelling).await;
        // Everything about the listener is allowed but its address.
        let host = |registry: &TestRegistry| registry.host().parse().unwrap();
        let egress = Egress::tenant()
            .allow_host(host(&registry))
            .allow_plain_http(host(&registry))
            .allow_plain_http(host(&inside));
        let client = client_with(&registry, egress, None);
        let found = kind(&client, &registry, "team/app:1").await;
        assert_eq!(found, ErrorKind::Blocked, "{spelling}");
    }
    assert!(inside.requests().is_empty());
}

/// The control: reqwest as it comes follows them all.
#[expect(
    clippy::disallowed_methods,
    reason = "a client that must fail the test"
)]
#[tokio::test]
async fn a_naive_client_is_redirected_inside() {
    let inside = open().await;
    let naive = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut tried = 0;
    for spelling in loopback_spellings()
        .iter()
        .filter(|spelling| spelling.is_ascii())
    {
        let registry = redirecting(&inside, spelling).await;
        let url = format!("http://{}/v2/team/app/manifests/1", registry.host());
        let _ = naive.get(url).send().await;
        tried += 1;
    }
    assert!(
        inside.requests().len() > tried * 9 / 10,
        "{} of {tried}",
        inside.requests().len()
    );

    // With the guard in the resolver alone it would be no better: a literal is never looked up.
    let guarded = ReqwestTransport::new(Egress::tenant()).unwrap();
    assert!(
        guarded
            .egress()
            .check_uri(&"https://127.1/".parse().unwrap())
            .is_err()
    );
}
