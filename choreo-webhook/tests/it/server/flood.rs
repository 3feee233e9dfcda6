//! Guards a legitimate client against floods of slow, idle and greedy clients.
//!
//! The flood comes from separate processes with 500 connections each. Each process is this program
//! with [`flood_helper`] as its only test. `CHOREO_TEST_CONNECTIONS` sets the total number of
//! connections (1,000 by default).

use std::convert::Infallible;
use std::env;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use choreo_webhook::server::ServerLimits;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::{get, serve};
use crate::support::World;

const EACH: usize = 500;
/// The time that other load of the machine may add to a response. A client without a place waits
/// for seconds.
const NOISE: Duration = Duration::from_millis(250);
/// The time after which a client gives up.
const PATIENCE: Duration = Duration::from_secs(3);

/// The tests run one at a time, because they measure time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn connections() -> usize {
    let text = env::var("CHOREO_TEST_CONNECTIONS").ok();
    text.map_or(1000, |text| text.parse().expect("it is a number"))
}

/// The pause between two actions of a connection, such as a reconnect. In total, a thousand actions
/// happen each second. With more, the test would measure only the remaining capacity of the machine.
fn pause() -> Duration {
    Duration::from_millis(connections() as u64)
}

/// The behavior of the connections of a flood. All of them reconnect when they are closed.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// Sends nothing.
    Silent,
    /// Sends a head, byte by byte.
    SlowHeads,
    /// Sends the head of a POST with a valid token, and its body byte by byte.
    SlowBodies,
    /// Requests a long page and does not read it.
    SlowReaders,
    /// Sends a cheap request now and then, and keeps the connection.
    Idlers,
}

impl Flood {
    const ALL: [Self; 5] = [
        Self::Silent,
        Self::SlowHeads,
        Self::SlowBodies,
        Self::SlowReaders,
        Self::Idlers,
    ];

    async fn run(self, stream: &mut TcpStream, token: &str) -> std::io::Result<()> {
        let mut one = [0; 1];
        match self {
            Self::Silent => stream.read(&mut one).await.map(drop),
            Self::SlowHeads => trickle(stream, "GET / HTTP/1.1\r\nhost: x\r\nx: ").await,
            Self::SlowBodies => {
                let head = format!(
                    "POST /v1/deployments HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n\
                     content-type: application/json\r\ncontent-length: 9000\r\n\r\n"
                );
                trickle(stream, &head).await
            }
            Self::SlowReaders => {
                let request = b"GET /page HTTP/1.1\r\nhost: x\r\n\r\n";
                stream.write_all(request).await?;
                // It only detects the end of the connection.
                loop {
                    tokio::time::sleep(pause()).await;
                    stream.write_all(b"\r\n").await?;
                }
            }
            Self::Idlers => loop {
                let request = b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n";
                stream.write_all(request).await?;
                if stream.read(&mut [0; 4096]).await? == 0 {
                    return Ok(());
                }
                tokio::time::sleep(pause() * 2).await;
            },
        }
    }
}

async fn trickle(stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(b"x").await?;
        tokio::time::sleep(pause()).await;
    }
}

/// The process of a flood, which is not a test.
#[tokio::test]
#[ignore = "the tests of floods start it"]
async fn flood_helper() {
    let Ok(arguments) = env::var("CHOREO_TEST_FLOOD") else {
        return;
    };
    let [flood, address, token] = arguments.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("{arguments:?} is no flood");
    };
    let flood = Flood::ALL[flood.parse::<usize>().unwrap()];
    let address: SocketAddr = address.parse().unwrap();
    for number in 0..EACH {
        let token = token.to_owned();
        tokio::spawn(async move {
            // The starts are spread out.
            tokio::time::sleep(pause() * number as u32 / EACH as u32).await;
            loop {
                if let Ok(mut stream) = dial(address, flood).await {
                    let _ = flood.run(&mut stream, &token).await;
                }
                tokio::time::sleep(pause()).await;
            }
        });
    }
    // Until the process that started it ends.
    let wait = || std::io::stdin().read_to_end(&mut Vec::new());
    let _ = tokio::task::spawn_blocking(wait).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test dials the server that it started"
)]
async fn dial(address: SocketAddr, flood: Flood) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if matches!(flood, Flood::SlowReaders) {
        socket.set_recv_buffer_size(2048)?;
    }
    socket.connect(address).await
}

