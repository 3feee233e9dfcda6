//! A history, from an empty store to the end of all work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use choreo_deploy::Deployer;
use choreo_deploy::clock::Clock as _;
use choreo_deploy::id::{OrganizationId, RegistryId};
use choreo_deploy::sealer::SealingContext;
use choreo_deploy::store::{NewRegistry, Store, StoredCredential};
use choreo_deploy::token::{TokenDigest, TokenRecord};
use choreo_registry::authentication::AuthenticationType;
use tokio::time::Instant;

use crate::acknowledged::Acknowledged;
use crate::at_once::at_once;
use crate::control_plane::{ControlPlane, sealer};
use crate::dice::Dice;
use crate::inventory::{COMPONENTS, key};
use crate::journal::{broken, note};
use crate::registries::{DEAD, credential};
use crate::world::{World, id};
use crate::{History, Storage};

/// A control plane and its users.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    pub(crate) control_plane: ControlPlane,
    /// The deployer for requests of people and machines.
    pub(crate) front: Deployer,
    /// The store without faults, for the checks.
    pub(crate) store: Arc<dyn Store>,
    /// The random choices of the events. They are separate from those of the faults, so that a
    /// history with fewer events is the beginning of the same history.
    pub(crate) script: Dice,
    pub(crate) acknowledged: Acknowledged,
}

pub(crate) async fn history(seed: u64, events: usize, storage: Arc<dyn Storage>) -> History {
    let script = Dice::new(seed);
    let world = Arc::new(World::new(Dice::new(script.next())));
    let mut control_plane = ControlPlane::new(Arc::clone(&world), Arc::clone(&storage));
    let (_, front) = control_plane.process();
    let mut stage = Stage {
        world,
        control_plane,
        front,
        store: storage.open(),
        script,
        acknowledged: Acknowledged::new(),
    };
    stage.open();
    for _ in 0..events {
        stage.event().await;
        tokio::time::sleep(stage.script.millis(4_000)).await;
        stage.look();
        if stage.world.journal.first_broken().is_some() {
            break;
        }
    }
    stage.end().await;
    History {
        lines: stage.world.journal.lines(),
        broken: stage.world.journal.first_broken(),
        deployments: stage.acknowledged.deployments.len(),
        runs: stage.acknowledged.runs.len(),
    }
}

impl Stage {
    /// Registers the registries and issues the tokens.
    fn open(&mut self) {
        for organization in ["acme", "globex"] {
            self.register(organization);
        }
        let dead = ("globex", "dead");
        self.put(dead, DEAD);
        for component in COMPONENTS {
            self.issue_token(component);
        }
    }

    /// Registers the registry of an organization, or enters another credential.
    pub(crate) fn register(&mut self, organization: &str) {
        self.put((organization, "images"), "registry.example.com");
    }

    fn put(&mut self, (organization, registry): (&str, &str), host: &str) {
        let (organization, registry) = (&id(organization), &id::<RegistryId>(registry));
        let host = host.parse().expect("a host");
        let credentials = &mut self.acknowledged.credentials;
        let version = match registry.as_str() {
            "images" => {
                let known = credentials.entry(OrganizationId::clone(organization));
                *known.and_modify(|version| *version += 1).or_insert(1)
            }
            _ => 1,
        };
        let context = SealingContext::new(organization, registry, &host);
        let credential = credential(organization, registry, version);
        let sealed = sealer().seal(&credential, &context).expect("seals");
        let before = at_once(self.store.registry(organization, registry)).expect("reads");
        let owner = (organization.clone(), registry.clone());
        let new = NewRegistry::new(owner, "Images", host, AuthenticationType::Basic)
            .with_credential(StoredCredential::Sealed(sealed));
        let expected = before.map(|before| before.revision);
        at_once(self.store.put_registry(new, expected)).expect("registers");
    }

    pub(crate) fn issue_token(&mut self, component: (&str, &str)) {
        let owner = key(component);
        let token = id(&format!("t-{:016x}", self.script.next()));
        let now = self.world.clock.now();
        let validity = (now, now + Duration::from_secs(30 * 24 * 60 * 60));
        let record = TokenRecord::new(
            id(&format!("{token}")),
            owner.clone(),
            TokenDigest::new([0; 32]),
            validity,
        );
        at_once(self.store.issue_token(record)).expect("issues");
        self.acknowledged.tokens.insert(owner, (token, true));
    }

    /// Without further faults, all work ends in time. Then the record must match the data planes.
    async fn end(&mut self) {
        note!(self.world.journal, "the weather clears");
        self.world.weather.clears();
        for plane in self.world.planes.values() {
            // Some remain silent.
            let stays = self.world.dice.percent(30);
            plane.is_silent.fetch_and(stays, Ordering::SeqCst);
        }
        self.control_plane.settle();
        self.find_what_was_not_acknowledged();
        let cleared = Instant::now();
        while !self.look() {
            self.check_deadlines(cleared);
            if self.world.journal.first_broken().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        self.control_plane.end().await;
        // Messages that are still in transit arrive.
        tokio::time::sleep(Duration::from_secs(20)).await;
        self.check_record(cleared);
    }

    fn check_deadlines(&self, cleared: Instant) {
        let now = Instant::now();
        let slack = self.acknowledged.slack();
        let late = |at: Instant, allowed: jiff::SignedDuration| {
            let allowed = Duration::try_from(allowed).unwrap_or_default();
            now > cleared.max(at + allowed) + slack
        };
        for promised in self.acknowledged.deployments.values() {
            let accepted = &promised.accepted;
            let allowed = accepted.deadline_at.duration_since(accepted.accepted_at);
            if promised.ended.is_none() && late(promised.at, allowed) {
                broken!(
                    self.world.journal,
                    "deployment {} does not end",
                    accepted.id
                );
            }
        }
        for promised in self.acknowledged.runs.values() {
            let accepted = &promised.accepted;
            let allowed = accepted.deadline_at.duration_since(accepted.accepted_at);
            if promised.ended.is_none() && late(promised.at, allowed) {
                broken!(self.world.journal, "run {} does not end", accepted.id);
            }
        }
    }
}
