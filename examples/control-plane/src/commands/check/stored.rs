//! Checks of the store that only read it.

use std::collections::BTreeMap;

use choreo_deploy::id::RegistryId;
use choreo_deploy::sealer::{SealError, Sealer};
use choreo_deploy::store::{
    DeploymentStore as _, RegistryStore as _, StoreError, StoredCredential, Unreadable,
};
use choreo_deploy_sqlite::{OpenError, SqliteStore};

use super::doubt::Doubt;
use crate::config::{Configuration, Problem};
use crate::failure::Failure;
use crate::registration;

/// The path of the store in the configuration.
const PATH: &str = "store.path";

/// Checks the store without creating or changing it: that it opens, that the sealing keys open the
/// credentials, and that all rows can be read.
pub(super) async fn look(
    configuration: &Configuration,
    sealer: Option<&Sealer>,
) -> (Vec<Problem>, Vec<Doubt>) {
    let problem = |message: String| (vec![Problem::new(PATH, message)], Vec::new());
    let folder = configuration.store.parent();
    if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    {
        return problem(format!(
            "folder {folder:?} does not exist: create it, or choose another"
        ));
    }
    let store = match SqliteStore::open_read_only(&configuration.store).await {
        Ok(store) => store,
        // The first start creates it.
        Err(OpenError::Missing(_)) => return (Vec::new(), Vec::new()),
        Err(error @ OpenError::Outdated { .. }) => {
            let words = (
                error.to_string(),
                "the next start of the server upgrades it",
            );
            return (
                Vec::new(),
                vec![Doubt::warning(PATH, "store-outdated", words)],
            );
        }
        Err(error) => return problem(Failure::from(error).to_string()),
    };
    let looked = async {
        let (keys, mut doubts) = match sealer {
            Some(sealer) => check_keys(configuration, sealer, &store).await?,
            None => (Vec::new(), Vec::new()),
        };
        let unreadable = store.unreadable().await?;
        doubts.extend(unreadable.into_iter().map(doubt));
        Ok::<_, StoreError>((keys, doubts))
    };
    looked
        .await
        .unwrap_or_else(|error| problem(Failure::from(error).to_string()))
}

/// Returns a problem for each key that does not open the credentials that name it. A registry that is
/// not in the configuration is not used, so it is only a doubt.
async fn check_keys(
    configuration: &Configuration,
    sealer: &Sealer,
    store: &SqliteStore,
) -> Result<(Vec<Problem>, Vec<Doubt>), StoreError> {
    let mut doubts = Vec::new();
    let mut closed: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
    for registry in store.registries(&configuration.organization).await? {
        let StoredCredential::Sealed(sealed) = &registry.credential else {
            continue;
        };
        let opened = sealer.open(sealed, &registration::context(&registry));
        if let Err(error) = opened {
            if configuration.registry(&registry.id).is_none() {
                doubts.push(left_closed(&registry.id, sealed.key_id()));
                continue;
            }
            let is_known = !matches!(error, SealError::UnknownKey(_));
            let key = (sealed.key_id().to_owned(), is_known);
            closed.entry(key).or_default().push(registry.id.to_string());
        }
    }
    let problem = |((key, is_known), registries): ((String, bool), Vec<String>)| {
        let registries = registries.join(", ");
        match is_known {
            true => Problem::new(
                configuration.path_of_key(&key),
                format!(
                    "is not the key {key:?} that sealed {registries} in the store: use the key of \
                     the server"
                ),
            ),
            false => Problem::new(
                "sealing.older",
                format!(
                    "key {key:?}, which sealed {registries} in the store, is missing: add it, or \
                     start the server once to seal their credentials again"
                ),
            ),
        }
    };
    Ok((closed.into_iter().map(problem).collect(), doubts))
}

/// Returns a doubt about a registry that is not in the configuration and cannot be opened.
fn left_closed(id: &RegistryId, key: &str) -> Doubt {
    let words = (
        format!(
            "the store contains registry {id}, which is not in the configuration and cannot be \
             opened: it is sealed with key {key:?}"
        ),
        format!("remove it with \"registry remove {id}\""),
    );
    Doubt::warning(PATH, "stored-registry-closed", words)
}

fn doubt(row: Unreadable) -> Doubt {
    let Unreadable {
        table, key, why, ..
    } = row;
    Doubt::warning(
        PATH,
        "unreadable-row",
        (
            format!("row {key:?} of {table} cannot be read: {why}"),
            "it is ignored; use the version of the program that wrote it",
        ),
    )
}
