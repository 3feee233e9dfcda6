//! Names that lead to two places, and who is dialled for them.
//!
//! Here 127.0.0.1 represents the public internet, and the rest of the loopback network represents
//! the inside, where listeners count the connections. No traffic leaves the machine, even if a
//! test fails.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use choreo_registry::{Credential, RegistryHost};

use super::*;

const NAME: &str = "registry.test";

/// Listeners on one port of several loopback addresses; each answers everything with 200.
struct Place {
    port: u16,
    inside: Arc<AtomicUsize>,
    outside: Arc<AtomicUsize>,
}

impl Place {
    fn new() -> Self {
        let (inside, outside) = (Arc::default(), Arc::default());
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        serve(first, Arc::clone(&outside));
        for address in ["127.0.0.2", "127.9.9.9", "::1"] {
            let address = SocketAddr::new(address.parse().unwrap(), port);
            // A machine without IPv6 cannot connect there either.
            if let Ok(listener) = TcpListener::bind(address) {
                serve(listener, Arc::clone(&inside));
            }
        }
        Self {
            port,
            inside,
            outside,
        }
    }

    fn policy(&self) -> Egress {
        let host: RegistryHost = format!("{NAME}:{}", self.port).parse().unwrap();
        Egress::tenant()
            .allow_network("127.0.0.1".parse().unwrap())
            .allow_plain_http(host)
    }

    fn url(&self) -> String {
        format!("http://{NAME}:{}/", self.port)
    }

    fn came(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.outside), count(&self.inside))
    }
}

fn serve(listener: TcpListener, counter: Arc<AtomicUsize>) {
    use std::io::{Read as _, Write as _};

    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

/// Answers look-ups from a schedule, one after the other; the last one stays.
#[derive(Clone, Default)]
struct Scheduled(Arc<Mutex<VecDeque<Vec<IpAddr>>>>);

impl Scheduled {
    fn next(&self) -> Vec<SocketAddr> {
        let mut schedule = self.0.lock().unwrap();
        let addresses = match schedule.len() {
            0 | 1 => schedule.front().cloned(),
            _ => schedule.pop_front(),
        };
        let socket = |address| SocketAddr::new(address, 0);
        addresses.into_iter().flatten().map(socket).collect()
    }
}

#[async_trait]
impl Lookup for Scheduled {
    async fn lookup(&self, _: &str) -> io::Result<Vec<SocketAddr>> {
        tokio::task::yield_now().await;
        Ok(self.next())
    }
}

impl Resolve for Scheduled {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses = self.next();
        Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
    }
}

fn guarded(
    egress: Egress,
    lookup: Arc<impl Lookup + 'static>,
) -> Result<ReqwestTransport, BuildTransportError> {
    ReqwestTransport::with_lookup(egress, &(lookup as Arc<dyn Lookup>))
}

fn get(url: &str) -> Outbound {
    let request = http::Request::get(url).body(Bytes::new()).unwrap();
    Outbound::new(request, 1024, Instant::now() + Duration::from_secs(10))
}

/// SplitMix64: one seed, one schedule.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Some look-ups, each with none to three addresses: the good one, the bad ones, and both as IPv6.
fn schedule(seed: u64) -> Vec<Vec<IpAddr>> {
    const ADDRESSES: [&str; 8] = [
        "127.0.0.1",
        "127.0.0.1",
        "127.0.0.1",
        "127.0.0.2",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:127.0.0.2",
    ];
    let mut state = seed;
    let mut below = |limit: u64| usize::try_from(random(&mut state) % limit).unwrap();
    (0..=below(4))
        .map(|_| {
            (0..[1, 1, 1, 2, 3, 0][below(6)])
                .map(|_| ADDRESSES[below(8)].parse().unwrap())
                .collect()
        })
        .collect()
}

fn schedules() -> u64 {
    let cases = std::env::var("CHOREO_TEST_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(1_000)
}

#[tokio::test]
async fn no_schedule_of_answers_leads_inside() {
    let place = Place::new();
    let scheduled = Scheduled::default();
    let transport = guarded(place.policy(), Arc::new(scheduled.clone())).unwrap();
    let mut answered = 0;
    for seed in 0..schedules() {
        *scheduled.0.lock().unwrap() = schedule(seed).into();
        for _ in 0..2 {
            match transport.send(get(&place.url())).await {
                Ok(response) => {
                    assert_eq!(response.status(), 200);
                    answered += 1;
                }
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        TransportErrorKind::Blocked | TransportErrorKind::Connect
                    ),
                    "{seed}: {error:?}"
                ),
            }
        }
    }
    let (outside, inside) = place.came();
    assert_eq!(inside, 0, "somebody was led inside");
    // Not by refusing everything.
    assert!(answered > schedules() / 4, "{answered}");
    assert!(outside as u64 >= answered, "{outside} {answered}");
}

