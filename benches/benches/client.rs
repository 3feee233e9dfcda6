//! Requests for the digest of a name, with 64 concurrent calls: the client's warm `resolve`, oci-client, and
//! bare `HEAD` requests, which are the maximum that the HTTP library itself reaches.
//!
//! The registry is a second process of this program (`--serve`) with fixed responses from memory. `--
//! --serve` prints its address, for the comparison in `go/client`.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    error::Error,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use choreo_registry::{Digest, ImageReference};
use choreo_registry_client::{RegistryClient, egress::Egress, transport::ReqwestTransport};
use oci_client::{
    Reference,
    client::{ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

const IN_FLIGHT: u64 = 64;
const CALLS_PER_TASK: u64 = 50;
const ROUNDS: usize = 20;
/// The number of calls without a response for the measurement of their memory.
const HELD: u64 = 1_000;

fn main() -> Fallible {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if env::args().any(|argument| argument == "--serve") {
        return runtime.block_on(serve());
    }
    let server = Server::start()?;
    runtime.block_on(compare(&server))
}

async fn compare(server: &Server) -> Fallible {
    let bare = Bare::new(server)?;
    let ours = Arc::new(Ours::new(server, "1.4")?);
    let oci = Arc::new(Oci::new(server)?);
    let mut rows = [
        Row::new("bare HEAD, reqwest"),
        Row::new("RegistryClient::resolve"),
        Row::new("oci-client"),
    ];
    for _ in 0..=ROUNDS {
        rows[0].add(round(server, &bare).await?);
        rows[1].add(round(server, &ours).await?);
        rows[2].add(round(server, &oci).await?);
    }
    let [bare_row, ..] = &rows;
    println!(
        "{IN_FLIGHT} in flight; calls a second: best, median, of bare; CPU a call: best, of bare; requests a call"
    );
    for row in &rows {
        row.print(bare_row);
    }
    held(server, "bare HEAD, reqwest", &bare).await?;
    held(server, "RegistryClient::resolve", &ours).await?;
    held(server, "oci-client", &oci).await?;
    large(server).await
}

/// A method to resolve a digest.
trait Contender: Send + Sync + 'static {
    fn call(&self) -> impl Future<Output = ()> + Send;
}

struct Bare {
    client: reqwest::Client,
    url: String,
}

impl Bare {
    #[expect(clippy::disallowed_methods, reason = "the bench's own server")]
    fn new(server: &Server) -> Fallible<Arc<Self>> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .build()?;
        let url = format!("http://{}/v2/team/app/manifests/1.4", server.address);
        Ok(Arc::new(Self { client, url }))
    }
}

impl Contender for Bare {
    async fn call(&self) {
        let answer = self.client.head(&self.url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("docker-content-digest"));
    }
}

struct Ours {
    client: RegistryClient,
    image: ImageReference,
}

impl Ours {
    fn new(server: &Server, tag: &str) -> Fallible<Self> {
        let egress = Egress::operator().allow_plain_http(server.address.parse()?);
        let transport = Arc::new(ReqwestTransport::new(egress)?);
        Ok(Self {
            client: RegistryClient::new(server.address.parse()?, None, transport),
            image: format!("{}/team/app:{tag}", server.address).parse()?,
        })
    }
}

impl Contender for Ours {
    async fn call(&self) {
        self.client.resolve(&self.image).await.expect("a digest");
    }
}

struct Oci {
    client: oci_client::Client,
    image: Reference,
}

impl Oci {
    fn new(server: &Server) -> Fallible<Self> {
        let config = ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        };
        Ok(Self {
            client: oci_client::Client::new(config),
            image: format!("{}/team/app:1.4", server.address).parse()?,
        })
    }
}

impl Contender for Oci {
    async fn call(&self) {
        let found = self
            .client
            .fetch_manifest_digest(&self.image, &RegistryAuth::Anonymous);
        found.await.expect("a digest");
    }
}

/// The cost of each call in one round.
struct Took {
    wall: f64,
    cpu: f64,
    requests: f64,
}

async fn round<C: Contender>(server: &Server, contender: &Arc<C>) -> Fallible<Took> {
    let calls = (IN_FLIGHT * CALLS_PER_TASK) as f64;
    let (asked, cpu, started) = (server.control("count")?, cpu_time()?, Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let contender = Arc::clone(contender);
        tasks.spawn(async move {
            for _ in 0..CALLS_PER_TASK {
                contender.call().await;
            }
        });
    }
    tasks.join_all().await;
    let (wall, cpu) = (started.elapsed(), cpu_time()? - cpu);
    Ok(Took {
        wall: wall.as_secs_f64() / calls,
        cpu: cpu as f64 / calls,
        requests: (server.control("count")? - asked) as f64 / calls,
    })
}

/// Returns the nanoseconds of processor time of this thread, which does all the work.
fn cpu_time() -> Fallible<u64> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

/// The rounds of a contender. The first one is a warm-up.
struct Row {
    name: &'static str,
    rounds: Vec<Took>,
}

impl Row {
    fn new(name: &'static str) -> Self {
        let rounds = Vec::new();
        Self { name, rounds }
    }

    fn add(&mut self, took: Took) {
        self.rounds.push(took);
    }

    fn sorted(&self, part: impl Fn(&Took) -> f64) -> Vec<f64> {
        let mut parts: Vec<f64> = self.rounds.iter().skip(1).map(part).collect();
        parts.sort_by(f64::total_cmp);
        parts
    }

