//! Updates the registries in the store from the configuration.

use choreo_deploy::sealer::{SealError, SealingContext};
use choreo_deploy::store::{NewRegistry, RegisteredRegistry, StoreErrorKind, StoredCredential};
use choreo_registry::Credential;

use crate::config::{OpenRegistry, RegistryEntry, Secrets};
use crate::control_plane::Records;
use crate::failure::Failure;

/// The registries that may be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Registering {
    /// Those that have changed. A server may run at the same time, so its key must open the store.
    Command,
    /// Those that have changed, and those that were sealed with a key that is no longer configured: the
    /// configuration has their credentials.
    Server,
}

/// Registers every registry of the configuration that has changed.
///
/// Returns an error if the configured key of that name does not open a credential: another process that
/// uses the store has another key of that name, and could not open what this one seals.
pub(crate) async fn register_all(
    (records, secrets): (&Records, &Secrets),
    registering: Registering,
) -> Result<(), Failure> {
    for entry in &records.configuration.registries {
        if let Some(open) = secrets.registries.get(&entry.id) {
            // One of several concurrent commands is first. The others retry and find its row.
            while register((records, secrets), (entry, open), registering).await?
                == Attempt::Overtaken
            {}
        }
    }
    if registering == Registering::Server {
        rewrap_others(records, secrets).await?;
    }
    Ok(())
}

