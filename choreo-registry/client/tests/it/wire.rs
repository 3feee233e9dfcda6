//! A registry behind a wire that misbehaves by script: latency, resets, half-closed connections, drips,
//! bodies that are cut, changed, huge or endless.
//!
//! These properties are checked for each script: an answer is the true one or an error of a
//! fitting kind, the call ends at its deadline, and no state of a broken exchange affects the next
//! one.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use choreo_registry_client::{
    ErrorKind, RegistryClient, egress::Egress, transport::ReqwestTransport,
};
use choreo_test_registry::TestRegistry;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{cases, open};

/// The fault in the bytes that a registry sends on one connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mischief {
    None,
    /// The first byte waits.
    Latency(Duration),
    /// The connection is reset after so many bytes.
    Reset(usize),
    /// The registry's half of the connection ends after so many bytes; the client's stays open.
    HalfClose(usize),
    /// After so many bytes they come one by one.
    Drip(usize),
    /// After so many bytes nothing comes any more.
    Stall(usize),
    /// One byte is another.
    Corrupt(usize),
    /// An answer of five million bytes.
    Huge,
    /// An answer without end.
    Endless,
}

/// One wire to a registry, and what it does to each new connection.
struct Wire {
    address: SocketAddr,
    mischief: Arc<Mutex<Mischief>>,
}

impl Wire {
    async fn to(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mischief = Arc::new(Mutex::new(Mischief::None));
        let shared = Arc::clone(&mischief);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mischief = *shared.lock().unwrap();
                tokio::spawn(carry(client, registry, mischief));
            }
        });
        Self { address, mischief }
    }

    fn set(&self, mischief: Mischief) {
        *self.mischief.lock().unwrap() = mischief;
    }

    fn client(&self) -> RegistryClient {
        let host = self.address.to_string();
        let egress = Egress::tenant()
            .allow_network("127.0.0.0/8".parse().unwrap())
            .allow_plain_http(host.parse().unwrap());
        let transport = Arc::new(ReqwestTransport::new(egress).unwrap());
        RegistryClient::new(host.parse().unwrap(), None, transport).with_timeout(TIMEOUT)
    }
}

/// One connection, until either side ends it.
#[expect(clippy::disallowed_methods, reason = "the wire is no client")]
async fn carry(client: TcpStream, registry: SocketAddr, mischief: Mischief) {
    let Ok(registry) = TcpStream::connect(registry).await else {
        return;
    };
    let (mut requests, to_client) = client.into_split();
    let (answers, mut to_registry) = registry.into_split();
    let forward = async {
        let _ = tokio::io::copy(&mut requests, &mut to_registry).await;
    };
    let back = async {
        let reset = match mischief {
            Mischief::Huge | Mischief::Endless => flood(answers, to_client, mischief).await,
            _ => spoil(answers, to_client, mischief).await,
        };
        reset.unwrap_or(())
    };
    tokio::select! {
        () = forward => {}
        () = back => {}
    }
}

type Answers = tokio::net::tcp::OwnedReadHalf;
type ToClient = tokio::net::tcp::OwnedWriteHalf;

/// Passes the registry's bytes on, with one mischief among them.
async fn spoil(
    mut answers: Answers,
    mut to_client: ToClient,
    mischief: Mischief,
) -> std::io::Result<()> {
    let (mut buffer, mut passed) = ([0; 4096], 0);
    if let Mischief::Latency(wait) = mischief {
        tokio::time::sleep(wait).await;
    }
    loop {
        let count = answers.read(&mut buffer).await?;
        if count == 0 {
            return to_client.shutdown().await;
        }
        let part = &mut buffer[..count];
        let (Mischief::Reset(at)
        | Mischief::HalfClose(at)
        | Mischief::Drip(at)
        | Mischief::Stall(at)
        | Mischief::Corrupt(at)) = mischief
        else {
            to_client.write_all(part).await?;
            continue;
        };
        let sound = at.saturating_sub(passed).min(count);
        passed += count;
        to_client.write_all(&part[..sound]).await?;
        let Some(rest) = part.get_mut(sound..).filter(|rest| !rest.is_empty()) else {
            continue;
        };
        match mischief {
            Mischief::Reset(_) => return to_client.as_ref().set_zero_linger(),
            Mischief::HalfClose(_) => {
                to_client.shutdown().await?;
                std::future::pending::<()>().await;
            }
            Mischief::Drip(_) => {
                for byte in rest {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    to_client.write_all(&[*byte]).await?;
                }
            }
            Mischief::Corrupt(_) => {
                if passed - rest.len() == at {
                    rest[0] ^= 1;
                }
                to_client.write_all(rest).await?;
            }
            _ => std::future::pending().await,
        }
    }
}

