//! One function for each sentence of the contract.

use std::{
    error::Error,
    future::Future,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use choreo_registry::RegistryHost;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::{
    TransportFixture,
    peer::{Answer, Peer},
};
use crate::{
    egress::Egress,
    transport::{HttpTransport, Outbound, TransportError, TransportErrorKind as Kind},
};

/// The clauses for transports. Each starts a separate runtime, so it must not be called inside
/// another.
///
/// # Panics
///
/// If the transport violates the clause.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TransportClause;

type Outcome = Result<Response<Bytes>, TransportError>;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const LIMIT: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(500);
/// The tolerance for a deadline; beyond it a clause fails instead of hanging.
const GRACE: Duration = Duration::from_secs(3);
const CANARY: &str = "canary-7d1f";

/// The contents of a request.
impl TransportClause {
    /// The method, the path and the query are sent unchanged.
    pub fn request_line_is_unchanged(fixture: &TransportFixture) {
        let path = "/v2/Team%2Fapp/a%20b/?scope=repository%3Aa%3Apull&scope=x,y&empty=&last";
        for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
            let peer = Peer::saying(OK);
            let sent = request(&method, &peer.url(path), "");
            expect_ok(run(fixture, open(&peer), outbound(sent)));
            let line = format!("{method} {path} HTTP/1.1");
            assert_eq!(one(&peer).line, line, "the request line is sent as it is");
        }
    }

    /// Headers are sent unchanged: repeated ones in their order, and also bytes outside ASCII.
    pub fn headers_are_unchanged(fixture: &TransportFixture) {
        let peer = Peer::saying(OK);
        let mut sent = request(&Method::GET, &peer.url("/"), "");
        let raw = HeaderValue::from_bytes(b"caf\xe9 \xff").expect("visible bytes");
        let headers = sent.headers_mut();
        headers.append(header::ACCEPT, HeaderValue::from_static("a/b"));
        headers.append(header::ACCEPT, HeaderValue::from_static("c/d;q=0.5"));
        headers.insert("x-raw", raw.clone());
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("Basic eA=="),
        );
        expect_ok(run(fixture, open(&peer), outbound(sent)));
        let got = one(&peer);
        let words = "headers are sent as they are";
        assert_eq!(got.values("accept"), [&b"a/b"[..], b"c/d;q=0.5"], "{words}");
        assert_eq!(got.values("x-raw"), [raw.as_bytes()], "{words}");
        assert_eq!(got.values("authorization"), [b"Basic eA=="], "{words}");
    }

    /// The body is sent unchanged, with its length.
    pub fn body_is_unchanged(fixture: &TransportFixture) {
        let peer = Peer::saying(OK);
        let body = "grant_type=password&password=\0\r\n\r\n".repeat(2_000);
        let sent = request(&Method::POST, &peer.url("/token"), &body);
        expect_ok(run(fixture, open(&peer), outbound(sent)));
        let same = one(&peer).body == body.as_bytes();
        assert!(same, "the body is sent as it is, with its length");
    }

    /// Nothing is added except what HTTP requires: no credential, cookie, referer or encoding.
    pub fn nothing_is_added(fixture: &TransportFixture) {
        const MAY: [&str; 5] = [
            "host",
            "content-length",
            "accept",
            "user-agent",
            "connection",
        ];
        let peer = Peer::saying(OK);
        let sent = request(&Method::GET, &peer.url("/"), "");
        expect_ok(run(fixture, open(&peer), outbound(sent)));
        for (name, _) in one(&peer).headers {
            assert!(MAY.contains(&name.as_str()), "no header {name:?} is added");
        }
    }

    /// One call is one exchange: it is not repeated after a failure, nor if a status suggests it.
    pub fn nothing_is_retried(fixture: &TransportFixture) {
        let busy = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
        for answer in [busy, ""] {
            let peer = Peer::saying(answer);
            let outcome = run(fixture, open(&peer), get(&peer));
            assert_eq!(outcome.is_ok(), !answer.is_empty(), "{outcome:?}");
            one(&peer);
        }
    }

    /// No part of a response is sent with the next request.
    pub fn cookies_are_not_kept(fixture: &TransportFixture) {
        let peer = Peer::saying(
            "HTTP/1.1 200 OK\r\nset-cookie: a=b; Path=/\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n",
        );
        block_on(async {
            let transport = fixture.transport(open(&peer));
            expect_ok(send(&transport, get(&peer)).await);
            expect_ok(send(&transport, get(&peer)).await);
        });
        let kept = peer
            .requests()
            .iter()
            .any(|it| !it.values("cookie").is_empty());
        assert!(!kept, "cookies are not kept");
    }
}

