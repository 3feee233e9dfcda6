//! Guards that the store on SQLite returns the same results as the store in memory for any sequence
//! of calls.

use choreo_deploy::Target;
use choreo_deploy::conformance::{block_on, example_image, example_target};
use choreo_deploy::deployment::{Cause, Phase, Subject};
use choreo_deploy::id::TokenId;
use choreo_deploy::reason::{Reason, ReasonCode};
use choreo_deploy::release::{DigestPin, Pinning, ReleaseDraft, ReleaseImage, ReleaseNumber};
use choreo_deploy::run::RunPhase;
use choreo_deploy::settings::Settings;
use choreo_deploy::store::{
    Claim, ClaimRequest, ClaimedWork, DeploymentQuery, Idempotency, InMemoryStore, Lane,
    NewRegistry, NewRun, Outcome, Progress, Room, RunClaim, RunOutcome, RunProgress,
    SettingsChoice, Store, TargetQuery, WorkStage,
};
use choreo_deploy::token::{TokenDigest, TokenRecord};
use choreo_deploy::workload::{ManualTask, Scaling};
use choreo_deploy_sqlite::SqliteStore;
use choreo_registry::authentication::AuthenticationType;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::common::{self, acme};

/// A step: the action, and three numbers that select its details.
type Step = (u8, u8, u8, u8);

/// The steps of a deployment that becomes ready, so that runs and rollbacks are possible.
const READY: [Step; 4] = [(0, 0, 128, 3), (4, 66, 0, 0), (7, 0, 1, 0), (9, 0, 0, 0)];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn answers_as_the_model_does(steps in prop::collection::vec(any::<Step>(), 1..60)) {
        block_on(compare(steps.into_iter().map(|step| (step, 0))));
    }

    /// Guards that no key expires early after a clock was ahead and is corrected.
    #[test]
    fn answers_as_the_model_does_by_a_clock_that_jumps(
        steps in prop::collection::vec((prop_oneof![any::<Step>(), keyed()], ahead()), 1..60)
    ) {
        block_on(compare(steps.into_iter()));
    }
}

/// Creates a manual deployment with a key that expires late.
fn keyed() -> impl Strategy<Value = Step> {
    any::<(u8, u8, u8)>().prop_map(|(a, b, c)| (0, a | 128, b & !3, c | 128))
}

/// The number of seconds by which the clock is ahead: less than the spare time of a store.
fn ahead() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 1 => Just(3600), 1 => 0..500_000_i64]
}

async fn compare(steps: impl Iterator<Item = (Step, i64)>) {
    let directory = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(directory.path().join("choreo.db")).await;
    let (file, model) = (file.unwrap(), InMemoryStore::new());
    let (mut one, mut other) = (Caller::new(&model), Caller::new(&file));
    let ready = READY.into_iter().map(|step| (step, 0));
    for (number, (step, ahead)) in (1..).zip(ready.chain(steps)) {
        let now = common::at(i64::try_from(number).unwrap() * 1000 + ahead);
        let expected = one.take((number, now), step).await;
        let found = other.take((number, now), step).await;
        assert_eq!(found, expected, "step {number}, {step:?}");
        let (found, expected) = (other.look().await, one.look().await);
        assert_eq!(found, expected, "after step {number}, {step:?}");
    }
}

/// A user of a store that keeps all of its claims, including old ones.
struct Caller<'s> {
    store: &'s dyn Store,
    claims: Vec<Claim>,
    run_claims: Vec<RunClaim>,
    runs: u64,
}

impl<'s> Caller<'s> {
    fn new(store: &'s dyn Store) -> Self {
        Self {
            store,
            claims: Vec::new(),
            run_claims: Vec::new(),
            runs: 0,
        }
    }

    /// Executes a step and returns the results. The clock advances with each step unless it jumps,
    /// and every timestamp is different.
    async fn take(&mut self, (number, now): (u64, Timestamp), (what, a, b, c): Step) -> String {
        match what % 16 {
            0..=3 => self.accept(number, now, (a, b, c)).await,
            4 | 5 | 14 => self.claim(now, a).await,
            6 => self.renew(now, a).await,
            7 => self.record(now, (a, b)).await,
            8 => self.put_back(now, (a, b, c)).await,
            9 | 10 => self.finish(now, (a, b)).await,
            11 if a >= 240 => show(self.store.raise_epoch(now).await),
            11 if a >= 128 => self.register((a, b)).await,
            11 if a >= 112 => {
                let gone = [plane(b)].into();
                show(self.store.forget_planes(&target(a), &gone, now).await)
            }
            11 => show(self.store.release_hold(&target(a), now).await),
            12 => self.token(number, now, (a, b)).await,
            13 => self.accept_run(now, a).await,
            _ => self.end_run(now, (a, b)).await,
        }
    }