/// Wraps the credentials that are in the store and not in the configuration with the current key, while
/// the older key is configured. Without it, nothing could open them.
async fn rewrap_others(records: &Records, secrets: &Secrets) -> Result<(), Failure> {
    let organization = &records.configuration.organization;
    for stored in records.store.registries(organization).await? {
        let StoredCredential::Sealed(sealed) = &stored.credential else {
            continue;
        };
        if secrets.registries.contains_key(&stored.id) {
            continue;
        }
        let rewrapped = secrets.sealer.rewrap(sealed, &context(&stored));
        let wrapped = match rewrapped {
            Ok(Some(wrapped)) => StoredCredential::Sealed(wrapped),
            Ok(None) => continue,
            Err(error) => {
                let registry = &stored.id;
                tracing::warn!(%registry, %error, "stored credential of a registry that is not in the configuration cannot be opened");
                continue;
            }
        };
        let new = NewRegistry::new(
            (organization.clone(), stored.id.clone()),
            stored.display_name.as_str(),
            stored.host.clone(),
            stored.authentication_type,
        );
        let new = new.with_credential(wrapped);
        match records.store.put_registry(new, Some(stored.revision)).await {
            Ok(_) => tracing::info!(registry = %stored.id, "wrapped with the current sealing key"),
            // Another process has written or removed it since it was read.
            Err(error) if error.kind() == StoreErrorKind::Conflict => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The result of an attempt to register a registry.
#[derive(Eq, PartialEq)]
enum Attempt {
    Done,
    /// Another process has written the row since it was read.
    Overtaken,
}

async fn register(
    (records, secrets): (&Records, &Secrets),
    (entry, open): (&RegistryEntry, &OpenRegistry),
    registering: Registering,
) -> Result<Attempt, Failure> {
    let organization = &records.configuration.organization;
    let stored = records.store.registry(organization, &entry.id).await?;
    let new = NewRegistry::new(
        (organization.clone(), entry.id.clone()),
        entry.display_name.as_str(),
        entry.host.clone(),
        entry.authentication_type,
    );
    if let Some(stored) = &stored {
        check_key(secrets, stored, registering)?;
    }
    let kept = stored
        .as_ref()
        .and_then(|stored| keep(secrets, stored, &new, open));
    let credential = match (kept, &stored) {
        (Some(credential), Some(stored)) => {
            let same = stored.display_name == new.display_name
                && key_of(&credential) == key_of(&stored.credential);
            if same {
                return Ok(Attempt::Done);
            }
            credential
        }
        // Another credential is a new version, and so is another host, which must not get the old one.
        _ => seal(secrets, &new, open)?,
    };
    let expected = stored.map(|stored| stored.revision);
    let new = new.with_credential(credential);
    match records.store.put_registry(new, expected).await {
        Ok(_) => tracing::info!(registry = %entry.id, host = %entry.host, "registered"),
        Err(error) if error.kind() == StoreErrorKind::Conflict => return Ok(Attempt::Overtaken),
        Err(error) => return Err(error.into()),
    }
    Ok(Attempt::Done)
}

/// Returns the stored credential, wrapped with the current sealing key, if it is still the right one.
fn keep(
    secrets: &Secrets,
    stored: &RegisteredRegistry,
    new: &NewRegistry,
    open: &OpenRegistry,
) -> Option<StoredCredential> {
    if (&stored.host, stored.authentication_type) != (&new.host, new.authentication_type) {
        return None;
    }
    match (&stored.credential, wanted(open)) {
        (StoredCredential::None, Wanted::None) => Some(StoredCredential::None),
        (StoredCredential::ExistingSecret(name), Wanted::ExistingSecret(wanted)) => {
            (name == wanted).then(|| stored.credential.clone())
        }
        (StoredCredential::Sealed(sealed), Wanted::Credential(wanted)) => {
            let context = context(stored);
            // If its key is no longer configured, it is sealed again: the configuration has it.
            let known = secrets.sealer.open(sealed, &context).ok()?;
            let same = known.username() == wanted.username()
                && known.expose_password() == wanted.expose_password();
            let wrapped = secrets.sealer.rewrap(sealed, &context).ok()?;
            same.then(|| StoredCredential::Sealed(wrapped.unwrap_or_else(|| sealed.clone())))
        }
        _ => None,
    }
}

/// Returns an error if the configured keys do not open the stored credential.
fn check_key(
    secrets: &Secrets,
    stored: &RegisteredRegistry,
    registering: Registering,
) -> Result<(), Failure> {
    let StoredCredential::Sealed(sealed) = &stored.credential else {
        return Ok(());
    };
    let (id, key) = (&stored.id, sealed.key_id());
    let why = match secrets.sealer.open(sealed, &context(stored)) {
        Err(SealError::NotAuthentic) => format!(
            "sealing key {key:?} is not the one that sealed registry {id} in this store: \
             use the key of the server"
        ),
        Err(SealError::UnknownKey(_)) if registering == Registering::Command => format!(
            "registry {id} is sealed with key {key:?}, which the configuration does not contain: \
             add it to sealing.older, or start the server once to seal it again"
        ),
        _ => return Ok(()),
    };
    Err(Failure::wrong_use(why))
}

fn seal(
    secrets: &Secrets,
    new: &NewRegistry,
    open: &OpenRegistry,
) -> Result<StoredCredential, Failure> {
    match wanted(open) {
        Wanted::None => Ok(StoredCredential::None),
        Wanted::ExistingSecret(name) => Ok(StoredCredential::ExistingSecret(name.to_owned())),
        Wanted::Credential(credential) => {
            let context = SealingContext::new(&new.organization, &new.id, &new.host);
            let sealed = secrets.sealer.seal(credential, &context);
            sealed.map(StoredCredential::Sealed).map_err(|error| {
                Failure::unavailable(format!("registry {}", new.id)).caused_by(&error)
            })
        }
    }
}

/// The credential that a registry should have in the store.
enum Wanted<'a> {
    None,
    Credential(&'a Credential),
    ExistingSecret(&'a str),
}

fn wanted(open: &OpenRegistry) -> Wanted<'_> {
    match open {
        OpenRegistry::ExistingSecret(name) => Wanted::ExistingSecret(name),
        OpenRegistry::Known(registry) => registry
            .credential()
            .map_or(Wanted::None, Wanted::Credential),
    }
}

/// Returns the context that a credential is bound to. It cannot be opened in another one.
pub(crate) fn context(registry: &RegisteredRegistry) -> SealingContext<'_> {
    SealingContext::new(&registry.organization, &registry.id, &registry.host)
}

fn key_of(credential: &StoredCredential) -> Option<&str> {
    match credential {
        StoredCredential::Sealed(sealed) => Some(sealed.key_id()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use choreo_deploy::sealer::{Sealer, SealingKey};

    use super::*;
    use crate::control_plane::unsealed;

    async fn opened(path: &Path) -> (Records, Secrets) {
        let (_, secrets) = unsealed(path).unwrap();
        (Records::open(path).await.unwrap(), secrets)
    }

    /// Opens a control plane with a credential and sealing keys, and returns the stored registry.
    async fn start(
        directory: &tempfile::TempDir,
        (password, host): (&str, &str),
        (key, older): (u8, &str),
    ) -> RegisteredRegistry {
        let path = |name: &str| directory.path().join(name);
        fs::write(path("password"), password).unwrap();
        fs::write(path(&format!("key-{key}")), format!("{key:02x}").repeat(32)).unwrap();
        let text = format!(
            r#"
                [sealing]
                key = {{ id = "{key}", file = "key-{key}" }}
                older = [{older}]
                [[registries]]
                id = "images"
                host = "{host}"
                authentication = "basic"
                username = "ada"
                password = {{ file = "password" }}
            "#
        );
        fs::write(path("control-plane.toml"), text).unwrap();
        let path = path("control-plane.toml");
        let (records, secrets) = opened(&path).await;
        register_all((&records, &secrets), Registering::Server)
            .await
            .unwrap();
        let (organization, id) = ("default".parse().unwrap(), "images".parse().unwrap());
        let stored = records.store.registry(&organization, &id).await.unwrap();
        stored.expect("it is registered")
    }

    fn password(stored: &RegisteredRegistry, key: u8) -> String {
        let StoredCredential::Sealed(sealed) = &stored.credential else {
            panic!("it is sealed");
        };
        let sealer = Sealer::new(SealingKey::new(key.to_string(), [key; 32]).unwrap());
        let context = context(stored);
        let credential = sealer.open(sealed, &context).unwrap();
        credential.expose_password().to_owned()
    }

    const HOST: &str = "registry.example.com";

    #[tokio::test]
    async fn a_version_is_made_only_when_the_credential_or_the_host_changes() {
        let directory = tempfile::tempdir().unwrap();
        for (credential, version) in [
            (("one", HOST), 1),
            (("one", HOST), 1),
            (("two", HOST), 2),
            (("two", "other.example.com"), 3),
            (("two", "other.example.com"), 3),
        ] {
            let stored = start(&directory, credential, (1, "")).await;
            assert_eq!(stored.credential_version, version, "{credential:?}");
            assert_eq!(stored.host.as_str(), credential.1);
            assert_eq!(password(&stored, 1), credential.0);
        }
    }

    #[tokio::test]
    async fn a_new_sealing_key_takes_over_without_a_new_version() {
        let directory = tempfile::tempdir().unwrap();
        start(&directory, ("one", HOST), (1, "")).await;
        let older = r#"{ id = "1", file = "key-1" }"#;
        let stored = start(&directory, ("one", HOST), (2, older)).await;
        assert_eq!(
            (stored.credential_version, password(&stored, 2)),
            (1, "one".to_owned())
        );
        // The old key is not configured now. An unknown key leads to a new version.
        let stored = start(&directory, ("one", HOST), (2, "")).await;
        assert_eq!(stored.credential_version, 1);
        let stored = start(&directory, ("one", HOST), (3, "")).await;
        assert_eq!(password(&stored, 3), "one");
        assert_eq!(stored.credential_version, stored.revision);
    }

    #[tokio::test]
    async fn another_key_of_the_same_name_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let before = start(&directory, ("one", HOST), (1, "")).await;
        fs::write(directory.path().join("key-1"), "99".repeat(32)).unwrap();
        let path = directory.path().join("control-plane.toml");
        let (records, secrets) = opened(&path).await;
        for registering in [Registering::Command, Registering::Server] {
            let error = register_all((&records, &secrets), registering)
                .await
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "sealing key \"1\" is not the one that sealed registry images in this store: use the \
                 key of the server"
            );
        }
        let stored = records.store.registry(&before.organization, &before.id);
        assert_eq!(stored.await.unwrap().unwrap().revision, before.revision);
    }
}