/// The contents of a response.
impl TransportClause {
    /// The status, the headers and the body are returned unchanged.
    pub fn answer_is_unchanged(fixture: &TransportFixture) {
        let mut answer = b"HTTP/1.1 418 Odd\r\nwww-authenticate: Basic realm=\"a\"\r\n\
            www-authenticate: Bearer realm=\"b\"\r\nx-raw: \xe9\xff\r\n\
            content-length: 3\r\nconnection: close\r\n\r\n"
            .to_vec();
        answer.extend(b"\0\xff\n");
        let peer = Peer::saying(answer);
        let got = expect_ok(run(fixture, open(&peer), get(&peer)));
        assert_eq!(
            got.status(),
            StatusCode::IM_A_TEAPOT,
            "any status is an answer"
        );
        let offers = values(got.headers(), "www-authenticate");
        let expected = [&b"Basic realm=\"a\""[..], b"Bearer realm=\"b\""];
        assert_eq!(offers, expected, "repeated headers keep their order");
        assert_eq!(
            values(got.headers(), "x-raw"),
            [b"\xe9\xff"],
            "raw bytes stay"
        );
        assert_eq!(&got.body()[..], b"\0\xff\n", "the body comes as it is");
    }

    /// A body is not decompressed, because its bytes are hashed.
    pub fn answer_is_not_decompressed(fixture: &TransportFixture) {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let peer = Peer::saying(format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: 4\r\n\
                 connection: close\r\n\r\nbyte"
            ));
            let got = expect_ok(run(fixture, open(&peer), get(&peer)));
            assert_eq!(&got.body()[..], b"byte", "bodies are not decompressed");
            let told = values(got.headers(), "content-encoding");
            assert_eq!(told, [encoding.as_bytes()], "the encoding is told");
        }
    }

    /// A redirect is returned like any other response.
    pub fn redirects_are_returned(fixture: &TransportFixture) {
        for status in [301, 302, 303, 307, 308] {
            let target = Peer::saying(OK);
            let location = target.url("/else");
            let peer = Peer::saying(format!(
                "HTTP/1.1 {status} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\
                 connection: close\r\n\r\n"
            ));
            let egress = open(&peer).allow_plain_http(host(&target));
            let got = expect_ok(run(fixture, egress, get(&peer)));
            assert_eq!(got.status().as_u16(), status, "redirects are returned");
            let told = values(got.headers(), "location");
            assert_eq!(told, [location.as_bytes()], "the location is told");
            assert_eq!(target.connections(), 0, "redirects are not followed");
        }
    }

    /// A response to HEAD has no body, even if it names a length.
    pub fn head_has_no_body(fixture: &TransportFixture) {
        let peer = Peer::saying(
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\nconnection: close\r\n\r\n",
        );
        let sent = request(&Method::HEAD, &peer.url("/"), "");
        let got = expect_ok(run(fixture, open(&peer), outbound(sent)));
        assert!(got.body().is_empty(), "an answer to HEAD has no body");
        let told = values(got.headers(), "content-length");
        assert_eq!(told, [b"99999999"], "the length is told");
    }

    /// A body that ends early is [`Kind::Connect`], never a shorter body.
    pub fn cut_body_is_no_success(fixture: &TransportFixture) {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nshort",
        ] {
            let peer = Peer::saying(answer);
            expect(run(fixture, open(&peer), get(&peer)), Kind::Connect);
        }
    }
}