    async fn accept(&mut self, number: u64, now: Timestamp, (a, b, c): (u8, u8, u8)) -> String {
        let mut new = common::new(&component(a), number, now);
        new.data_plane = plane(a);
        new.cause = match b % 4 {
            0 => Cause::Manual,
            1 => Cause::PushEvent,
            2 => Cause::Rollback,
            _ => Cause::Ci(token_id(b >> 2)),
        };
        new.subject = match c % 8 {
            0 => Subject::Absence,
            1 | 2 => Subject::Release(ReleaseNumber::new(u64::from(c >> 4) % 3 + 1).unwrap()),
            _ => new.subject,
        };
        new.settings = match b >> 5 {
            0 => SettingsChoice::Version(u64::from(c >> 6)),
            1 | 2 => SettingsChoice::Now(Settings::default().with_scaling(Scaling::fixed(3))),
            _ => new.settings,
        };
        new.hold = b % 4 == 2;
        if c >= 128 {
            let lifetime = if a < 128 { 2500 } else { 30_000 };
            let until = now + SignedDuration::from_secs(lifetime);
            new.idempotency = Some(Idempotency::new(
                format!("key-{}", c % 2),
                [c % 4; 32],
                until,
            ));
        }
        show(self.store.accept(new).await)
    }

    async fn claim(&mut self, now: Timestamp, a: u8) -> String {
        let until = now + SignedDuration::from_secs(2500);
        let mut room = Room::unlimited();
        if a.is_multiple_of(4) {
            room = Room::new(usize::MAX, 1);
            for lane in [Lane::Change, Lane::Look] {
                room.enter_on(&plane(a >> 2), lane);
            }
        }
        let request = ClaimRequest::new("worker", now, until)
            .with_limit(usize::from(a >> 6))
            .with_room(room);
        let request = match a % 8 {
            1 => request.with_horizon(now + SignedDuration::from_secs(2000)),
            _ => request,
        };
        let claimed = self.store.claim(&request).await;
        for work in claimed.iter().flat_map(|claimed| &claimed.work) {
            match work {
                ClaimedWork::Deployment(claimed) => self.claims.push(claimed.claim.clone()),
                ClaimedWork::Run(claimed) => self.run_claims.push(claimed.claim.clone()),
            }
        }
        show(claimed)
    }

    async fn renew(&mut self, now: Timestamp, a: u8) -> String {
        let Some(claim) = chosen(&self.claims, a) else {
            return String::new();
        };
        show(
            self.store
                .renew(&claim, now + SignedDuration::from_secs(3700))
                .await,
        )
    }

    async fn record(&mut self, now: Timestamp, (a, b): (u8, u8)) -> String {
        let Some(claim) = chosen(&self.claims, a) else {
            return String::new();
        };
        let image = example_image(u64::from(b) + 1);
        let pin = DigestPin::new(image.digest().unwrap().to_owned(), Pinning::Observed);
        if b % 3 == 0 {
            return show(self.store.record_pin(&claim, pin).await);
        }
        let image = ReleaseImage::unpinned(image);
        let image = if b % 3 == 1 { image.pinned(pin) } else { image };
        let draft = ReleaseDraft::new(ManualTask::new().into(), image);
        show(self.store.record_release(&claim, draft, now).await)
    }

    async fn put_back(&mut self, now: Timestamp, (a, b, c): (u8, u8, u8)) -> String {
        let Some(claim) = chosen(&self.claims, a) else {
            return String::new();
        };
        let phase = if b % 2 == 0 {
            Phase::Accepted
        } else {
            Phase::Progressing
        };
        let mut progress = Progress::new(phase, now, now + SignedDuration::from_secs(1300));
        progress.stage = WorkStage::from_number(c % 5).expect("a stage");
        progress.attempt = u32::from(c);
        if b % 3 == 0 {
            progress.reasons = vec![Reason::new(ReasonCode::Waiting, "waits")];
        }
        show(self.store.put_back(&claim, progress).await)
    }

