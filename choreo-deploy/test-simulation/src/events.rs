//! The events of a history: requests of people and machines, and faults.

use std::sync::atomic::Ordering;
use std::time::Duration;

use choreo_deploy::deployer::{RollbackRequest, RunRequest};
use choreo_deploy::deployment::{Cause, Phase, Provenance, RequestedImage, Subject};
use choreo_deploy::id::{ComponentKey, EnvironmentId};
use choreo_deploy::intake::{IntakeError, IntakeErrorKind, Submission};
use choreo_deploy::store::{Accepted, DeploymentQuery};
use choreo_deploy::{Intake as _, Target};
use choreo_registry::{Digest, ImageReference};

use crate::acknowledged::Promised;
use crate::at_once::at_once;
use crate::history::Stage;
use crate::inventory::{COMPONENTS, key, plane, settings};
use crate::journal::{broken, note};
use crate::world::{NOT_CONNECTED, id};

const ENVIRONMENTS: [&str; 2] = ["dev", "prod"];

impl Stage {
    pub(crate) async fn event(&mut self) {
        let component = *self.script.of(&COMPONENTS);
        let environment = *self.script.of(&ENVIRONMENTS);
        match self.script.below(100) {
            0..34 => self.submit(component).await,
            34..40 => self.promote(component).await,
            40..46 => self.roll_back(component, environment).await,
            46..49 => self.remove(component, environment).await,
            49..52 => self.release_hold(component, environment).await,
            52..59 => self.run_task(component, environment).await,
            59..61 => self.cancel_run().await,
            61..64 => self.change_inventory(component),
            64..67 => self.change_registry(component),
            67..69 => self.change_token(component),
            69..72 => self.jump(),
            72..77 => self.disturb_plane(component, environment),
            _ => {
                let index = usize::try_from(self.script.below(3)).unwrap_or(0);
                let chance = self.script.below(100);
                self.control_plane.disturb(index, chance);
            }
        }
    }

    async fn submit(&mut self, (organization, name): (&str, &str)) {
        let component = key((organization, name));
        let host = if name == "stuck" {
            crate::registries::DEAD
        } else {
            "registry.example.com"
        };
        let tag = match self.script.below(100) {
            0..3 => "absent".to_owned(),
            _ => self.script.below(6).to_string(),
        };
        let image: ImageReference = format!("{host}/shop/{name}:{tag}")
            .parse()
            .expect("an image");
        let mut requested = RequestedImage::new(image);
        if self.script.percent(30) {
            let claimed = format!("{tag} {}", self.script.below(2));
            requested.claimed = Some(Digest::sha256_of(claimed.as_bytes()));
        }
        let cause = if self.script.percent(60) {
            Cause::Ci(self.acknowledged.tokens[&component].0.clone())
        } else {
            Cause::Manual
        };
        let mut submission = Submission::new(component, requested, cause);
        if self.script.percent(30) {
            let environment = id(self.script.of::<&str>(&ENVIRONMENTS));
            submission = submission.to_environment(environment);
        }
        if self.script.percent(40) {
            let commit = format!("c{}", self.script.below(2));
            submission = submission.with_provenance(Provenance::new(Some(commit), None));
        }
        if self.script.percent(35) {
            submission = submission.with_idempotency_key(format!("k{}", self.script.below(2)));
        }
        if let Some(last) = self.acknowledged.last.take()
            && self.script.percent(25)
        {
            submission = self.almost(last);
        }
        self.acknowledged.last = Some(submission.clone());
        let accepted = self.front.accept(submission.clone()).await;
        if let Some(accepted) = self.answer("deploy", accepted) {
            self.check_accepted(&submission, &accepted);
            self.acknowledge(accepted).await;
        }
    }

    /// Returns the same request, or one with a single difference.
    fn almost(&self, mut submission: Submission) -> Submission {
        match self.script.below(4) {
            0 => {
                let environment = id(self.script.of::<&str>(&ENVIRONMENTS));
                submission.environment = Some(environment);
            }
            1 => {
                let claimed = self.script.below(2).to_string();
                submission.image.claimed = Some(Digest::sha256_of(claimed.as_bytes()));
            }
            2 => {
                let commit = format!("c{}", self.script.below(2));
                submission.provenance = Provenance::new(Some(commit), None);
            }
            _ => {}
        }
        submission
    }