    fn print(&self, bare: &Self) {
        let (wall, cpu) = (self.sorted(|took| took.wall), self.sorted(|took| took.cpu));
        let median = wall.len() / 2;
        let of_bare = bare.sorted(|took| took.wall);
        println!(
            "{:<24} {:>7.0} {:>7.0} {:>5.2} {:>5.2}   {:>6.1} µs {:>5.2}   {:.2}",
            self.name,
            1.0 / wall[0],
            1.0 / wall[median],
            of_bare[0] / wall[0],
            of_bare[median] / wall[median],
            cpu[0] / 1e3,
            cpu[0] / bare.sorted(|took| took.cpu)[0],
            self.sorted(|took| took.requests)[median],
        );
    }
}

/// Measures the memory of each of many calls that wait for their responses, including connection
/// and task.
async fn held<C: Contender>(server: &Server, name: &str, contender: &Arc<C>) -> Fallible {
    server.control("hold")?;
    let before = LIVE.load(Relaxed);
    let mut tasks = JoinSet::new();
    for _ in 0..HELD {
        let contender = Arc::clone(contender);
        tasks.spawn(async move { contender.call().await });
    }
    while server.control("waiting")? < HELD {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let live = LIVE.load(Relaxed) - before;
    println!(
        "{name:<24} {:>7} bytes a call, {HELD} in flight",
        live / HELD
    );
    server.control("release")?;
    tasks.join_all().await;
    Ok(())
}

/// Measures the peak memory of the first resolve of a manifest near the limit of 4 MiB.
async fn large(server: &Server) -> Fallible {
    let ours = Ours::new(server, "large")?;
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    ours.call().await;
    let peak = PEAK.load(Relaxed) - before;
    println!("a manifest of {LARGE} bytes, cold: at most {peak} bytes");
    Ok(())
}

/// The process of the server.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Fallible<Self> {
        let mut process = Command::new(env::current_exe()?)
            .arg("--serve")
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        let address = address.trim().to_owned();
        Ok(Self { process, address })
    }

    /// Sends a command or query to the server that is not counted.
    #[expect(clippy::disallowed_methods, reason = "the bench's own server")]
    fn control(&self, what: &str) -> Fallible<u64> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET /{what} HTTP/1.1\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.rsplit("\r\n").next().unwrap_or_default();
        Ok(body.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// Almost the maximum size of a manifest that the client reads.
const LARGE: usize = 4 * 1024 * 1024 - 1024;

static COUNT: AtomicU64 = AtomicU64::new(0);
static WAITING: AtomicU64 = AtomicU64::new(0);
static HOLDING: AtomicBool = AtomicBool::new(false);

async fn serve() -> Fallible {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let answers = Arc::new(Answers::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(stream, Arc::clone(&answers)));
    }
}

async fn converse(mut stream: tokio::net::TcpStream, answers: Arc<Answers>) -> io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    while stream.read_buf(&mut request).await? > 0 {
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&request);
        let mut words = text.split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        if let Some(value) = control(path) {
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{value}");
            return stream.write_all(answer.as_bytes()).await;
        }
        COUNT.fetch_add(1, Relaxed);
        WAITING.fetch_add(1, Relaxed);
        while HOLDING.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        WAITING.fetch_sub(1, Relaxed);
        stream.write_all(answers.of(method, path)).await?;
        request.clear();
    }
    Ok(())
}

fn control(path: &str) -> Option<u64> {
    match path {
        "/count" => return Some(COUNT.load(Relaxed)),
        "/waiting" => return Some(WAITING.load(Relaxed)),
        "/hold" => HOLDING.store(true, Relaxed),
        "/release" => HOLDING.store(false, Relaxed),
        _ => return None,
    }
    Some(0)
}

/// Complete responses, ready to be written.
struct Answers {
    api: Vec<u8>,
    head: Vec<u8>,
    manifest: Vec<u8>,
    large: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let small = manifest("");
        let large = manifest(&"x".repeat(LARGE - small.len()));
        let headers = |body: &str| {
            let digest = Digest::sha256_of(body.as_bytes());
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.manifest.v1+json\r\n\
                 docker-content-digest: {digest}\r\ncontent-length: {length}\r\n\r\n"
            )
        };
        let whole = |body: &str| (headers(body) + body).into_bytes();
        Self {
            api:
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
                    .to_vec(),
            head: headers(&small).into_bytes(),
            manifest: whole(&small),
            large: whole(&large),
        }
    }

    fn of(&self, method: &str, path: &str) -> &[u8] {
        match (method, path) {
            (_, "/v2/") => &self.api,
            ("HEAD", _) => &self.head,
            (_, path) if path.ends_with("large") => &self.large,
            _ => &self.manifest,
        }
    }
}

fn manifest(padding: &str) -> String {
    let digest = Digest::sha256_of(b"{}");
    let blob = |kind: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":2}}"#
        )
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}],"annotations":{{"padding":"{padding}"}}}}"#,
        blob("config.v1+json"),
        blob("layer.v1.tar+gzip"),
    )
}

/// Counts the bytes that are in use, and their maximum.
struct Counting;

static LIVE: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: The system allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size() as u64;
        let live = LIVE.fetch_add(size, Relaxed) + size;
        PEAK.fetch_max(live, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}