/// Limits of size and time.
impl TransportClause {
    /// A body of exactly the limit is returned; one more byte is [`Kind::TooLarge`].
    pub fn limit_is_exact(fixture: &TransportFixture) {
        for (size, fits) in [(LIMIT, true), (LIMIT + 1, false)] {
            let body = "x".repeat(size);
            let half = &body[..size / 2];
            let rest = &body[size / 2..];
            for framed in [
                format!("content-length: {size}\r\n\r\n{body}"),
                format!(
                    "transfer-encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
                    half.len(),
                    rest.len()
                ),
            ] {
                let peer =
                    Peer::saying(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{framed}"));
                let outcome = run(fixture, open(&peer), get(&peer));
                if fits {
                    let whole = expect_ok(outcome).body().len();
                    assert_eq!(whole, LIMIT, "a body of the limit is whole");
                } else {
                    expect(outcome, Kind::TooLarge);
                }
            }
        }
    }

    /// An endless body is not read beyond the limit, and its connection is closed.
    pub fn endless_body_is_left(fixture: &TransportFixture) {
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        let peer = Peer::start(|_| Answer::Endless(head.to_vec()));
        block_on(async {
            let transport = fixture.transport(open(&peer));
            expect(send(&transport, get(&peer)).await, Kind::TooLarge);
            assert!(peer.is_left().await, "a body that is too large is left");
        });
    }

    /// The call ends at its deadline if the server sends nothing.
    pub fn silence_ends_at_the_deadline(fixture: &TransportFixture) {
        ends_in_time(fixture, &Peer::start(|_| Answer::Silence));
    }

    /// The call ends at its deadline if the body arrives slowly.
    pub fn dribble_ends_at_the_deadline(fixture: &TransportFixture) {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n";
        ends_in_time(fixture, &Peer::start(|_| Answer::Dribble(head.to_vec())));
    }

    /// Dropping the future closes the exchange.
    pub fn cancelled_exchange_is_closed(fixture: &TransportFixture) {
        let peer = Peer::start(|_| Answer::Silence);
        block_on(async {
            let transport = fixture.transport(open(&peer));
            let call = send(&transport, get(&peer));
            tokio::time::timeout(SHORT, call)
                .await
                .expect_err("nobody answers");
            assert!(peer.has_request().await, "the request is sent at once");
            assert!(peer.is_left().await, "a cancelled exchange is closed");
        });
    }

    /// Calls do not wait for one another, not even to the same host.
    pub fn calls_do_not_wait(fixture: &TransportFixture) {
        const CALLS: usize = 8;
        let peer = Peer::start(|_| Answer::Together(CALLS, OK.into()));
        block_on(async {
            let transport = fixture.transport(open(&peer));
            let started = Instant::now();
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..CALLS {
                let (transport, sent) = (Arc::clone(&transport), get(&peer));
                calls.spawn(async move { send(&transport, sent).await });
            }
            for outcome in calls.join_all().await {
                expect_ok(outcome);
            }
            let waited = started.elapsed();
            assert!(
                waited < GRACE,
                "calls do not wait for one another: {waited:?}"
            );
        });
    }
}

/// The destination of a request.
impl TransportClause {
    /// An address is checked in any spelling.
    pub fn addresses_are_judged_in_any_spelling(fixture: &TransportFixture) {
        let peer = Peer::saying(OK);
        let port = peer.address.port();
        for spelling in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "017700000001"] {
            let sent = get_url(&format!("http://{spelling}:{port}/"));
            expect(run(fixture, closed(&peer), sent), Kind::Blocked);
        }
        let mapped = get_url(&format!("http://[::ffff:127.0.0.1]:{port}/"));
        expect(run(fixture, closed(&peer), mapped), Kind::Blocked);
        assert_eq!(
            peer.connections(),
            0,
            "nobody connects to a forbidden address"
        );
        expect_ok(run(fixture, open(&peer), get(&peer)));
    }

    /// A name is checked by the addresses that it resolves to; an allowed host is allowed by its
    /// name.
    pub fn names_are_judged_by_their_addresses(fixture: &TransportFixture) {
        let peer = Peer::saying(OK);
        let name = format!("localhost:{}", peer.address.port());
        let named: RegistryHost = name.parse().expect("a host");
        let sent = || get_url(&format!("http://{name}/"));
        let plain = || Egress::tenant().allow_plain_http(named.clone());
        expect(run(fixture, plain(), sent()), Kind::Blocked);
        assert_eq!(
            peer.connections(),
            0,
            "nobody connects to a forbidden address"
        );
        expect_ok(run(fixture, plain().allow_host(named.clone()), sent()));
    }

    /// Plain HTTP is sent only if the policy allows it.
    pub fn plain_http_needs_leave(fixture: &TransportFixture) {
        let peer = Peer::saying(OK);
        let network = "127.0.0.0/8".parse().expect("a network");
        let egress = Egress::tenant().allow_network(network);
        expect(run(fixture, egress, get(&peer)), Kind::Blocked);
        assert_eq!(peer.connections(), 0, "plain http needs leave");
    }

    /// Schemes other than `http` and `https` are blocked.
    pub fn other_schemes_are_blocked(fixture: &TransportFixture) {
        let peer = Peer::saying(OK);
        for scheme in ["ftp", "ws", "gopher"] {
            let sent = get_url(&format!("{scheme}://{}/", peer.address));
            expect(run(fixture, open(&peer), sent), Kind::Blocked);
        }
        assert_eq!(peer.connections(), 0, "only http and https are spoken");
    }

    /// A user name in a URI is blocked.
    pub fn user_info_is_blocked(fixture: &TransportFixture) {
        let peer = Peer::saying(OK);
        let sent = get_url(&format!("http://user:word@{}/", peer.address));
        expect(run(fixture, open(&peer), sent), Kind::Blocked);
        assert_eq!(peer.connections(), 0, "user names do not stand in uris");
    }
}

