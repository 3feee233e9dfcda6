//! Guards the pace of a worker while callers accept deployments without a pause.

use std::collections::HashMap;
use std::future::Future;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::deployer::{Deployer, DeployerParts};
use choreo_deploy::deployment::{Cause, Phase, RequestedImage};
use choreo_deploy::id::ComponentKey;
use choreo_deploy::intake::Submission;
use choreo_deploy::resolver::NeverResolver;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::store::{ClaimRequest, DeploymentStore, NewRegistry, Outcome, RegistryStore};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, ManualTask};
use choreo_deploy::{DeploymentBackend, InMemoryBackend, Intake};
use choreo_deploy_sqlite::SqliteStore;
use choreo_registry::authentication::AuthenticationType;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::shim;

/// The time for which a worker works alone, and then under load. The phases alternate, so that
/// other load of the machine affects both.
const TURN: Duration = Duration::from_millis(400);

/// `CHOREO_TEST_LONG` makes them 30 s each.
fn turns() -> usize {
    let long = std::env::var_os("CHOREO_TEST_LONG").is_some();
    if long { 75 } else { 8 }
}

/// The number of deployments that are due at the start: more than a worker finishes here.
fn due() -> usize {
    turns() * 400
}

/// Other components, which the callers deploy repeatedly.
const CALLED: usize = 500;

fn component(number: usize) -> String {
    format!("component-{number}")
}

fn plan(number: usize) -> Plan {
    let shop = Project::new("acme".parse().unwrap(), "shop".parse().unwrap());
    let id = component(number).parse().unwrap();
    let images = "images".parse().unwrap();
    let component = Component::new(id, shop, ComponentType::ManualTask, images);
    let development = Environment::new("dev".parse().unwrap(), "eu-1".parse().unwrap());
    let plane = DataPlane::new("eu-1".parse().unwrap());
    Plan::new(component, ManualTask::new()).then(Stage::new(development, plane))
}

fn submission(number: usize, image: usize) -> Submission {
    let image = format!("registry.example.com/app@sha256:{image:064x}");
    let image = RequestedImage::new(image.parse().unwrap());
    let key = ComponentKey::new("acme".parse().unwrap(), component(number).parse().unwrap());
    Submission::new(key, image, Cause::Manual)
}

struct World {
    store: Arc<SqliteStore>,
    deployer: Deployer,
    directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("choreo.db"))
            .await
            .unwrap();
        let store = Arc::new(store);
        let id = ("acme".parse().unwrap(), "images".parse().unwrap());
        let host = "registry.example.com".parse().unwrap();
        let registry = NewRegistry::new(id, "Images", host, AuthenticationType::Vendor);
        store.put_registry(registry, None).await.unwrap();
        let backend: Arc<dyn DeploymentBackend> = Arc::new(InMemoryBackend::new());
        let deployer = Deployer::new(DeployerParts {
            store: Arc::<SqliteStore>::clone(&store),
            catalog: Arc::new(StaticCatalog::new((0..due() + CALLED).map(plan))),
            backends: Arc::new(HashMap::from([("eu-1".parse().unwrap(), backend)])),
            resolver: Arc::new(NeverResolver),
            sealer: Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap())),
        });
        let mut accepting = JoinSet::new();
        for number in 0..due() {
            let deployer = deployer.clone();
            accepting.spawn(async move {
                deployer.accept(submission(number, number)).await.unwrap();
            });
        }
        accepting.join_all().await;
        Self {
            store,
            deployer,
            directory,
        }
    }

    /// Returns the number of ready deployments among those that were due.
    fn ready(&self) -> usize {
        let file = self.directory.path().join("choreo.db");
        let connection = rusqlite::Connection::open(file).unwrap();
        let sql = "SELECT count(*) FROM deployments WHERE seq <= ?1 AND phase = 'ready'";
        let count = connection.query_row(sql, [i64::try_from(due()).unwrap()], |row| row.get(0));
        usize::try_from(count.map(|count: i64| count).unwrap()).unwrap()
    }

    /// Accepts deployments in a closed loop of many callers until it is dropped.
    fn load(&self, callers: usize) -> Load {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (deployer, stop) = (self.deployer.clone(), Arc::clone(&stop));
            let accepted: Arc<AtomicUsize> = Arc::clone(&accepted);
            tasks.spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let called = due() + (caller * 37 + number) % CALLED;
                    let submission = submission(called, due() + number);
                    deployer.accept(submission).await.unwrap();
                    accepted.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                }
            });
        }
        Load {
            stop,
            accepted,
            tasks,
        }
    }

    /// Runs the deployer for a time. Returns the number of finished deployments and the time that
    /// it took to stop.
    async fn work(&self) -> (usize, Duration) {
        let deployer = self.deployer.clone();
        let before = self.ready();
        let stopping = during(|stop| async move {
            deployer.run(async { drop(stop.await) }).await;
        });
        let stopping = stopping.await;
        (self.ready() - before, stopping)
    }
}

