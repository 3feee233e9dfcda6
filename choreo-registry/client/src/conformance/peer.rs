//! Servers on loopback that run on threads, because only the feature `reqwest` enables
//! Tokio's networking.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// A request that a peer has received.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) line: String,
    /// Names in lower case, in their order.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn values(&self, name: &str) -> Vec<&[u8]> {
        let of_name = self.headers.iter().filter(|(given, _)| given == name);
        of_name.map(|(_, value)| value.as_slice()).collect()
    }
}

/// The action of a peer after a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Sends this and closes.
    Bytes(Vec<u8>),
    /// Sends this, then one byte at intervals.
    Dribble(Vec<u8>),
    /// Sends this, then zeroes as fast as the client reads them.
    Endless(Vec<u8>),
    /// Sends nothing until the client disconnects.
    Silence,
    /// Answers once this many requests have arrived.
    Together(usize, Vec<u8>),
}

/// A server of one clause: each connection has one request.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    left: AtomicUsize,
    requests: Mutex<Vec<Received>>,
}

impl Peer {
    pub(super) fn start(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has one");
        let (seen, answer) = (Arc::<Seen>::default(), Arc::new(answer));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { address, seen }
    }

    /// Creates a peer that sends the same answer to each client.
    pub(super) fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_| Answer::Bytes(answer.clone()))
    }

    pub(super) fn url(&self, path_and_query: &str) -> String {
        format!("http://{}{path_and_query}", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> Vec<Received> {
        self.seen.requests().clone()
    }

    /// Returns whether a client has disconnected early, now or soon.
    pub(super) async fn is_left(&self) -> bool {
        soon(|| self.seen.left.load(Ordering::SeqCst) > 0).await
    }

    pub(super) async fn has_request(&self) -> bool {
        soon(|| !self.seen.requests().is_empty()).await
    }
}

impl Seen {
    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Received>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn soon(is_so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

fn serve(mut stream: TcpStream, seen: &Seen, answer: &dyn Fn(&Received) -> Answer) {
    let Ok(request) = read(&stream) else { return };
    seen.requests().push(request.clone());
    let finished = match answer(&request) {
        Answer::Bytes(bytes) => stream.write_all(&bytes),
        Answer::Dribble(head) => drip(&mut stream, &head, b".", Duration::from_millis(50)),
        Answer::Endless(head) => drip(&mut stream, &head, &[0; 16 * 1024], Duration::ZERO),
        Answer::Silence => match stream.read(&mut [0]) {
            Ok(0) => Err(io::ErrorKind::BrokenPipe.into()),
            other => other.map(|_| ()),
        },
        Answer::Together(count, bytes) => {
            let end = Instant::now() + Duration::from_secs(5);
            while seen.requests().len() < count && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            stream.write_all(&bytes)
        }
    };
    if finished.is_err() {
        seen.left.fetch_add(1, Ordering::SeqCst);
    }
}

/// Sends the same bytes repeatedly until the client disconnects.
fn drip(stream: &mut TcpStream, head: &[u8], drop: &[u8], wait: Duration) -> io::Result<()> {
    stream.write_all(head)?;
    loop {
        stream.write_all(drop)?;
        std::thread::sleep(wait);
    }
}

fn read(stream: &TcpStream) -> io::Result<Received> {
    let mut reader = BufReader::new(stream);
    let mut received = Received {
        line: String::from_utf8_lossy(&line(&mut reader)?).into_owned(),
        ..Received::default()
    };
    loop {
        let line = line(&mut reader)?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        let value = line[colon + 1..].trim_ascii().to_vec();
        received.headers.push((name, value));
    }
    let length = received
        .values("content-length")
        .first()
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    received.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut received.body)?;
    Ok(received)
}

fn line(reader: &mut BufReader<&TcpStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}
