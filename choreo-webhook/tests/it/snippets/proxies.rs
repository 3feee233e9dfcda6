//! Guards the step behind proxies that reset, cut off or answer requests themselves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use choreo_deploy::deployment::Phase;
use choreo_deploy::intake::IntakeErrorKind;
use choreo_webhook::snippet::ExitStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Step, ends, has_curl, serve, shells};
use crate::support::World;

/// The action of a proxy on one request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Resets the connection, without forwarding the request.
    Reset,
    /// Forwards the request, and resets the connection instead of responding.
    Lost,
    /// Forwards the request, and breaks off in the middle of the response.
    Cut,
    /// Closes the connection without a response.
    Empty,
    /// Responds itself.
    Answer(&'static str),
}

/// The responses of servers other than the webhook.
const FOREIGN: [Fault; 5] = [
    Fault::Answer("404 Not Found"),
    Fault::Answer("502 Bad Gateway"),
    Fault::Answer("503 Service Unavailable"),
    Fault::Answer("504 Gateway Timeout"),
    Fault::Answer("200 OK"),
];
const BROKEN: [Fault; 4] = [Fault::Reset, Fault::Lost, Fault::Cut, Fault::Empty];

/// The timeout of a proxy, and how it ends the request.
#[derive(Clone, Copy, Debug)]
struct Impatience {
    after: Duration,
    end: Fault,
}

/// A proxy in front of a server. It applies each fault once, separately for POSTs and GETs, and
/// then forwards everything.
#[derive(Clone, Debug)]
struct Proxy {
    server: String,
    posts: Arc<Mutex<VecDeque<Fault>>>,
    gets: Arc<Mutex<VecDeque<Fault>>>,
    impatience: Option<Impatience>,
    /// The seconds of waiting that each forwarded GET requested.
    waits: Arc<Mutex<Vec<u64>>>,
}

impl Proxy {
    async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = self.clone();
                tokio::spawn(async move { proxy.meet(client).await });
            }
        });
        format!("http://{address}/hooks")
    }

    async fn meet(self, mut client: TcpStream) -> std::io::Result<()> {
        let request = read_request(&mut client).await?;
        let is_get = request.starts_with("GET");
        let faults = if is_get { &self.gets } else { &self.posts };
        let fault = faults.lock().unwrap().pop_front();
        let wait = if is_get { wait(&request) } else { 0 };
        match (fault, self.impatience) {
            (Some(fault), _) => self.act(fault, &request, client).await,
            (None, Some(impatience)) if Duration::from_secs(wait) > impatience.after => {
                tokio::time::sleep(impatience.after).await;
                self.act(impatience.end, &request, client).await
            }
            (None, impatience) => {
                if impatience.is_some() && is_get {
                    tokio::time::sleep(Duration::from_secs(wait)).await;
                }
                self.waits.lock().unwrap().extend(is_get.then_some(wait));
                let answer = self.pass_on(&request).await?;
                client.write_all(answer.as_bytes()).await
            }
        }
    }

    async fn act(&self, fault: Fault, request: &str, mut client: TcpStream) -> std::io::Result<()> {
        match fault {
            Fault::Reset => client.set_zero_linger(),
            Fault::Lost => {
                self.pass_on(request).await?;
                client.set_zero_linger()
            }
            Fault::Cut => {
                let answer = self.pass_on(request).await?;
                let half = &answer.as_bytes()[..answer.len() - 9];
                client.write_all(half).await
            }
            Fault::Empty => Ok(()),
            Fault::Answer(status) => {
                let page = "<html>default backend</html>";
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
                    page.len()
                );
                client.write_all(answer.as_bytes()).await
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test dials the server that it started"
    )]
    async fn pass_on(&self, request: &str) -> std::io::Result<String> {
        let mut server = TcpStream::connect(&self.server).await?;
        let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        server.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        server.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

async fn read_request(client: &mut TcpStream) -> std::io::Result<String> {
    let mut request = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = client.read(&mut buffer).await?;
        request.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(request);
            }
        }
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn wait(request: &str) -> u64 {
    let (_, rest) = request.split_once("?wait=").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// Returns a step behind a proxy, without pauses between attempts.
async fn step(
    world: &World,
    (posts, gets): (&[Fault], &[Fault]),
    impatience: Option<Impatience>,
) -> (Step, Proxy) {
    let server = serve(world).await;
    let server = server["http://".len()..].strip_suffix("/hooks").unwrap();
    let queue = |faults: &[Fault]| Arc::new(Mutex::new(faults.iter().copied().collect()));
    let proxy = Proxy {
        server: server.to_owned(),
        posts: queue(posts),
        gets: queue(gets),
        impatience,
        waits: Arc::default(),
    };
    let url = proxy.clone().serve().await;
    let mut step = Step::new(&url, world.token.expose());
    step.script = step.script.replace("pause=1", "pause=0");
    (step, proxy)
}

/// Guards that the step ends with the outcome of the deployment and deploys once, whatever the
/// proxy does.
#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again() {
    if !has_curl() {
        return;
    }
    let all = [&BROKEN[..], &FOREIGN].concat();
    let mut running = tokio::task::JoinSet::new();
    for shell in shells() {
        for (phase, status) in [
            (Phase::Ready, ExitStatus::Ready),
            (Phase::Failed, ExitStatus::Failed),
        ] {
            let (shell, all) = (shell.clone(), all.clone());
            running.spawn(async move {
                let world = World::new().await;
                let phases = [Phase::Progressing, phase];
                world.intake.phases.lock().unwrap().extend(phases);
                // The webhook itself also responds with a transient error.
                let refusals = [IntakeErrorKind::Unavailable];
                world.intake.refusals.lock().unwrap().extend(refusals);
                let (mut step, proxy) = step(&world, (&all, &all), None).await;
                step.shell = shell;
                let output = step.run().await;
                ends(&output, status, "is accepted");
                ends(&output, status, "retrying");
                for faults in [proxy.posts, proxy.gets] {
                    assert!(faults.lock().unwrap().is_empty(), "all were met");
                }
                let submissions = world.intake.submissions.lock().unwrap();
                assert!(submissions.len() > 2, "some were accepted and not answered");
                for submission in submissions.iter() {
                    assert_eq!(submission.idempotency_key, submissions[0].idempotency_key);
                }
            });
        }
    }
    while let Some(result) = running.join_next().await {
        result.unwrap();
    }
}