/// The control: reqwest as it comes goes wherever the answers lead, and so does a client that looks
/// a name up, judges the addresses, and then lets the HTTP library look it up again.
#[expect(
    clippy::disallowed_methods,
    reason = "a client that must fail the test"
)]
#[tokio::test]
async fn a_naive_client_is_led_inside() {
    let place = Place::new();
    let policy = place.policy();
    let scheduled = Scheduled::default();
    let naive = reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(Arc::new(scheduled.clone()))
        .build()
        .unwrap();
    let mut led = [0, 0];
    for (checks_first, led) in [false, true].into_iter().zip(&mut led) {
        for seed in 0..200 {
            *scheduled.0.lock().unwrap() = schedule(seed).into();
            if checks_first && policy.check_addresses(NAME, &scheduled.next()).is_err() {
                continue;
            }
            let before = place.came().1;
            let _ = naive.get(place.url()).send().await;
            *led += place.came().1 - before;
        }
    }
    assert!(led[0] > 20 && led[1] > 10, "{led:?}");
}

#[tokio::test]
async fn an_allowed_host_is_open_at_its_port_only() {
    let place = Place::new();
    let other = Place::new();
    let to = |address: &str| {
        Scheduled(Arc::new(Mutex::new(
            [vec![address.parse().unwrap()]].into(),
        )))
    };
    let egress = place
        .policy()
        .allow_plain_http(format!("{NAME}:{}", other.port).parse().unwrap())
        .allow_host(format!("{NAME}:{}", place.port).parse().unwrap());
    let transport = guarded(egress.clone(), Arc::new(to("127.0.0.2"))).unwrap();
    transport.send(get(&place.url())).await.unwrap();
    assert_eq!(place.came(), (0, 1));
    let error = transport.send(get(&other.url())).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Blocked);
    assert_eq!(other.came(), (0, 0));

    // Not even that host leads a tenant to credentials of the cloud; nothing is sent there.
    let metadata = Arc::new(to("169.254.169.254"));
    let transport = guarded(egress, metadata).unwrap();
    let error = transport.send(get(&place.url())).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Blocked);
}