    fn check_accepted(&mut self, submission: &Submission, accepted: &Accepted) {
        let (journal, deployment) = (&self.world.journal, &accepted.deployment);
        let id = &deployment.id;
        let environment = submission.environment.as_ref();
        let environment = environment.map_or("dev", EnvironmentId::as_str);
        let target = &deployment.target;
        let is_there = target.component_key() == submission.component
            && target.environment.as_str() == environment;
        if !is_there {
            broken!(
                journal,
                "{id} goes to {target} and {environment} was asked for"
            );
        }
        let image = Subject::Image(Box::new(submission.image.clone()));
        if deployment.subject != image || deployment.provenance != submission.provenance {
            broken!(
                journal,
                "{id} is another image or commit than what was asked for"
            );
        }
        if let Cause::Ci(token) = &submission.cause {
            let (known, is_live) = &self.acknowledged.tokens[&submission.component];
            if token == known && !is_live {
                broken!(journal, "{id} was accepted with a revoked token");
            }
            if !accepted.replayed && self.acknowledged.held.get(target) == Some(&true) {
                broken!(
                    journal,
                    "{id} was accepted from CI for {target}, which is held"
                );
            }
        }
        match &submission.idempotency_key {
            Some(key) => {
                let cause = submission.cause.to_string();
                let known = (submission.component.clone(), cause, key.clone());
                let first = self.acknowledged.keys.entry(known);
                let first = first.or_insert_with(|| id.clone());
                if first != id {
                    broken!(journal, "the key of {first} was used again and made {id}");
                }
            }
            None if accepted.replayed && submission.cause == Cause::Manual => {
                broken!(journal, "{id} is the answer to a person who asked anew");
            }
            None => {}
        }
    }

    async fn promote(&mut self, component: (&str, &str)) {
        let promoted = self.front.promote(&key(component), &id("dev")).await;
        if let Some(accepted) = self.answer("promote", promoted) {
            self.acknowledge(accepted).await;
        }
    }

    async fn roll_back(&mut self, component: (&str, &str), environment: &str) {
        let component = key(component);
        let target = self.target(&component, environment);
        let query = DeploymentQuery::of_target(target.clone()).limit(1_000);
        let ready = || {
            let all = at_once(self.store.deployments(&query)).expect("reads");
            let ready = all.into_iter();
            let ready = ready.filter(|deployment| deployment.phase == Phase::Ready);
            ready.collect::<Vec<_>>()
        };
        let before = ready();
        let mut request = RollbackRequest::new(component, id(environment));
        if self.script.percent(30) && !before.is_empty() {
            let release = self.script.of(&before).release;
            request.release = release;
        }
        let rolled_back = self.front.rollback(request).await;
        let is_unknown =
            matches!(&rolled_back, Err(error) if error.kind() == IntakeErrorKind::Unavailable);
        if is_unknown {
            self.acknowledged.held.remove(&target);
        }
        let unchanged = ready() == before;
        if let Some(accepted) = self.answer("roll back", rolled_back) {
            self.acknowledged.held.insert(target, true);
            let new = &accepted.deployment;
            let last = before.iter().find(|ready| ready.release == new.release);
            let settings = last.map(|last| last.settings_version);
            if unchanged && settings != Some(new.settings_version) {
                let (id, version) = (&new.id, new.settings_version);
                broken!(
                    self.world.journal,
                    "{id} rolls back with settings {version}, and its release last had {settings:?}"
                );
            }
            self.acknowledge(accepted).await;
        }
    }

    async fn remove(&mut self, component: (&str, &str), environment: &str) {
        let component = key(component);
        let removed = if self.script.percent(50) {
            self.front.remove(&component, &id(environment)).await
        } else {
            let target = self.target(&component, environment);
            self.front.remove_target(&target).await
        };
        if let Some(accepted) = self.answer("remove", removed) {
            self.acknowledge(accepted).await;
        }
    }

    async fn release_hold(&mut self, component: (&str, &str), environment: &str) {
        let component = key(component);
        let target = self.target(&component, environment);
        let released = self.front.release_hold(&component, &id(environment)).await;
        self.acknowledged.held.remove(&target);
        if self.answer("release hold", released).is_some() {
            self.acknowledged.held.insert(target, false);
        }
    }

    async fn run_task(&mut self, (organization, _): (&str, &str), environment: &str) {
        let request = RunRequest::new(key((organization, "report")));
        let run = self
            .front
            .run_task(request.in_environment(id(environment)))
            .await;
        if let Some(run) = self.answer("run", run) {
            let least = self.acknowledged.credentials[&run.target.organization];
            let id = run.id.clone();
            self.acknowledged.runs.insert(id, Promised::new(run, least));
        }
    }

    async fn cancel_run(&mut self) {
        let runs: Vec<_> = self.acknowledged.runs.values().collect();
        if runs.is_empty() {
            return;
        }
        let run = self.script.of(&runs).accepted.clone();
        let component = run.target.component_key();
        let cancelled = self.front.cancel_run(&component, &run.id).await;
        self.answer("cancel", cancelled);
    }

    fn change_inventory(&mut self, component: (&str, &str)) {
        let (component, is_task) = (key(component), component.1 == "report");
        let number = self.script.below(1_000);
        let stage = usize::try_from(number % 2).unwrap_or(0);
        let moves = self.script.percent(25);
        let to = *self.script.of(&["eu-1", "us-1", "us-1", NOT_CONNECTED]);
        note!(self.world.journal, "the inventory of {component:?} changes");
        self.world.inventory.change(&component, |plan| {
            let stage = &mut plan.stages[stage];
            if moves {
                stage.environment.data_plane = id(to);
                stage.data_plane = plane(to);
            } else if !is_task {
                stage.settings = settings(number);
            }
        });
        if moves {
            self.acknowledged.moved.push(component);
        }
    }