/// Answers the first request with a body that is too large.
async fn flood(
    mut answers: Answers,
    mut to_client: ToClient,
    mischief: Mischief,
) -> std::io::Result<()> {
    answers.read_exact(&mut [0]).await?;
    let length = match mischief {
        Mischief::Huge => format!("content-length: {HUGE}"),
        _ => "transfer-encoding: chunked".to_owned(),
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{length}\r\n\r\n");
    to_client.write_all(head.as_bytes()).await?;
    let mut left = HUGE;
    while mischief == Mischief::Endless || left > 0 {
        if mischief == Mischief::Endless {
            to_client.write_all(b"400\r\n").await?;
        }
        to_client.write_all(&[b' '; 1024]).await?;
        if mischief == Mischief::Endless {
            to_client.write_all(b"\r\n").await?;
        }
        left = left.saturating_sub(1024);
    }
    Ok(())
}

/// One seed, one mischief; SplitMix64.
fn mischief(seed: u32) -> Mischief {
    let mut z = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let at = usize::try_from((z >> 32) % 1_100).unwrap();
    match z % 16 {
        0 => Mischief::Latency(Duration::from_millis(z >> 40 & 63)),
        1 => Mischief::Latency(TIMEOUT * 2),
        2 | 3 => Mischief::Reset(at),
        4 | 5 => Mischief::HalfClose(at),
        6 => Mischief::Drip(at),
        7 => Mischief::Stall(at),
        8 => Mischief::Huge,
        9 => Mischief::Endless,
        _ => Mischief::Corrupt(at),
    }
}

/// Returns whether an error is a valid result of a fault.
fn fits(mischief: Mischief, error: ErrorKind) -> bool {
    use ErrorKind as K;
    match mischief {
        Mischief::None => false,
        Mischief::Latency(_) | Mischief::Drip(_) | Mischief::Stall(_) => error == K::Timeout,
        Mischief::Reset(_) | Mischief::HalfClose(_) => {
            matches!(error, K::Unreachable | K::InvalidResponse | K::Timeout)
        }
        // Read as the answer to the first request, whose body is not read, or too large.
        Mischief::Huge | Mischief::Endless => {
            matches!(
                error,
                K::TooLarge | K::Timeout | K::NotARegistry | K::Unreachable
            )
        }
        // Anything may be another: a status, a header, a length, a body.
        Mischief::Corrupt(_) => !matches!(error, K::Blocked | K::WrongRegistry),
    }
}

/// Whether one mischief was survived without any effect.
async fn survives(registry: &TestRegistry, truth: &str, seed: u32) -> bool {
    let wire = Wire::to(registry.address()).await;
    let client = wire.client();
    let image = format!("{}/team/app:1", wire.address).parse().unwrap();
    let mischief = mischief(seed);
    wire.set(mischief);
    let started = Instant::now();
    let result = client.resolve(&image).await;
    assert!(
        started.elapsed() < MUCH_LATER,
        "{seed}, {mischief:?}: {:?}",
        started.elapsed()
    );
    match &result {
        Ok(resolved) => assert_eq!(resolved.digest().as_str(), truth, "{seed}, {mischief:?}"),
        Err(error) => assert!(
            fits(mischief, error.kind()),
            "{seed}, {mischief:?}: {error:?}"
        ),
    }
    // The wire is sound again. A connection that was kept from before may still fail, once or twice.
    wire.set(Mischief::None);
    let mut again = client.resolve(&image).await;
    for _ in 0..2 {
        if again.is_err() {
            again = client.resolve(&image).await;
        }
    }
    let again = again.unwrap_or_else(|error| panic!("{seed}, after {mischief:?}: {error:?}"));
    assert_eq!(again.digest().as_str(), truth, "{seed}, after {mischief:?}");
    result.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mischief_on_the_wire_gives_a_false_answer_or_outlasts_the_deadline() {
    let registry = Arc::new(open().await);
    let truth: Arc<str> = registry.digest("team/app", "1").unwrap().into();
    let (mut survived, mut failed) = (0, 0);
    // By thirty at a time: most of them wait.
    let seeds: Vec<u32> = (0..cases(90).min(20_000)).collect();
    for some in seeds.chunks(30) {
        let running: Vec<_> = some
            .iter()
            .map(|seed| {
                let (registry, truth, seed) = (Arc::clone(&registry), Arc::clone(&truth), *seed);
                tokio::spawn(async move { survives(&registry, &truth, seed).await })
            })
            .collect();
        for script in running {
            if script.await.unwrap() {
                survived += 1;
            } else {
                failed += 1;
            }
        }
    }
    assert!(survived > 10 && failed > 20, "{survived} {failed}");
}

/// The control: a client that believes what comes takes a changed body for the truth.
#[expect(
    clippy::disallowed_methods,
    reason = "a client that must fail the test"
)]
#[tokio::test]
async fn a_naive_client_believes_a_changed_body() {
    let registry = open().await;
    let truth = registry.digest("team/app", "1").unwrap();
    let wire = Wire::to(registry.address()).await;
    let naive = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut believed = 0;
    for at in (300..600).step_by(10) {
        wire.set(Mischief::Corrupt(at));
        let url = format!("http://{}/v2/team/app/manifests/1", wire.address);
        let request = naive
            .get(url)
            .header("accept", "application/vnd.oci.image.manifest.v1+json")
            .header("connection", "close");
        if let Ok(answer) = request.send().await
            && answer.status().is_success()
            && let Ok(body) = answer.bytes().await
        {
            let digest = choreo_registry::Digest::sha256_of(&body);
            believed += usize::from(digest.as_str() != truth);
        }
    }
    assert!(believed > 5, "{believed}");
}

/// How long a call may take here.
const TIMEOUT: Duration = Duration::from_millis(600);
/// A busy machine may be late, but what hangs never ends.
const MUCH_LATER: Duration = Duration::from_secs(10);
const HUGE: usize = 5_000_000;
