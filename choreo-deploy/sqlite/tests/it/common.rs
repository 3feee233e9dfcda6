//! The helpers of the tests.

use std::path::PathBuf;
use std::sync::Once;

use choreo_deploy::conformance::{example_image, example_target};
use choreo_deploy::deployment::{Deployment, Phase, RequestedImage, Subject};
use choreo_deploy::id::{DeploymentId, OrganizationId};
use choreo_deploy::release::{DigestPin, Pinning, ReleaseDraft, ReleaseImage};
use choreo_deploy::store::{
    ClaimRequest, ClaimedDeployment, DeploymentStore, NewDeployment, Outcome,
};
use choreo_deploy::workload::ManualTask;
use choreo_deploy_sqlite::SqliteStore;
use jiff::{SignedDuration, Timestamp};

/// Opens a store whose file stays below the target directory until the next run of the test.
pub(crate) async fn fresh() -> SqliteStore {
    static CLEAN: Once = Once::new();
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    CLEAN.call_once(|| {
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).expect("makes a directory");
    });
    let directory = tempfile::tempdir_in(&root)
        .expect("makes a directory")
        .keep();
    SqliteStore::open(directory.join("choreo.db"))
        .await
        .expect("opens")
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
}

/// Returns the organization of the example target.
pub(crate) fn acme() -> OrganizationId {
    "acme".parse().expect("an id")
}

pub(crate) fn deployment_id(number: u64) -> DeploymentId {
    format!("d-{number}").parse().expect("an id")
}

/// Creates a manual deployment of an image to the development environment of a component.
pub(crate) fn new(component: &str, number: u64, at: Timestamp) -> NewDeployment {
    let place = (example_target(component), "eu-1".parse().expect("an id"));
    let image = RequestedImage::new(example_image(1));
    let times = (at, at + SignedDuration::from_mins(10));
    let subject = Subject::Image(Box::new(image));
    let mut new = NewDeployment::new(deployment_id(number), place, subject, times);
    new.workload = Some(ManualTask::new().into());
    new
}

pub(crate) async fn claim(store: &SqliteStore, now: Timestamp) -> Option<ClaimedDeployment> {
    let request = ClaimRequest::new("worker", now, now + SignedDuration::from_secs(30));
    let claimed = store.claim(&request).await.expect("claims");
    claimed.into_deployment()
}

/// Creates a release of the image of [`new`].
pub(crate) fn draft() -> ReleaseDraft {
    let image = example_image(1);
    let digest = image.digest().expect("a digest").to_owned();
    let image = ReleaseImage::unpinned(image).pinned(DigestPin::new(digest, Pinning::Claimed));
    ReleaseDraft::new(ManualTask::new().into(), image)
}

/// Claims the due deployment, creates its release and ends it as ready.
pub(crate) async fn finish(store: &SqliteStore, now: Timestamp) -> Deployment {
    let claimed = claim(store, now).await.expect("something is due");
    store
        .record_release(&claimed.claim, draft(), now)
        .await
        .expect("records");
    let outcome = Outcome::new(Phase::Ready, vec![], now);
    store.finish(&claimed.claim, outcome).await.expect("ends")
}