/// The processes of a flood, which are killed when they are dropped.
fn start(flood: usize, address: SocketAddr, token: &str) -> Vec<Child> {
    let program = env::current_exe().unwrap();
    let start = |_| {
        Command::new(&program)
            .args(["--exact", "server::flood::flood_helper", "--ignored"])
            .env("CHOREO_TEST_FLOOD", format!("{flood} {address} {token}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    };
    (0..connections().div_ceil(EACH)).map(start).collect()
}

/// Returns the sorted response times of a legitimate client that sends one request at a time, and
/// the number of missing responses.
async fn ask(
    (address, paths): (SocketAddr, &[&str]),
    authorization: &str,
    times: usize,
) -> (Vec<Duration>, usize) {
    let (mut took, mut lost) = (Vec::new(), 0);
    for _ in 0..times {
        for path in paths {
            let start = Instant::now();
            let answer = tokio::time::timeout(PATIENCE, get(address, path, authorization)).await;
            match answer {
                Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200 ") => took.push(start.elapsed()),
                _ => lost += 1,
            }
        }
        if lost > 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    (took, lost)
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[sorted.len() * 99 / 100]
}

fn tell(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "floods: {what}");
}

/// Guards that during a flood from the same address, a legitimate client gets its responses as fast
/// as before, and one that waits for a deployment stays connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_delays_nobody() {
    let _alone = ALONE.lock().await;
    let mut limits = ServerLimits::default();
    limits.connections = connections() * 2 / 5;
    limits.connections_per_address = limits.connections;
    for (number, flood) in Flood::ALL.into_iter().enumerate() {
        let world = Arc::new(World::new().await);
        let server = serve(&world, limits);
        let authorization = format!("Bearer {}", world.token.expose());
        let front = (server.address, &["/healthz", "/v1/deployments/d-1"][..]);
        let side = (server.health_address.unwrap(), &["/healthz", "/readyz"][..]);
        let (idle, lost) = ask(front, &authorization, 100).await;
        assert_eq!(lost, 0, "before the flood");

        *world.intake.closed.lock().unwrap() = true;
        let (address, waiting) = (server.address, authorization.clone());
        let poll =
            tokio::spawn(
                async move { get(address, "/v1/deployments/d-1?wait=25", &waiting).await },
            );
        let flooding = start(number, server.address, &authorization);
        tokio::time::sleep(pause() * 2).await;
        let (flooded, lost) = ask(front, &authorization, 100).await;
        let (health, _) = ask(side, "", 20).await;
        *world.intake.closed.lock().unwrap() = false;
        let polled = poll.await.unwrap().unwrap();
        for mut process in flooding {
            process.kill().await.unwrap();
        }

        let (before, during) = (p99(&idle), p99(&flooded));
        tell(&format!(
            "{flood:?} of {}: p99 {before:?} idle, {during:?} flooded; {lost} lost; health {:?}",
            connections(),
            health.last()
        ));
        assert!(polled.starts_with("HTTP/1.1 200 "), "{flood:?}: {polled}");
        assert_eq!(lost, 0, "{flood:?}");
        assert_eq!(health.len(), 40, "{flood:?}: the health checks' own way");
        assert!(
            during <= before * 2 + NOISE,
            "{flood:?}: {during:?} instead of {before:?}"
        );
    }
}

/// The control: plain hyper with a limit of connections and a deadline of heads. The same floods
/// shut the client out, so the test above can fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_shuts_clients_out_of_plain_hyper() {
    let _alone = ALONE.lock().await;
    for flood in [1, 3] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Arc::new(Semaphore::new(connections() * 2 / 5));
        let serving = tokio::spawn(async move {
            loop {
                let place = Arc::clone(&places).acquire_owned().await.unwrap();
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let page = |request: Request<Incoming>| async move {
                    let text: &[u8] = match request.uri().path() {
                        "/page" => &[b'x'; 1 << 20],
                        _ => b"ok",
                    };
                    Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from(text)))
                };
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(5))
                    .serve_connection(TokioIo::new(stream), service_fn(page));
                tokio::spawn(async move {
                    let _ = connection.await;
                    drop(place);
                });
            }
        });
        assert_eq!(ask((address, &["/"]), "", 5).await.1, 0, "before the flood");
        let flooding = start(flood, address, "");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (_, lost) = ask((address, &["/"]), "", 2).await;
        for mut process in flooding {
            process.kill().await.unwrap();
        }
        serving.abort();
        assert!(lost > 0, "a flood that stops nobody proves nothing");
    }
}