/// Runs some work for a time, and returns the time that it took to stop.
async fn during<F>(work: impl FnOnce(oneshot::Receiver<()>) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stop, stopped) = oneshot::channel();
    let mut worker = tokio::spawn(work(stopped));
    tokio::time::sleep(TURN).await;
    drop(stop);
    let told = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(2), &mut worker).await;
    if ended.is_err() {
        worker.abort();
    }
    told.elapsed()
}

struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Load {
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Guards against a former behavior of the worker: it looked again immediately after each hint, and
/// never polled the arms of its select that free places or stop it.
async fn old_loop(store: Arc<SqliteStore>, stop: oneshot::Receiver<()>) {
    let (mut stop, mut steps) = (std::pin::pin!(stop), JoinSet::new());
    loop {
        let mut hint = store.new_work();
        let mut ready = |context: &mut std::task::Context<'_>| {
            std::task::Poll::Ready(hint.as_mut().poll(context).is_ready())
        };
        let hinted = std::future::poll_fn(&mut ready).await;
        while steps.len() < 4 {
            let now = jiff::Timestamp::now();
            let until = now + Duration::from_secs(30);
            let request = ClaimRequest::new("old", now, until);
            let claimed = store.claim(&request).await.unwrap();
            let Some(claimed) = claimed.into_deployment() else {
                break;
            };
            let store = Arc::clone(&store);
            steps.spawn(async move {
                let outcome = Outcome::new(Phase::Failed, vec![], now);
                let _ = store.finish(&claimed.claim, outcome).await;
            });
        }
        // Its claims shared one queue, and so some commits, with the acceptances.
        store.ping().await.unwrap();
        if hinted {
            continue;
        }
        tokio::select! {
            biased;
            _ = &mut stop => return,
            _ = steps.join_next(), if !steps.is_empty() => {}
            () = &mut hint => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}

/// Guards that more acceptances do not mean less work: under enough of them, the worker used to
/// finish nothing.
#[expect(clippy::print_stdout, reason = "a long run is for its figures")]
async fn worker_keeps_its_pace_under(callers: usize) {
    let world = World::new().await;
    let (mut alone, mut under_load, mut accepted) = (Vec::new(), Vec::new(), 0);
    let mut stopping = Duration::ZERO;
    for _ in 0..turns() {
        alone.push(world.work().await.0);
        let load = world.load(callers);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (ready, stopped) = world.work().await;
        accepted += load.end().await;
        under_load.push(ready);
        stopping = stopping.max(stopped);
    }
    let [one, other]: [usize; 2] = [&alone, &under_load].map(|ready| ready.iter().sum());
    println!(
        "{callers} callers: {other} ready under {accepted} acceptances, {one} alone; stopped in \
         {stopping:?}"
    );
    assert!(accepted > callers, "there is load");
    assert!(stopping < Duration::from_secs(1), "stopped in {stopping:?}");
    // A phase in which the machine does other work proves nothing.
    let kept = |(under_load, alone): &(usize, usize)| 2 * under_load >= *alone;
    let turns: Vec<_> = under_load.into_iter().zip(alone).collect();
    let good = turns.iter().filter(|turn| kept(turn)).count();
    assert!(
        2 * other >= one || 2 * good > turns.len(),
        "ready under load, alone: {turns:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_keeps_half_its_pace_under_16_callers() {
    worker_keeps_its_pace_under(16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_keeps_half_its_pace_under_64_callers() {
    worker_keeps_its_pace_under(64).await;
}

/// Guards the same with a disk whose syncs take 10 ms longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_keeps_half_its_pace_on_a_slow_disk() {
    let folder = tempfile::tempdir().unwrap();
    let Some(slow_disk) = shim::compile("slow_disk.c", folder.path()) else {
        return shim::skipped("a worker on a slow disk");
    };
    for callers in [16, 64] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "load::on_a_slow_disk",
                "--ignored",
                "--nocapture",
            ])
            .env("LD_PRELOAD", &slow_disk)
            .env(CALLERS, callers.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        print!("{said}");
        let error = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{said}{error}");
        assert!(said.contains(&format!("{callers} callers: ")), "{said}");
    }
}

const CALLERS: &str = "CHOREO_SQLITE_LOAD_CALLERS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as the process on a slow disk"]
async fn on_a_slow_disk() {
    let Ok(callers) = std::env::var(CALLERS) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(directory.path().join("file")).unwrap();
    let since = Instant::now();
    file.sync_data().unwrap();
    assert!(since.elapsed() >= Duration::from_millis(10), "it is slow");
    worker_keeps_its_pace_under(callers.parse().unwrap()).await;
}

/// The control: the former loop does not stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_that_follows_hints_alone_does_not_stop() {
    let world = World::new().await;
    let load = world.load(64);
    let store = Arc::clone(&world.store);
    let stopping = during(|stop| old_loop(store, stop)).await;
    load.end().await;
    assert!(
        stopping >= Duration::from_secs(1),
        "stopped in {stopping:?}"
    );
}
