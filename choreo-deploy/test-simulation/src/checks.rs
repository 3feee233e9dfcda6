//! Checks that the record matches the data planes.

use std::time::Duration;

use choreo_deploy::Target;
use choreo_deploy::deployment::{Deployment, Phase, Subject};
use choreo_deploy::id::OrganizationId;
use choreo_deploy::reason::ReasonCode;
use choreo_deploy::release::Release;
use choreo_deploy::run::{Run, RunPhase};
use choreo_deploy::store::{DeploymentQuery, ReadyState};
use tokio::time::Instant;

use crate::acknowledged::Promised;
use crate::at_once::at_once;
use crate::history::Stage;
use crate::inventory::{COMPONENTS, key};
use crate::journal::broken;
use crate::plane::{Fate, Placed};
use crate::registries::platforms;

impl Stage {
    /// A deployment that was stored without an answer is deployed too.
    pub(crate) fn find_what_was_not_acknowledged(&mut self) {
        for organization in self.acknowledged.credentials.keys() {
            let query = DeploymentQuery::of_organization(organization.clone()).limit(10_000);
            for stored in at_once(self.store.deployments(&query)).expect("reads") {
                let promised = &mut self.acknowledged.deployments;
                let entry = promised.entry(stored.id.clone());
                entry.or_insert_with(|| Promised::new(stored, 0));
            }
        }
        for target in self.world.inventory.targets() {
            for stored in at_once(self.store.runs(&target, 10_000)).expect("reads") {
                let entry = self.acknowledged.runs.entry(stored.id.clone());
                entry.or_insert_with(|| Promised::new(stored, 0));
            }
        }
    }

    /// Reads all acknowledged work. Nothing may be missing, and finished work may not change.
    /// Returns `true` if all of it has ended.
    pub(crate) fn look(&mut self) -> bool {
        let (mut all, journal) = (true, &self.world.journal);
        for (id, promised) in &mut self.acknowledged.deployments {
            if promised.ended.is_some() {
                continue;
            }
            let organization = &promised.accepted.target.organization;
            match at_once(self.store.deployment(organization, id)).expect("reads") {
                None => broken!(
                    journal,
                    "deployment {id} was acknowledged and is not stored"
                ),
                Some(now) if now.phase.is_final() => promised.ended = Some(now),
                Some(_) => all = false,
            }
        }
        for (id, promised) in &mut self.acknowledged.runs {
            if promised.ended.is_some() {
                continue;
            }
            let organization = &promised.accepted.target.organization;
            match at_once(self.store.run(organization, id)).expect("reads") {
                None => broken!(journal, "run {id} was acknowledged and is not stored"),
                Some(now) if now.phase.is_final() => promised.ended = Some(now),
                Some(_) => all = false,
            }
        }
        all
    }

    pub(crate) fn check_record(&self, cleared: Instant) {
        for promised in self.acknowledged.deployments.values() {
            self.check_end(promised);
        }
        for promised in self.acknowledged.runs.values() {
            self.check_run(promised);
        }
        for component in COMPONENTS {
            self.check_releases(component);
        }
        for target in self.world.inventory.targets() {
            self.check_target(&target, cleared);
        }
    }

    fn check_end(&self, promised: &Promised<Deployment>) {
        let (journal, accepted) = (&self.world.journal, &promised.accepted);
        let (organization, id) = (&accepted.target.organization, &accepted.id);
        let stored = at_once(self.store.deployment(organization, id)).expect("reads");
        let Some(stored) = stored else {
            return broken!(journal, "deployment {id} is lost");
        };
        if promised.ended.as_ref() != Some(&stored) {
            broken!(journal, "deployment {id} has changed after its end");
        }
        let is_same = stored.target == accepted.target
            && stored.generation == accepted.generation
            && stored.subject == accepted.subject;
        if !is_same {
            broken!(journal, "deployment {id} is not what was acknowledged");
        }
        let Some(reason) = stored.reasons.first() else {
            return;
        };
        let plane = &self.world.planes[&stored.data_plane];
        match (stored.phase, reason.code) {
            (Phase::Failed, ReasonCode::NewerDeployment) if !plane.is_foreign(&stored.target) => {
                broken!(
                    journal,
                    "deployment {id} gave way to a newer one that is not there"
                );
            }
            (Phase::Failed, ReasonCode::ImagePlatformMismatch) => {
                if let Subject::Image(image) = &stored.subject
                    && let Some(digest) = image.claimed
                    && platforms(&digest).contains(&plane.platform)
                {
                    broken!(
                        journal,
                        "deployment {id} failed for its platform, which fits"
                    );
                }
            }
            (Phase::Failed, ReasonCode::InternalError) => {
                broken!(journal, "deployment {id} failed: {reason}");
            }
            _ => {}
        }
    }