/// Guards that the step requests shorter waits, and receives the outcome, if a proxy times out
/// after 15 seconds (here 4), as Envoy does by default, and responds with 504 or closes the
/// connection.
#[tokio::test(flavor = "multi_thread")]
async fn an_impatient_proxy_is_asked_for_less() {
    if !has_curl() {
        return;
    }
    let mut running = tokio::task::JoinSet::new();
    for end in [
        Fault::Answer("504 Gateway Timeout"),
        Fault::Empty,
        Fault::Reset,
    ] {
        for shell in shells() {
            running.spawn(async move {
                let world = World::new().await;
                world.intake.phases.lock().unwrap().extend([
                    Phase::Progressing,
                    Phase::Progressing,
                    Phase::Ready,
                ]);
                let impatience = Impatience {
                    after: Duration::from_secs(4),
                    end,
                };
                let (mut step, proxy) = step(&world, (&[], &[]), Some(impatience)).await;
                step.shell = shell;
                ends(&step.run().await, ExitStatus::Ready, "is ready");
                // 25, 13 and 7 seconds were too long.
                let waits = proxy.waits.lock().unwrap();
                assert!(
                    waits.len() > 1 && waits.iter().all(|wait| *wait == 4),
                    "{waits:?}"
                );
            });
        }
    }
    while let Some(result) = running.join_next().await {
        result.unwrap();
    }
}

/// Guards that the step ends at its maximum waiting time if the server never returns, before or
/// after the deployment was accepted.
#[tokio::test(flavor = "multi_thread")]
async fn patience_with_nobody_ends() {
    if !has_curl() {
        return;
    }
    let always = vec![Fault::Answer("502 Bad Gateway"); 10_000];
    for (posts, gets) in [(&always[..], &[][..]), (&[], &always)] {
        let world = World::new().await;
        let (step, _) = step(&world, (posts, gets), None).await;
        let mut step = step.patient(Duration::from_secs(2));
        step.script = step.script.replace("pause=0", "pause=1");
        let start = Instant::now();
        ends(
            &step.run().await,
            ExitStatus::NoAnswer,
            "/v1/deployments: status 502",
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