/// Opening a registry of one's own took a restart.
#[tokio::test]
async fn another_policy_is_obeyed_from_the_next_request_on() {
    let place = Place::new();
    let inside = Scheduled(Arc::new(Mutex::new(
        [vec!["127.0.0.2".parse().unwrap()]].into(),
    )));
    let closed = place.policy();
    let transport = guarded(closed.clone(), Arc::new(inside)).unwrap();
    let host: RegistryHost = format!("{NAME}:{}", place.port).parse().unwrap();
    let blocked = async || {
        let error = transport.send(get(&place.url())).await.unwrap_err();
        error.kind() == TransportErrorKind::Blocked
    };
    assert!(blocked().await);
    let opened = transport.egress().allow_host(host);
    transport.set_egress(opened.clone()).unwrap();
    assert!(transport.egress().is_same(&opened));
    transport.send(get(&place.url())).await.unwrap();
    transport.set_egress(closed).unwrap();
    assert!(blocked().await, "and closed again");
    transport.set_egress(opened).unwrap();
    transport.set_egress(Egress::tenant()).unwrap();
    assert!(blocked().await, "plain HTTP is not spoken any more");
    assert_eq!(place.came(), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_ends_by_the_policy_that_it_began_with() {
    use std::io::{Read as _, Write as _};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{NAME}:{}/", listener.local_addr().unwrap().port());
    let (came, has_come) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        came.send(()).unwrap();
        may_go.recv().unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let host: RegistryHost = url["http://".len()..]
        .trim_end_matches('/')
        .parse()
        .unwrap();
    let egress = Egress::tenant().allow_network("127.0.0.1".parse().unwrap());
    let egress = egress.allow_plain_http(host);
    let lookup = Scheduled(Arc::new(Mutex::new(
        [vec!["127.0.0.1".parse().unwrap()]].into(),
    )));
    let transport = Arc::new(guarded(egress, Arc::new(lookup)).unwrap());
    let sending = tokio::spawn({
        let (transport, url) = (Arc::clone(&transport), url.clone());
        async move { transport.send(get(&url)).await }
    });
    tokio::task::spawn_blocking(move || has_come.recv().unwrap())
        .await
        .unwrap();
    transport.set_egress(Egress::tenant()).unwrap();
    go.send(()).unwrap();
    let answer = sending.await.unwrap().unwrap();
    assert_eq!(answer.body().as_ref(), b"ok");
    let error = transport.send(get(&url)).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Blocked);
    server.join().unwrap();
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_policy_that_cannot_be_obeyed_changes_nothing() {
    let before = Egress::tenant();
    let transport = ReqwestTransport::new(before.clone()).unwrap();
    let broken = Egress::operator().add_root_certificate("no certificate");
    assert!(transport.set_egress(broken).is_err());
    assert!(transport.egress().is_same(&before));
}

#[tokio::test]
async fn everything_goes_through_the_proxy_and_no_name_is_looked_up_but_its_own() {
    // The proxy answers plain HTTP requests itself.
    let proxy = Place::new();
    let target = Place::new();
    let egress = |audience: Egress| {
        let login = Credential::new("platform", "secret").unwrap();
        let proxy: Proxy = format!("http://proxy.test:{}", proxy.port).parse().unwrap();
        audience
            .allow_plain_http(format!("{NAME}:{}", target.port).parse().unwrap())
            .allow_plain_http(format!("127.0.0.2:{}", target.port).parse().unwrap())
            .allow_plain_http("registry.corp.internal:80".parse().unwrap())
            .through_proxy(proxy.with_credential(login))
    };
    let lookup = || Arc::new(OnlyProxy);
    let transport = guarded(egress(Egress::tenant()), lookup()).unwrap();
    transport.send(get(&target.url())).await.unwrap();
    assert_eq!(proxy.came().1, 1);

    // The addresses that are visible in a URL are checked behind a proxy too.
    for inside in [
        &format!("http://127.0.0.2:{}/", target.port),
        "http://registry.corp.internal/",
    ] {
        let error = transport.send(get(inside)).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Blocked, "{inside}");
    }
    assert_eq!(proxy.came().1, 1);

    let operator = guarded(egress(Egress::operator()), lookup()).unwrap();
    let inside = "http://registry.corp.internal/";
    operator.send(get(inside)).await.unwrap();
    assert_eq!(proxy.came().1, 2);
    assert_eq!(target.came(), (0, 0));
}

/// The proxy has an inside address, and the resolver must not look up any other name.
struct OnlyProxy;

#[async_trait]
impl Lookup for OnlyProxy {
    async fn lookup(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(name, "proxy.test");
        Ok(vec![SocketAddr::new("127.0.0.2".parse().unwrap(), 0)])
    }
}

#[test]
fn names_that_are_never_public_are_judged_behind_a_proxy() {
    let proxy = || "http://proxy.example:3128".parse().unwrap();
    let blocks = |egress: &Egress, host: &str| {
        let uri = format!("https://{host}/").parse().unwrap();
        egress.check_uri(&uri).is_err()
    };
    let tenant = Egress::tenant().through_proxy(proxy());
    for host in [
        "localhost",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
        "metadata",
        "metadata.google.internal",
        "metadata.google.internal.",
        "printer.local",
        "nas.home.arpa",
        "home.arpa",
        "127.1",
        "169.254.169.254",
    ] {
        assert!(blocks(&tenant, host), "{host}");
        let directly = Egress::tenant();
        let is_address = host.starts_with('1');
        assert_eq!(blocks(&directly, host), is_address, "{host}");
    }
    for host in [
        "ghcr.io",
        "internal.example",
        "notlocal",
        "mylocalhost.example",
    ] {
        assert_eq!(blocks(&tenant, host), !host.contains('.'), "{host}");
    }
    let opened = tenant.allow_host("registry.corp.internal".parse().unwrap());
    assert!(!blocks(&opened, "registry.corp.internal"));
    assert!(blocks(&opened, "registry.corp.internal:8443"));
    assert!(!blocks(
        &Egress::operator().through_proxy(proxy()),
        "localhost"
    ));
}
