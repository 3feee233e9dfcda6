//! `restore`.

use choreo_deploy::store::DeploymentStore as _;
use choreo_deploy_sqlite::SqliteStore;
use jiff::Timestamp;
use serde_json::json;

use crate::config::Configuration;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;

/// What a backup brings back beside what is wanted of it.
const HINTS: &str = "\
the store is in use again. The backup has brought back what was taken away since it was made:
- deploy again what should run: deployments of the backup keep their old generations
- tokens that were revoked since then are valid: `token list`, then `token revoke`
- registries and credentials are as they were, also those that were removed or replaced
- idempotency keys are as old: a retry of CI may deploy once more";

/// Puts a store to work again that was restored from a backup, or begun anew. Nobody else may have
/// it open: a server would go on with what it knows of the lost one.
pub(super) async fn restore(
    configuration: &Configuration,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let store = SqliteStore::open(&configuration.store).await?;
    let epoch = store.raise_epoch(Timestamp::now()).await?;
    output.say(
        format_args!("restored: generations go on with epoch {epoch}"),
        &json!({ "epoch": epoch }),
    );
    Output::note(HINTS);
    Ok(ExitStatus::Ready)
}
