//! Acceptance under load, compared with a handler that writes one row and one that does nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::deployer::{Deployer, DeployerParts};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::resolver::NeverResolver;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{NewRegistry, RegistryStore as _, TokenStore as _};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, Workload};
use choreo_deploy_sqlite::SqliteStore;
use choreo_registry::authentication::AuthenticationType;
use choreo_webhook::token::Lifetime;
use choreo_webhook::webhook::{Limits, Share};
use choreo_webhook::{DeployToken, DeployWebhook};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::{Outcome, bare, copy, fill};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
/// The maximum number of callers, each with a component.
const MOST: usize = 64;

/// Alternates rounds of all three servers, with 1, 16 and 64 callers that each wait for the
/// response.
pub(crate) fn accept(file: &Path) -> Outcome {
    let (copied, directory) = copy(file)?;
    let servers = tokio::runtime::Runtime::new()?;
    let clients = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (ours, tokens) = servers.block_on(webhook(&copied))?;
    let ours = servers.block_on(serve(ours))?;
    let bare = bare::router(&directory.path().join("bare.db"))?;
    let bare = servers.block_on(serve(bare))?;
    let idle = servers.block_on(serve(bare::idle()))?;
    for callers in [1, 16, MOST] {
        let mut rounds: [Vec<Round>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (server, rounds) in [ours, bare, idle].into_iter().zip(&mut rounds) {
                let end = End::After(ROUND);
                rounds.push(clients.block_on(round(server, tokens[..callers].to_vec(), end)));
            }
        }
        print(callers, rounds.map(|rounds| Round::median(&rounds)));
    }
    Ok(())
}

/// Sends a number of requests with a number of callers to one of the servers.
pub(crate) fn load(file: &Path, server: &str, (callers, requests): (usize, u64)) -> Outcome {
    let (copied, directory) = copy(file)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (router, tokens) = runtime.block_on(webhook(&copied))?;
    let router = match server {
        "webhook" => router,
        "row" => bare::router(&directory.path().join("bare.db"))?,
        "empty" => bare::idle(),
        _ => return Err("server is webhook, row or empty".into()),
    };
    let server = runtime.block_on(serve(router))?;
    let tokens = tokens[..callers].to_vec();
    let round = runtime.block_on(round(server, tokens, End::At(requests)));
    println!("{:.0}/s, {:.0} µs", round.rate, round.processor);
    Ok(())
}

/// The time at which the callers stop.
#[derive(Clone, Copy)]
enum End {
    After(Duration),
    /// After this number of requests in all rounds.
    At(u64),
}

fn print(callers: usize, [ours, bare, idle]: [Round; 3]) {
    println!(
        "{callers} callers: {:.0} acceptances/s, {:.2} of {:.0} bare rows/s, {:.3} of {:.0} empty \
         answers/s; processor's time, callers included: {:.0}, {:.0} and {:.0} µs",
        ours.rate,
        ours.rate / bare.rate,
        bare.rate,
        ours.rate / idle.rate,
        idle.rate,
        ours.processor,
        bare.processor,
        idle.processor,
    );
}

/// The result of one round.
#[derive(Clone, Copy)]
struct Round {
    /// Responses per second.
    rate: f64,
    /// Microseconds of processor time for each response, which other load of the machine distorts
    /// less.
    processor: f64,
}

impl Round {
    fn median(rounds: &[Self]) -> Self {
        Self {
            rate: median(rounds.iter().map(|round| round.rate)),
            processor: median(rounds.iter().map(|round| round.processor)),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the processor time of this process in microseconds.
fn processor() -> f64 {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let spent = read(task.path().join("schedstat"));
        spent.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1000.0
}

/// Makes each caller send one request after the other for a time.
async fn round(server: SocketAddr, tokens: Vec<String>, end: End) -> Round {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    let count = Arc::new(AtomicU64::new(0));
    let (begun, spent) = (Instant::now(), processor());
    let mut callers = JoinSet::new();
    for token in tokens {
        let count = Arc::clone(&count);
        callers.spawn(async move {
            #[expect(clippy::disallowed_methods, reason = "the bench's own server")]
            let mut connection = TcpStream::connect(server).await.expect("connects");
            loop {
                let key = KEYS.fetch_add(1, Ordering::Relaxed);
                let is_over = match end {
                    End::After(time) => begun.elapsed() >= time,
                    End::At(requests) => key >= requests,
                };
                if is_over {
                    break;
                }
                call(&mut connection, &token, key).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    callers.join_all().await;
    let count = count.load(Ordering::Relaxed) as f64;
    Round {
        rate: count / begun.elapsed().as_secs_f64(),
        processor: (processor() - spent) / count,
    }
}

async fn call(connection: &mut TcpStream, token: &str, key: u64) {
    let (token, component) = token.split_once(' ').expect("two words");
    let body = format!(r#"{{"image":"registry.example.com/shop/component-{component}:2.{key}"}}"#);
    let request = format!(
        "POST /v1/deployments HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         idempotency-key: bench-{key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection
        .write_all(request.as_bytes())
        .await
        .expect("writes");
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = connection.read(&mut buffer).await.expect("reads");
        assert!(read > 0, "the server closes the connection");
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(head.starts_with("HTTP/1.1 202"), "{text}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.expect("a length").parse().expect("a number") {
            return;
        }
    }
}

async fn serve(router: Router) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// Returns the webhook over the store. No worker processes the accepted deployments.
async fn webhook(file: &Path) -> Outcome<(Router, Vec<String>)> {
    let store = Arc::new(SqliteStore::open(file).await?);
    let id = ("acme".parse()?, "images".parse()?);
    let images = NewRegistry::new(
        id,
        "Images",
        "registry.example.com".parse()?,
        AuthenticationType::Vendor,
    );
    store.put_registry(images, None).await?;
    let deployer = Deployer::new(DeployerParts {
        store: Arc::clone(&store) as _,
        catalog: Arc::new(StaticCatalog::new((0..MOST).map(plan))),
        backends: Arc::new(HashMap::new()),
        resolver: Arc::new(NeverResolver),
        sealer: Arc::new(Sealer::new(SealingKey::new("2026-11", [7; 32])?)),
    });
    let mut tokens = Vec::new();
    for number in 0..MOST {
        let key = ComponentKey::new("acme".parse()?, format!("component-{number}").parse()?);
        let (token, record) = DeployToken::mint(key, Lifetime::DEFAULT, Timestamp::now());
        store.issue_token(record).await?;
        tokens.push(format!("{} {number}", token.expose()));
    }
    let mut limits = Limits::default();
    (limits.reading, limits.deploying) = (Share::new(64, 64, 64), Share::new(64, 64, 64));
    let webhook = DeployWebhook::new(Arc::new(deployer), store).with_limits(limits);
    Ok((Router::new().fallback_service(webhook), tokens))
}

/// Returns the service with this number.
fn plan(number: usize) -> Plan {
    let project = Project::new(
        "acme".parse().expect("an id"),
        "shop".parse().expect("an id"),
    );
    let workload = serde_json::from_value::<Workload>(fill::workload(number as u64));
    let component = Component::new(
        format!("component-{number}").parse().expect("an id"),
        project,
        ComponentType::Service,
        "images".parse().expect("an id"),
    );
    let local = || "local".parse().expect("an id");
    let development = Environment::new("development".parse().expect("an id"), local());
    Plan::new(component, workload.expect("a workload"))
        .then(Stage::new(development, DataPlane::new(local())))
}