    async fn finish(&mut self, now: Timestamp, (a, b): (u8, u8)) -> String {
        let Some(claim) = chosen(&self.claims, a) else {
            return String::new();
        };
        let phase =
            [Phase::Ready, Phase::Ready, Phase::Failed, Phase::TimedOut][usize::from(b % 4)];
        show(
            self.store
                .finish(&claim, Outcome::new(phase, vec![], now))
                .await,
        )
    }

    async fn token(&mut self, number: u64, now: Timestamp, (a, b): (u8, u8)) -> String {
        let id = token_id(a);
        match b % 4 {
            0 => show(
                self.store
                    .revoke_token(&target(b / 4).component_key(), &id, now)
                    .await,
            ),
            1 => show(self.store.touch_token(&id, now).await),
            _ => {
                let owner = target(b).component_key();
                let digest = TokenDigest::new([u8::try_from(number).unwrap(); 32]);
                let until = now + SignedDuration::from_secs(9500);
                show(
                    self.store
                        .issue_token(TokenRecord::new(id, owner, digest, (now, until)))
                        .await,
                )
            }
        }
    }

    async fn register(&mut self, (a, b): (u8, u8)) -> String {
        let organization = format!("organization-{}", a % 2).parse().unwrap();
        let id = (organization, "images".parse().unwrap());
        if b % 4 == 0 {
            return show(self.store.remove_registry(&id.0, &id.1).await);
        }
        let known = self.store.registry(&id.0, &id.1).await.unwrap();
        let host = format!("registry-{}.example.com", b % 3).parse().unwrap();
        let new = NewRegistry::new(id, "Images", host, AuthenticationType::Vendor);
        let expected = known.map(|known| known.revision);
        show(self.store.put_registry(new, expected).await)
    }

    async fn accept_run(&mut self, now: Timestamp, a: u8) -> String {
        self.runs += 1;
        let id = format!("r-{}", self.runs).parse().unwrap();
        let until = now + SignedDuration::from_secs(90_000);
        show(
            self.store
                .accept_run(NewRun::new(id, (target(a), plane(a)), (now, until)))
                .await,
        )
    }

    async fn end_run(&mut self, now: Timestamp, (a, b): (u8, u8)) -> String {
        let Some(claim) = chosen(&self.run_claims, a) else {
            return String::new();
        };
        // The next attempt of a cancelled run has its own test.
        let run = self
            .store
            .run(&acme(), &claim.id)
            .await
            .unwrap()
            .expect("it was claimed");
        let what = if run.cancel_requested { 1 } else { b % 4 };
        match what {
            0 => {
                let next = now + SignedDuration::from_secs(1400);
                let progress = RunProgress::new(RunPhase::Running, now, next);
                show(self.store.put_back_run(&claim, progress).await)
            }
            1 => {
                let outcome = RunOutcome::new(RunPhase::Failed, Some(b.into()), vec![], now);
                show(self.store.finish_run(&claim, outcome).await)
            }
            2 => show(self.store.request_cancel(&acme(), &claim.id, now).await),
            _ => show(
                self.store
                    .request_cancel(&acme(), &"r-none".parse().unwrap(), now)
                    .await,
            ),
        }
    }

    /// Reads everything.
    async fn look(&self) -> Vec<String> {
        let mut seen = vec![
            show(self.store.next_due().await),
            show(
                self.store
                    .deployments(&DeploymentQuery::default().limit(99))
                    .await,
            ),
            show(self.store.targets(&TargetQuery::default().placed()).await),
        ];
        for a in 0..2 {
            let target = target(a);
            seen.extend([
                show(self.store.target(&target).await),
                show(self.store.releases(&target.component_key(), 99).await),
                show(self.store.settings(&target, 2).await),
                show(self.store.runs(&target, 99).await),
                show(self.store.tokens(&target.component_key()).await),
            ]);
        }
        seen
    }
}

fn component(a: u8) -> String {
    format!("component-{}", a % 2)
}

fn target(a: u8) -> Target {
    example_target(&component(a))
}

fn plane(a: u8) -> choreo_deploy::id::DataPlaneId {
    format!("plane-{}", a % 2).parse().unwrap()
}

fn token_id(a: u8) -> TokenId {
    format!("t-{}", a % 4).parse().unwrap()
}

fn chosen<T: Clone>(all: &[T], a: u8) -> Option<T> {
    // The newest values are chosen more often than the others.
    let back = usize::from(a % 8).saturating_sub(4);
    all.len()
        .checked_sub(1 + back)
        .map(|index| all[index].clone())
}

fn show<T: std::fmt::Debug, E: std::fmt::Display>(answer: Result<T, E>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {error}"),
    }
}