    fn change_registry(&mut self, (organization, name): (&str, &str)) {
        match self.script.below(10) {
            0..4 => {
                note!(
                    self.world.journal,
                    "{organization} enters another credential"
                );
                self.register(organization);
            }
            4..5 => {
                note!(self.world.journal, "{organization} removes its registry");
                let of = (id(organization), id("images"));
                at_once(self.store.remove_registry(&of.0, &of.1)).expect("removes");
            }
            _ => {
                let tag = self.script.below(6);
                let image = format!("registry.example.com/shop/{name}:{tag}");
                note!(self.world.journal, "{image} moves");
                self.world.tags.push(&image.parse().expect("an image"));
            }
        }
    }

    fn change_token(&mut self, component: (&str, &str)) {
        let owner = key(component);
        let (token, is_live) = self.acknowledged.tokens[&owner].clone();
        if is_live {
            let now = choreo_deploy::clock::Clock::now(&self.world.clock);
            at_once(self.store.revoke_token(&owner, &token, now)).expect("revokes");
            self.acknowledged.tokens.insert(owner, (token, false));
        } else {
            self.issue_token(component);
        }
    }

    fn jump(&mut self) {
        let seconds = i64::try_from(self.script.below(3_600)).unwrap_or(0);
        let acknowledged = &mut self.acknowledged;
        acknowledged.jumped_unseen |= self.control_plane.stands_still();
        let by = if self.script.percent(50) {
            acknowledged.jumped_ahead = true;
            seconds
        } else {
            acknowledged.jumped_back += Duration::from_secs(seconds.unsigned_abs());
            -seconds
        };
        note!(self.world.journal, "the clock jumps by {by} s");
        self.world.ledger.excuse_all();
        self.world.clock.jump(by);
    }

    fn disturb_plane(&mut self, component: (&str, &str), environment: &str) {
        let mut target = self.target(&key(component), environment);
        let on = self.world.inventory.plan(&key(component)).stages;
        let on = on
            .into_iter()
            .find(|stage| stage.environment.id == target.environment);
        let mut on = on.expect("a stage").data_plane.id;
        // Usually the target of an unfinished deployment, because other targets are idle.
        let promised = self.acknowledged.deployments.values();
        let open: Vec<_> = promised
            .filter(|promised| promised.ended.is_none())
            .collect();
        if !open.is_empty() && self.script.percent(80) {
            let deployment = &self.script.of(&open).accepted;
            (target, on) = (deployment.target.clone(), deployment.data_plane.clone());
        }
        let plane = &self.world.planes[&on];
        match self.script.below(10) {
            0..4 => {
                if plane.lose(&target) {
                    note!(self.world.journal, "{on} loses {target}");
                    self.world.ledger.forget(&target);
                }
            }
            4..6 => {
                if plane.intrude(&target, 1 + self.script.below(2)) {
                    note!(self.world.journal, "somebody else deploys {target} on {on}");
                    self.world.ledger.forget(&target);
                }
            }
            _ => {
                let was_silent = plane.is_silent.fetch_xor(true, Ordering::SeqCst);
                note!(self.world.journal, "{on} is silent: {}", !was_silent);
            }
        }
    }

    fn target(&self, component: &ComponentKey, environment: &str) -> Target {
        let plan = self.world.inventory.plan(component);
        plan.component.target(id(environment))
    }

    fn answer<T>(&self, what: &str, answer: Result<T, IntakeError>) -> Option<T> {
        if let Err(error) = &answer {
            note!(self.world.journal, "{what}: {error}");
        }
        answer.ok()
    }

    async fn acknowledge(&mut self, accepted: Accepted) {
        let deployment = accepted.deployment;
        let (target, id) = (&deployment.target, &deployment.id);
        let (journal, generation) = (&self.world.journal, deployment.generation);
        note!(
            journal,
            "accepted {id}: {target} {generation}, {}",
            deployment.cause
        );
        let other = if target.organization.as_str() == "acme" {
            "globex"
        } else {
            "acme"
        };
        let others = ComponentKey::new(crate::world::id(other), target.component.clone());
        if let Ok(Some(_)) = self.front.get(&others, id).await {
            broken!(journal, "{other} sees {id} of {}", target.organization);
        }
        let known = self.acknowledged.deployments.get(id);
        if accepted.replayed != known.is_some() && !accepted.replayed {
            broken!(journal, "{id} was accepted twice");
        }
        let newer = self.acknowledged.deployments.values().find(|known| {
            known.accepted.target == *target && known.accepted.generation >= generation
        });
        if let Some(newer) = newer
            && !accepted.replayed
        {
            let newer = newer.accepted.generation;
            broken!(journal, "{target} {generation} was accepted after {newer}");
        }
        let least = self.acknowledged.credentials[&target.organization];
        let promised = &mut self.acknowledged.deployments;
        let entry = promised.entry(id.clone());
        entry.or_insert_with(|| Promised::new(deployment, least));
    }
}
