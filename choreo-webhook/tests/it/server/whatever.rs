//! Guards that no bytes of a client cause an error of the server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use choreo_webhook::server::ServerLimits;
use proptest::collection::vec;
use proptest::prelude::*;

use super::serve;
use crate::support::World;

struct Stage {
    address: SocketAddr,
    token: String,
}

/// Starts a server on a separate thread, and returns it with the authorization of a valid token.
fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let world = World::new().await;
                let mut limits = ServerLimits::default();
                // Most inputs are incomplete requests, and hyper does not respond when they end.
                let short = Duration::from_millis(100);
                (limits.head, limits.keep_alive, limits.body) = (short, short, short);
                let server = serve(&world, limits);
                let token = world.token.expose().to_owned();
                let address = server.address;
                tell.send(Stage { address, token }).unwrap();
                server.ended.await.unwrap();
            });
        });
        told.recv().unwrap()
    })
}

/// Sends only these bytes, and returns everything that the server sends until it closes the
/// connection.
#[expect(
    clippy::disallowed_methods,
    reason = "a test dials the server that it started"
)]
fn send(bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(stage().address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if let Err(error) = read {
        // A server may reset a connection with unread bytes, but may not leave its client waiting.
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let line = "(GET|POST|PUT|[ -~]{0,9}) (/v1/deployments(/[ -~]{0,9})?|/readyz|[!-~]{0,20})( HTTP/1\\.[01]| [ -~]{0,9})?";
    let header = prop_oneof![
        Just("host: x".to_owned()),
        Just("content-type: application/json".to_owned()),
        Just("authorization: TOKEN".to_owned()),
        Just("transfer-encoding: chunked".to_owned()),
        Just("expect: 100-continue".to_owned()),
        Just("connection: upgrade".to_owned()),
        "content-length: [0-9]{1,3}",
        "[a-z-]{1,12}:[ -~]{0,30}",
    ];
    let headers = vec(header, 0..6);
    let body = prop_oneof![
        vec(any::<u8>(), 0..100),
        Just(b"{\"image\":\"registry.example.com/shop/orders:1\"}".to_vec()),
        Just(b"5\r\n{\"ima\r\nffffffffff\r\nx".to_vec()),
    ];
    (line, headers, body).prop_map(|(line, headers, body)| {
        let head = format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n"));
        let token = format!("Bearer {}", stage().token);
        [head.replace("TOKEN", &token).into_bytes(), body].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn never_a_server_error(parts in vec(prop_oneof![request(), vec(any::<u8>(), 0..100)], 0..4)) {
        let answer = send(&parts.concat());
        for line in answer.split("HTTP/1.").skip(1) {
            // "1 200 OK" or "0 400 Bad Request"
            let status = line.get(2..3).unwrap_or_default();
            prop_assert!(["1", "2", "4"].contains(&status), "{}", answer);
        }
        prop_assert!(!answer.contains(&stage().token), "a token came back");
    }
}

/// The control: the property above sees responses.
#[test]
fn the_stage_answers() {
    let head = "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = send(head.repeat(3).as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
}
