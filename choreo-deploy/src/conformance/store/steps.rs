//! Helpers of the clauses.

use std::time::Duration;

use choreo_registry::ImageReference;
use jiff::{SignedDuration, Timestamp};

use crate::conformance::fixture::{example_image, example_target};
use crate::deployment::{Deployment, Phase, RequestedImage, Subject};
use crate::id::{ComponentKey, DataPlaneId, DeploymentId, OrganizationId, TokenId};
use crate::reason::{Reason, ReasonCode};
use crate::release::{DigestPin, Pinning, ReleaseDraft, ReleaseImage};
use crate::store::{
    Accepted, Claim, ClaimRequest, ClaimedDeployment, Idempotency, NewDeployment, NewRun, Outcome,
    Progress, Store, StoreError, StoreErrorKind, TargetState, WorkStage,
};
use crate::token::{TokenDigest, TokenRecord};
use crate::workload::{ManualTask, Workload};

/// Returns the timestamp of a number of seconds.
pub(super) fn at(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).expect("the suite's times are small");
    Timestamp::from_second(1_700_000_000 + seconds).expect("the suite's times exist")
}

pub(super) fn id(text: &str) -> DeploymentId {
    id_of(text)
}

pub(super) fn id_of<T: std::str::FromStr<Err = crate::id::ParseIdError>>(text: &str) -> T {
    text.parse().expect("the suite's ids are valid")
}

/// Returns the organization of [`example_target`].
pub(super) fn acme() -> OrganizationId {
    id_of("acme")
}

/// Returns a component of that organization.
pub(super) fn key_of(component: &str) -> ComponentKey {
    ComponentKey::new(acme(), id_of(component))
}

pub(super) fn plane(text: &str) -> DataPlaneId {
    id_of(text)
}

pub(super) fn workload() -> Workload {
    ManualTask::new().into()
}

pub(super) fn pin(number: u64) -> DigestPin {
    let digest = example_image(number)
        .digest()
        .expect("it has a digest")
        .to_owned();
    DigestPin::new(digest, Pinning::Resolved)
}

/// Returns a deployment of an image on the data plane `eu-1`, with a deadline after one hour.
pub(super) fn new(component: &str, number: u64, accepted_at: Timestamp) -> NewDeployment {
    let image: ImageReference = example_image(number);
    let subject = Subject::Image(Box::new(RequestedImage::new(image)));
    let place = (example_target(component), plane("eu-1"));
    let deadline_at = accepted_at + SignedDuration::from_hours(1);
    let new = NewDeployment::new(
        id(&format!("d-{number}")),
        place,
        subject,
        (accepted_at, deadline_at),
    );
    NewDeployment {
        workload: Some(workload()),
        ..new
    }
}

/// Returns the same with the idempotency key `key`, which expires after 600 s.
pub(super) fn keyed(
    component: &str,
    number: u64,
    accepted_at: Timestamp,
    print: [u8; 32],
) -> NewDeployment {
    let expires_at = accepted_at + SignedDuration::from_secs(600);
    let idempotency = Some(Idempotency::new("key", print, expires_at));
    NewDeployment {
        idempotency,
        ..new(component, number, accepted_at)
    }
}

/// Returns a token that expires after 50,000 s.
pub(super) fn token(id: &str, component: &str, created_at: Timestamp) -> TokenRecord {
    let expires_at = created_at + SignedDuration::from_secs(50_000);
    let digest = TokenDigest::new([7; 32]);
    let owner = key_of(component);
    TokenRecord::new(
        id_of::<TokenId>(id),
        owner,
        digest,
        (created_at, expires_at),
    )
}

pub(super) fn new_run(id: &str, accepted_at: Timestamp) -> NewRun {
    let place = (example_target("orders"), plane("eu-1"));
    let deadline_at = accepted_at + SignedDuration::from_hours(1);
    NewRun::new(id_of(id), place, (accepted_at, deadline_at))
}