    fn check_run(&self, promised: &Promised<Run>) {
        let (journal, run) = (&self.world.journal, &promised.accepted);
        let stored = at_once(self.store.run(&run.target.organization, &run.id)).expect("reads");
        if stored.is_none() || stored != promised.ended {
            broken!(journal, "run {} has changed after its end", run.id);
        }
        let (Some(stored), Some(placed)) =
            (stored, self.world.planes[&run.data_plane].run(&run.id))
        else {
            return;
        };
        let component = run.target.component_key();
        let release = at_once(self.store.release(&component, run.release)).expect("reads");
        if release.map(|release| release.image.deployed()) != Some(placed.image.clone()) {
            broken!(
                journal,
                "run {} runs another image than its release's",
                run.id
            );
        }
        // A request to start it may arrive after its end, and cannot be recalled.
        let ended = self.world.ledger.run_ended(&run.id);
        if ended.is_some_and(|ended| placed.since + Duration::from_secs(2) > ended) {
            return;
        }
        let there = placed.status().phase;
        let is_same = match stored.phase {
            // Its end was not seen in time.
            RunPhase::Failed => true,
            phase => there == Some(phase),
        };
        if !is_same {
            let (id, phase) = (&run.id, stored.phase);
            broken!(
                journal,
                "run {id} has {phase} and its data plane says {there:?}"
            );
        }
    }

    /// Release numbers have no gaps.
    fn check_releases(&self, component: (&str, &str)) {
        let releases = at_once(self.store.releases(&key(component), 10_000)).expect("reads");
        let numbers = releases.iter().rev().map(|release| release.number.get());
        if !numbers.eq(1..=releases.len() as u64) {
            broken!(self.world.journal, "releases of {component:?} have gaps");
        }
    }

    fn check_target(&self, target: &Target, cleared: Instant) {
        let (journal, store) = (&self.world.journal, &self.store);
        let Some(state) = at_once(store.target(target)).expect("reads") else {
            return;
        };
        let promised = &self.acknowledged.deployments;
        let of_target = promised
            .values()
            .filter(|all| all.accepted.target == *target);
        let newest = of_target.max_by_key(|all| all.accepted.generation);
        let Some(newest) = newest.filter(|newest| newest.accepted.id == state.deployment) else {
            return broken!(
                journal,
                "{target} is at {} and not at its newest",
                state.deployment
            );
        };
        let Some(ended) = &newest.ended else {
            return;
        };
        if ended.phase == Phase::Superseded {
            broken!(journal, "{target}: the newest deployment is superseded");
        }
        for (id, plane) in &self.world.planes {
            let Some(placed) = plane.placed(target) else {
                continue;
            };
            if placed.generation > ended.generation && !plane.is_foreign(target) {
                broken!(journal, "{target} on {id} is ahead of the record");
            }
            if *id != ended.data_plane {
                self.check_left(ended, &placed);
            }
        }
        let placed = self.world.planes[&ended.data_plane].placed(target);
        match ended.phase {
            Phase::Ready => self.check_ready(newest, ended, placed.as_ref()),
            Phase::TimedOut => self.check_timed_out(newest, placed.as_ref(), cleared),
            _ => {}
        }
        if let (Phase::Failed | Phase::TimedOut, Some(placed)) = (ended.phase, placed) {
            self.check_taken_back(ended, &placed, state.ready.as_ref());
        }
        if state.ready.is_none() {
            self.check_nothing_runs(ended);
        }
    }

    /// If nothing is ready and the newest deployment has failed without a reason that mentions a
    /// leftover, nothing of the target runs on any data plane.
    fn check_nothing_runs(&self, ended: &Deployment) {
        let has_failed = matches!(ended.phase, Phase::Failed | Phase::TimedOut);
        let mut reasons = ended.reasons.iter();
        let is_told = reasons.any(|reason| reason.code == ReasonCode::NotTakenBack);
        // A failed removal is itself the reason.
        if !has_failed || is_told || ended.subject == Subject::Absence {
            return;
        }
        let target = &ended.target;
        for (id, plane) in &self.world.planes {
            let placed = plane.placed(target);
            let runs = placed.is_some_and(|placed| placed.shown.is_some() && !placed.is_lost);
            if runs && !plane.is_foreign(target) {
                let failed = &ended.id;
                broken!(
                    self.world.journal,
                    "{failed} has failed, nothing is ready, and {target} runs on {id}"
                );
            }
        }
    }

    /// A leftover on another data plane has a reason.
    fn check_left(&self, ended: &Deployment, placed: &Placed) {
        let said = ended.reasons.iter();
        let said = said.filter(|reason| {
            matches!(
                reason.code,
                ReasonCode::BackendUnreachable | ReasonCode::InternalError
            )
        });
        if ended.phase == Phase::Ready && placed.shown.is_some() && said.count() == 0 {
            let id = &ended.id;
            broken!(
                self.world.journal,
                "{id} is ready, and still on another data plane"
            );
        }
    }