/// The description of a failure.
impl TransportClause {
    /// A port without a server is [`Kind::Connect`], and so is a closed connection; other text
    /// than HTTP is [`Kind::Protocol`].
    pub fn failures_are_told_apart(fixture: &TransportFixture) {
        for (answer, kind) in [
            ("", Kind::Connect),
            ("ODD/9.9 hello\r\n\r\n", Kind::Protocol),
        ] {
            let peer = Peer::saying(answer);
            expect(run(fixture, open(&peer), get(&peer)), kind);
        }
        let (egress, sent) = nobody("/");
        expect(run(fixture, egress, sent), Kind::Connect);
    }

    /// Errors contain no query, header or body: not in their text, their `Debug` or their causes.
    pub fn errors_hold_no_secret(fixture: &TransportFixture) {
        let path = format!("/token?password={CANARY}");
        let endless = b"HTTP/1.1 200 OK\r\n\r\n";
        let peers = [
            Peer::saying(""),
            Peer::saying("ODD/9.9\r\n\r\n"),
            Peer::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"),
            Peer::start(|_| Answer::Endless(endless.to_vec())),
            Peer::start(|_| Answer::Silence),
        ];
        let calls = peers.iter().flat_map(|peer| {
            let sent = || get_url(&peer.url(&path));
            [(open(peer), sent()), (closed(peer), sent())]
        });
        for (egress, mut sent) in calls.chain([nobody(&path)]) {
            let secret = HeaderValue::from_static(CANARY);
            sent.request
                .headers_mut()
                .insert(header::AUTHORIZATION, secret);
            sent.deadline = Instant::now() + SHORT;
            let error = run(fixture, egress, sent).expect_err("no whole answer");
            let mut cause: Option<&dyn Error> = Some(&error);
            while let Some(error) = cause {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains(CANARY), "errors hold no secret: {shown}");
                cause = error.source();
            }
        }
    }
}

fn ends_in_time(fixture: &TransportFixture, peer: &Peer) {
    let mut sent = get(peer);
    let started = Instant::now();
    sent.deadline = started + SHORT;
    expect(run(fixture, open(peer), sent), Kind::Timeout);
    assert!(
        started.elapsed() >= SHORT,
        "the call does not end before its deadline"
    );
}

/// The policy that allows a peer.
fn open(peer: &Peer) -> Egress {
    closed(peer).allow_network("127.0.0.0/8".parse().expect("a network"))
}

/// The policy that forbids the address of a peer and allows everything else about it.
fn closed(peer: &Peer) -> Egress {
    Egress::tenant().allow_plain_http(host(peer))
}

fn host(peer: &Peer) -> RegistryHost {
    peer.address.to_string().parse().expect("a host")
}

/// A call to a port on which nothing listens.
fn nobody(path: &str) -> (Egress, Outbound) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has one");
    let egress = Egress::tenant()
        .allow_plain_http(address.to_string().parse().expect("a host"))
        .allow_network("127.0.0.0/8".parse().expect("a network"));
    (egress, get_url(&format!("http://{address}{path}")))
}

fn request(method: &Method, url: &str, body: &str) -> http::Request<Bytes> {
    http::Request::builder()
        .method(method)
        .uri(url)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .expect("a method and a uri")
}

fn outbound(request: http::Request<Bytes>) -> Outbound {
    Outbound::new(request, LIMIT, Instant::now() + PATIENCE)
}

fn get(peer: &Peer) -> Outbound {
    get_url(&peer.url("/v2/"))
}

fn get_url(url: &str) -> Outbound {
    outbound(request(&Method::GET, url, ""))
}

/// One call through a fresh transport.
fn run(fixture: &TransportFixture, egress: Egress, outbound: Outbound) -> Outcome {
    block_on(async { send(&fixture.transport(egress), outbound).await })
}

async fn send(transport: &Arc<dyn HttpTransport>, outbound: Outbound) -> Outcome {
    let end = outbound.deadline + GRACE;
    tokio::time::timeout_at(end.into(), transport.send(outbound))
        .await
        .expect("the call ends at its deadline")
}

fn block_on<T>(clause: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let done = runtime.block_on(clause);
    // A name may still be resolving.
    runtime.shutdown_background();
    done
}

fn expect_ok(outcome: Outcome) -> Response<Bytes> {
    outcome.unwrap_or_else(|error| panic!("an answer comes back: {error:?}"))
}

fn expect(outcome: Outcome, kind: Kind) {
    match outcome {
        Ok(got) => panic!("this is {kind:?}, and no answer: {}", got.status()),
        Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
    }
}

fn one(peer: &Peer) -> super::peer::Received {
    let mut requests = peer.requests();
    assert_eq!(requests.len(), 1, "one call is one request");
    requests.remove(0)
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect()
}
