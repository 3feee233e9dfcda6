//! `restore`.

use choreo_deploy::store::DeploymentStore as _;
use choreo_deploy_sqlite::SqliteStore;
use jiff::Timestamp;
use serde_json::json;

use crate::config::Configuration;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;

/// The consequences of a restored backup that an operator has to handle.
const HINTS: &str = "\
the store can be used again. It contains the state from the time of the backup:
- deploy again everything that should run: the deployments of the backup keep their old generations
- tokens that were revoked since then are valid again: use `token list` and `token revoke`
- registries and credentials that were removed or replaced since then are back
- idempotency keys since then are lost: a retry by CI may deploy again";

/// Prepares a store that was restored from a backup, or created after a loss. No other process may have
/// it open: a server would continue with its knowledge of the lost one.
pub(super) async fn restore(
    configuration: &Configuration,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let store = SqliteStore::open(&configuration.store).await?;
    let epoch = store.raise_epoch(Timestamp::now()).await?;
    output.say(
        format_args!("restored: generations continue with epoch {epoch}"),
        &json!({ "epoch": epoch }),
    );
    Output::note(HINTS);
    Ok(ExitStatus::Ready)
}
