//! Fills a database with a history.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use choreo_deploy::Target;
use choreo_deploy::deployment::{Phase, RequestedImage, Subject};
use choreo_deploy::release::{DigestPin, Pinning, ReleaseDraft, ReleaseImage};
use choreo_deploy::store::{ClaimRequest, DeploymentStore as _, NewDeployment, Outcome as End};
use choreo_deploy::workload::Workload;
use choreo_deploy_sqlite::SqliteStore;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use crate::Outcome;

const CALLERS: u64 = 64;
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Returns the JSON of a typical workload. `number` makes that of each component different.
pub(crate) fn workload(number: u64) -> serde_json::Value {
    serde_json::json!({
        "type": "service",
        "endpoints": [{ "name": "http", "port": 8080, "protocol": "http" }],
        "container": { "variables": {
            "LOG_LEVEL": { "literal": "info" },
            "SERVICE_NUMBER": { "literal": number.to_string() },
            "CACHE_URL": { "literal": "redis://cache.shop.svc.cluster.local:6379/0" },
            "FEATURES": { "literal": "checkout-v2,search-suggestions,gift-cards" },
            "DATABASE_URL": { "from": { "secret": { "name": "orders", "key": "database-url" } } },
        } },
    })
}

/// Deploys all components repeatedly, until the number of deployments is reached. All but the first
/// deployments of each are ready.
pub(crate) async fn fill(file: PathBuf, (components, deployments): (u64, u64)) -> Outcome {
    let begun = Instant::now();
    let store = Arc::new(SqliteStore::open(&file).await?);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            for number in (caller..deployments).step_by(CALLERS as usize) {
                deploy(&store, number % components, number).await?;
            }
            Ok::<_, String>(())
        });
    }
    for ended in callers.join_all().await {
        ended?;
    }
    drop(store);
    let megabytes = std::fs::metadata(&file)?.len() / 1_000_000;
    let seconds = begun.elapsed().as_secs();
    println!("{deployments} deployments of {components} components in {seconds} s: {megabytes} MB");
    Ok(())
}

async fn deploy(store: &SqliteStore, component: u64, number: u64) -> Result<(), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let id = |text: String| text.parse().expect("an id");
    let target = Target::new(
        "acme".parse().expect("an id"),
        "shop".parse().expect("an id"),
        format!("component-{component}").parse().expect("an id"),
        "development".parse().expect("an id"),
    );
    let image = format!("registry.example.com/shop/component-{component}:1.{number}@{DIGEST}");
    let image: choreo_registry::ImageReference = image.parse().map_err(|error| said(&error))?;
    let workload = serde_json::from_value::<Workload>(workload(component));
    let workload = workload.map_err(|error| said(&error))?;
    let subject = Subject::Image(Box::new(RequestedImage::new(image.clone())));
    let now = Timestamp::now();
    let later = now + SignedDuration::from_mins(15);
    let place = (target, "local".parse().expect("an id"));
    let mut new = NewDeployment::new(id(format!("d-{number}")), place, subject, (now, later));
    new.workload = Some(workload.clone());
    store.accept(new).await.map_err(|error| said(&error))?;
    let request = ClaimRequest::new("fill", later, later + SignedDuration::from_mins(15));
    let claimed = store.claim(&request).await.map_err(|error| said(&error))?;
    let Some(claimed) = claimed.into_deployment() else {
        return Ok(());
    };
    let digest = image.digest().expect("a digest").to_owned();
    let pinned = ReleaseImage::unpinned(image).pinned(DigestPin::new(digest, Pinning::Claimed));
    let draft = ReleaseDraft::new(claimed.workload.unwrap_or(workload), pinned);
    let recorded = store.record_release(&claimed.claim, draft, now).await;
    recorded.map_err(|error| said(&error))?;
    let ended = store.finish(&claimed.claim, End::new(Phase::Ready, vec![], now));
    ended.await.map_err(|error| said(&error)).map(drop)
}