    fn check_ready(
        &self,
        newest: &Promised<Deployment>,
        ended: &Deployment,
        placed: Option<&Placed>,
    ) {
        let (journal, target, id) = (&self.world.journal, &ended.target, &ended.id);
        if ended.subject == Subject::Absence {
            if placed.is_some_and(|placed| placed.shown.is_some()) {
                broken!(journal, "{target} was removed and is still there");
            }
            return;
        }
        let Some(placed) = placed else {
            return broken!(journal, "{id} is ready and its data plane has nothing");
        };
        if self.world.planes[&ended.data_plane].is_foreign(target) {
            return;
        }
        if placed.generation != ended.generation || placed.is_taken_back {
            let there = placed.generation;
            broken!(journal, "{id} is ready, and generation {there} is there");
        }
        if !placed.left.is_empty() && ended.reasons.is_empty() {
            broken!(
                journal,
                "{id} is ready, and leaves {:?} behind",
                placed.left
            );
        }
        let component = target.component_key();
        let release = ended
            .release
            .and_then(|number| at_once(self.store.release(&component, number)).expect("reads"));
        let settings = at_once(self.store.settings(target, ended.settings_version));
        let (Some(release), Some(settings)) = (release, settings.expect("reads")) else {
            return broken!(journal, "{id} is ready without a release or its settings");
        };
        let Some(shown) = &placed.shown else {
            return broken!(journal, "{id} is ready and not there");
        };
        if shown.image != release.image.deployed() {
            broken!(journal, "{id} is ready, and {} is there", shown.image);
        }
        if shown.workload != *settings.applied_to(&release.workload) {
            broken!(journal, "{id} is ready, and its settings are not");
        }
        self.check_pull(newest, (&target.organization, shown.password.as_deref()));
        self.check_platform(ended, &release);
    }

    /// A failed release does not run, and the one that was ready before does.
    fn check_taken_back(&self, ended: &Deployment, placed: &Placed, ready: Option<&ReadyState>) {
        let (journal, target, id) = (&self.world.journal, &ended.target, &ended.id);
        let is_said = |code| ended.reasons.iter().any(|reason| reason.code == code);
        let is_foreign = self.world.planes[&ended.data_plane].is_foreign(target);
        let is_removal = ended.subject == Subject::Absence;
        if is_foreign || is_removal || is_said(ReasonCode::NotTakenBack) {
            return;
        }
        if placed.generation == ended.generation && !placed.is_taken_back {
            return broken!(journal, "{id} has failed, and is still there");
        }
        if !is_said(ReasonCode::TakenBack) || placed.is_lost {
            return;
        }
        let component = target.component_key();
        let before = ready.and_then(|ready| {
            let organization = &target.organization;
            let deployment = at_once(self.store.deployment(organization, &ready.deployment));
            let deployment = deployment.expect("reads")?;
            let release = at_once(self.store.release(&component, ready.release)).expect("reads")?;
            let is_here = deployment.data_plane == ended.data_plane;
            is_here.then(|| release.image.deployed())
        });
        let shown = placed.shown.as_ref().map(|shown| shown.image.clone());
        if shown != before {
            broken!(
                journal,
                "{id} was taken back, and {shown:?} runs instead of {before:?}"
            );
        }
    }

    fn check_pull(
        &self,
        newest: &Promised<Deployment>,
        (organization, password): (&OrganizationId, Option<&str>),
    ) {
        let version = password.and_then(|password| password.rsplit('/').next()?.parse().ok());
        let version: u64 = version.unwrap_or(0);
        if version < newest.least_credential {
            let (id, least) = (&newest.accepted.id, newest.least_credential);
            broken!(
                self.world.journal,
                "{id} of {organization} pulls with credential {version}, entered before {least}"
            );
        }
    }

    fn check_platform(&self, ended: &Deployment, release: &Release) {
        let Subject::Image(_) = &ended.subject else {
            return;
        };
        let has_moved = self
            .acknowledged
            .moved
            .contains(&ended.target.component_key());
        let plane = &self.world.planes[&ended.data_plane];
        let digest = release.image.pin.as_ref().map(|pin| pin.digest);
        let fits = digest.is_some_and(|digest| platforms(&digest).contains(&plane.platform));
        // Without the inventory, the platforms of a data plane are unknown.
        let is_known = self.world.weather.has_sure_catalog && !has_moved;
        if !fits && is_known {
            broken!(
                self.world.journal,
                "{} is ready on a platform that it is not for",
                ended.id
            );
        }
    }

    /// A deployment that has enough time without faults does not time out.
    fn check_timed_out(
        &self,
        newest: &Promised<Deployment>,
        placed: Option<&Placed>,
        cleared: Instant,
    ) {
        let deployment = &newest.accepted;
        let allowed = deployment
            .deadline_at
            .duration_since(deployment.accepted_at);
        let deadline = newest.at + Duration::try_from(allowed).unwrap_or_default();
        let had_time = deadline > cleared + Duration::from_secs(2 * 60);
        let clock_jumped = self.acknowledged.jumped_ahead || self.acknowledged.jumped_unseen;
        let plane = &self.world.planes[&deployment.data_plane];
        let never = placed.is_some_and(|placed| {
            placed.generation == deployment.generation && placed.fate == Fate::NeverReady
        });
        let is_reached = !plane.is_silent()
            && deployment.data_plane.as_str() != crate::world::NOT_CONNECTED
            && deployment.target.component.as_str() != "stuck";
        if had_time && !clock_jumped && is_reached && !never {
            broken!(
                self.world.journal,
                "{} timed out in good weather",
                deployment.id
            );
        }
    }
}