/// Returns a run that is accepted at 2 s.
pub(super) async fn ready_run(store: &dyn Store) -> crate::run::Run {
    accept(store, "orders", 1, at(0)).await;
    finish(store, at(1), Phase::Ready).await;
    store
        .accept_run(new_run("r-1", at(2)))
        .await
        .expect("accepts")
}

pub(super) async fn accept(
    store: &dyn Store,
    component: &str,
    number: u64,
    at: Timestamp,
) -> Accepted {
    store
        .accept(new(component, number, at))
        .await
        .expect("accepts")
}

pub(super) async fn deployment(store: &dyn Store, text: &str) -> Deployment {
    store
        .deployment(&acme(), &id(text))
        .await
        .expect("reads")
        .expect("the deployment is stored")
}

/// Claims for 30 s.
pub(super) async fn claim(store: &dyn Store, now: Timestamp) -> Option<ClaimedDeployment> {
    let request = ClaimRequest::new("worker", now, now + SignedDuration::from_secs(30));
    let claimed = store.claim(&request).await.expect("claims");
    claimed.into_deployment()
}

pub(super) async fn claim_run(
    store: &dyn Store,
    now: Timestamp,
) -> Option<crate::store::ClaimedRun> {
    let request = ClaimRequest::new("worker", now, now + SignedDuration::from_secs(30));
    let claimed = store.claim(&request).await.expect("claims");
    claimed.into_run()
}

pub(super) async fn record_release(
    store: &dyn Store,
    claimed: &ClaimedDeployment,
    number: u64,
) -> crate::release::Release {
    let image = ReleaseImage::unpinned(example_image(number)).pinned(pin(number));
    let draft = ReleaseDraft::new(workload(), image);
    store
        .record_release(&claimed.claim, draft, at(number))
        .await
        .expect("records")
}

/// Claims due work, records its release and ends it.
pub(super) async fn finish(store: &dyn Store, now: Timestamp, phase: Phase) -> Claim {
    let claimed = claim(store, now).await.expect("work is due");
    record_release(store, &claimed, 1).await;
    let ended = store
        .finish(&claimed.claim, Outcome::new(phase, vec![], now))
        .await;
    assert_eq!(ended.expect("ends").phase, phase);
    claimed.claim
}

/// Claims due work, records its release unless it is a removal, and puts it back as leaving. Returns
/// the state of the target `orders` afterwards.
pub(super) async fn leave(store: &dyn Store, now: u64) -> TargetState {
    let claimed = claim(store, at(now)).await.expect("work is due");
    if claimed.deployment.subject != Subject::Absence {
        record_release(store, &claimed, now).await;
    }
    let progress = Progress {
        stage: WorkStage::Leaving,
        reasons: vec![Reason::new(ReasonCode::Waiting, "it leaves its old places")],
        ..Progress::new(Phase::Progressing, at(now), at(now))
    };
    let put_back = store.put_back(&claimed.claim, progress).await;
    put_back.expect("puts back");
    let state = store.target(&example_target("orders")).await;
    state.expect("reads").expect("is there")
}

pub(super) async fn assert_all_stale(store: &dyn Store, claim: &Claim) {
    assert_stale(store.renew(claim, at(9000)).await);
    let draft = ReleaseDraft::new(workload(), ReleaseImage::unpinned(example_image(9)));
    assert_stale(store.record_release(claim, draft, at(9)).await);
    assert_stale(store.record_pin(claim, pin(9)).await);
    let progress = Progress::new(Phase::Progressing, at(9), at(9));
    assert_stale(store.put_back(claim, progress).await);
    assert_stale(
        store
            .finish(claim, Outcome::new(Phase::Ready, vec![], at(9)))
            .await,
    );
}

#[track_caller]
pub(super) fn assert_stale<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let error = result.expect_err("an old claim is rejected");
    assert_eq!(error.kind(), StoreErrorKind::Stale, "{error}");
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("the wait ends")
}

/// Runs futures concurrently on one task.
pub(super) async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(context) {
                *done = Some(output);
            }
        }
        if futures.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}
