//! The processes of a control plane, which start, pause, stop and crash.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use choreo_deploy::backend::DeploymentBackend;
use choreo_deploy::deployer::{DeployerOptions, DeployerParts};
use choreo_deploy::id::DataPlaneId;
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::{Deployer, store::Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Storage;
use crate::inventory::SeenInventory;
use crate::journal::{broken, note};
use crate::process::{Process, ProcessId};
use crate::registries::SeenRegistries;
use crate::seen_plane::SeenPlane;
use crate::seen_store::SeenStore;
use crate::world::{NOT_CONNECTED, STEPS_PER_DATA_PLANE, World};

/// The maximum time until a worker stops, because its steps end first.
const STOPPING: Duration = Duration::from_secs(60);

pub(crate) struct ControlPlane {
    world: Arc<World>,
    storage: Arc<dyn Storage>,
    workers: [Option<Worker>; 3],
    stopping: Vec<JoinHandle<()>>,
    processes: u32,
}

struct Worker {
    process: Arc<Process>,
    is_frozen: bool,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl ControlPlane {
    pub(crate) fn new(world: Arc<World>, storage: Arc<dyn Storage>) -> Self {
        Self {
            world,
            storage,
            workers: [None, None, None],
            stopping: Vec::new(),
            processes: 0,
        }
    }

    /// Creates a process with its own connection, and the deployer in it.
    pub(crate) fn process(&mut self) -> (Arc<Process>, Deployer) {
        let process = Arc::new(Process::new(ProcessId(self.processes)));
        self.processes += 1;
        let (process_too, world) = (|| Arc::clone(&process), || Arc::clone(&self.world));
        let connected = self.world.planes.keys();
        let connected = connected.filter(|plane| plane.as_str() != NOT_CONNECTED);
        let backends = connected.map(|plane| {
            let seen = SeenPlane::new(plane.clone(), process_too(), world());
            (plane.clone(), Arc::new(seen) as Arc<dyn DeploymentBackend>)
        });
        let store = self.storage.open();
        let store: Arc<dyn Store> = Arc::new(SeenStore::new(store, process_too(), world()));
        let deployer = Deployer::new(DeployerParts {
            store,
            catalog: Arc::new(SeenInventory::new(process_too(), world())),
            backends: Arc::new(backends.collect::<HashMap<DataPlaneId, _>>()),
            resolver: Arc::new(SeenRegistries::new(process_too(), world())),
            sealer: Arc::new(sealer()),
        });
        let deployer = deployer
            .with_clock(self.world.clock.clone())
            .with_entropy(self.world.dice.clone())
            .with_options(options(process.id));
        (process, deployer)
    }

    pub(crate) fn start(&mut self, index: usize) {
        if self.workers[index].is_some() {
            return;
        }
        let (process, deployer) = self.process();
        note!(self.world.journal, "{} starts", process.id);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            deployer.run(async { drop(stopped.await) }).await;
        });
        self.workers[index] = Some(Worker {
            process,
            is_frozen: false,
            task,
            stop,
        });
    }

    /// Starts the worker, or disturbs it at random.
    pub(crate) fn disturb(&mut self, index: usize, chance: u64) {
        let Some(worker) = &mut self.workers[index] else {
            return self.start(index);
        };
        let (id, journal) = (worker.process.id, &self.world.journal);
        if worker.is_frozen && chance < 60 {
            note!(journal, "{id} goes on");
            worker.is_frozen = false;
            worker.process.freeze(false);
            return;
        }
        match chance {
            0..60 => {
                note!(journal, "{id} stands still");
                self.world.ledger.excuse(id);
                worker.is_frozen = true;
                worker.process.freeze(true);
            }
            60..85 => {
                note!(journal, "{id} dies");
                worker.task.abort();
                self.world.ledger.excuse(id);
                self.workers[index] = None;
            }
            _ => {
                note!(journal, "{id} is told to stop");
                worker.process.freeze(false);
                self.stop(index);
            }
        }
    }

    pub(crate) fn stands_still(&self) -> bool {
        self.workers.iter().flatten().any(|worker| worker.is_frozen)
    }

    /// Ends all pauses, and starts a worker if there is none.
    pub(crate) fn settle(&mut self) {
        for worker in self.workers.iter_mut().flatten() {
            worker.is_frozen = false;
            worker.process.freeze(false);
        }
        if self.workers.iter().all(Option::is_none) {
            self.start(0);
        }
    }

    /// Stops all workers cleanly.
    pub(crate) async fn end(&mut self) {
        for index in 0..self.workers.len() {
            self.stop(index);
        }
        for task in self.stopping.drain(..) {
            if tokio::time::timeout(STOPPING, task).await.is_err() {
                broken!(self.world.journal, "a worker does not stop");
            }
        }
    }

    fn stop(&mut self, index: usize) {
        if let Some(worker) = self.workers[index].take() {
            let _ = worker.stop.send(());
            self.stopping.push(worker.task);
        }
    }
}

pub(crate) fn sealer() -> Sealer {
    Sealer::new(SealingKey::new("simulated", [7; 32]).expect("a key"))
}

fn options(process: ProcessId) -> DeployerOptions {
    let count = |count| NonZeroUsize::new(count).expect("more than none");
    let mut options = DeployerOptions::default();
    options.steps = count(8);
    options.steps_per_data_plane = count(STEPS_PER_DATA_PLANE);
    options.steps_per_organization = count(6);
    options.calls_per_registry = count(4);
    options.lease = Duration::from_secs(9);
    // The minimum for a service with the shortest progress deadline.
    options.deployment_deadline = Duration::from_secs(310);
    options.take_back_grace = Duration::from_secs(30);
    options.call_timeout = Duration::from_secs(6);
    options.retry_longest = Duration::from_secs(20);
    options.retry_after_longest = Duration::from_secs(60);
    options.worker = process.to_string();
    options
}
