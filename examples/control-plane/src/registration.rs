//! Brings the store's registries up to date with the configuration's.

use choreo_deploy::sealer::SealingContext;
use choreo_deploy::store::{RegisteredRegistry, RegistryStore as _, StoredCredential};
use choreo_registry::Credential;

use crate::config::{OpenRegistry, RegistryEntry};
use crate::control_plane::Records;
use crate::failure::Failure;

/// Registers every registry of the configuration. What has not changed is left alone.
pub(crate) async fn register_all(records: &Records) -> Result<(), Failure> {
    for entry in &records.configuration.registries {
        if let Some(open) = records.registries.get(&entry.id) {
            register(records, entry, open).await?;
        }
    }
    Ok(())
}

async fn register(
    records: &Records,
    entry: &RegistryEntry,
    open: &OpenRegistry,
) -> Result<(), Failure> {
    let organization = &records.configuration.organization;
    let stored = records.store.registry(organization, &entry.id).await?;
    let new = RegisteredRegistry::new(
        (organization.clone(), entry.id.clone()),
        entry.display_name.as_str(),
        entry.host.clone(),
        entry.authentication_type,
    );
    let kept = stored
        .as_ref()
        .and_then(|stored| keep(records, stored, &new, open));
    let new = match (kept, &stored) {
        (Some(credential), Some(stored)) => {
            let same = stored.display_name == new.display_name
                && key_of(&credential) == key_of(&stored.credential);
            if same {
                return Ok(());
            }
            new.with_credential(credential, stored.credential_version)
        }
        // Another credential, or another host that the old one must not reach: a new version.
        (_, stored) => {
            let version = stored
                .as_ref()
                .map_or(1, |stored| stored.credential_version + 1);
            let credential = seal(records, &new, (open, version))?;
            new.with_credential(credential, version)
        }
    };
    records.store.put_registry(new).await?;
    tracing::info!(registry = %entry.id, host = %entry.host, "registered");
    Ok(())
}

/// The stored credential, wrapped with the present sealing key, if it still is the right one.
fn keep(
    records: &Records,
    stored: &RegisteredRegistry,
    new: &RegisteredRegistry,
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
            let context = context(stored, stored.credential_version);
            // One that does not open is sealed anew: the configuration has it.
            let known = records.sealer.open(sealed, &context).ok()?;
            let same = known.username() == wanted.username()
                && known.expose_password() == wanted.expose_password();
            let wrapped = records.sealer.rewrap(sealed, &context).ok()?;
            same.then(|| StoredCredential::Sealed(wrapped.unwrap_or_else(|| sealed.clone())))
        }
        _ => None,
    }
}

fn seal(
    records: &Records,
    new: &RegisteredRegistry,
    (open, version): (&OpenRegistry, u64),
) -> Result<StoredCredential, Failure> {
    match wanted(open) {
        Wanted::None => Ok(StoredCredential::None),
        Wanted::ExistingSecret(name) => Ok(StoredCredential::ExistingSecret(name.to_owned())),
        Wanted::Credential(credential) => {
            let sealed = records.sealer.seal(credential, &context(new, version));
            sealed.map(StoredCredential::Sealed).map_err(|error| {
                Failure::unavailable(format!("registry {}", new.id)).caused_by(&error)
            })
        }
    }
}

/// What is to be stored for a registry.
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

/// What a credential belongs to. It opens nowhere else.
pub(crate) fn context(registry: &RegisteredRegistry, version: u64) -> SealingContext<'_> {
    SealingContext::new(
        &registry.organization,
        &registry.id,
        &registry.host,
        version,
    )
}

fn key_of(credential: &StoredCredential) -> Option<&str> {
    match credential {
        StoredCredential::Sealed(sealed) => Some(sealed.key_id()),
        _ => None,
    }
}
