//! `registry list`, `registry verify` and `registry remove`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use choreo_deploy::id::{ComponentId, RegistryId};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::{Credential, ImageReference};
use choreo_registry_client::{Access, AccessClass, RegistryClient, transport::HttpTransport};
use serde_json::json;

use crate::config::{Configuration, OpenRegistry, RegistryEntry, Secrets};
use crate::control_plane::Records;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;
use crate::table::{Table, cell};

/// The maximum number of components in a message.
const NAMED: usize = 5;

/// Lists the registries of the configuration and of the store.
pub(super) async fn list(records: &Records, output: Output) -> Result<ExitStatus, Failure> {
    let configuration = &records.configuration;
    let stored = records
        .store
        .registries(&configuration.organization)
        .await?;
    let stored: BTreeMap<_, _> = stored.iter().map(|stored| (&stored.id, stored)).collect();
    let configured = configuration.registries.iter().map(|entry| &entry.id);
    let ids: BTreeSet<_> = configured.chain(stored.keys().copied()).collect();
    let mut users: BTreeMap<RegistryId, Vec<ComponentId>> = BTreeMap::new();
    for entry in configuration.components.iter() {
        let of_registry = users.entry(entry.component.registry).or_default();
        of_registry.push(entry.component.id);
    }
    let mut table = Table::new(["REGISTRY", "HOST", "TYPE", "VERSION", "USED BY"]);
    let mut values = Vec::new();
    for id in ids {
        let (entry, stored) = (configuration.registry(id), stored.get(id));
        let host = entry.map(|entry| &entry.host);
        let host = host.or(stored.map(|stored| &stored.host));
        let kind = entry.map(|entry| entry.authentication_type);
        let kind = kind.or(stored.map(|stored| stored.authentication_type));
        let version = stored.map(|stored| stored.credential_version);
        let users = users.get(id).into_iter().flatten();
        let users: Vec<&str> = users.map(ComponentId::as_str).collect();
        table.row([
            id.to_string(),
            cell(host),
            cell(kind),
            cell(version),
            match entry {
                Some(_) => used_by(&users),
                None => "not in the configuration".to_owned(),
            },
        ]);
        values.push(json!({
            "id": id,
            "host": host,
            "authentication": kind,
            "credential_version": version,
            "components": users,
            "in_configuration": entry.is_some(),
        }));
    }
    output.say(table.or("no registries"), &values);
    Ok(ExitStatus::Ready)
}

fn used_by(users: &[&str]) -> String {
    let named = users[..users.len().min(NAMED)].join(", ");
    match users.len().saturating_sub(NAMED) {
        _ if users.is_empty() => "-".to_owned(),
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Checks that a registry accepts the login, and that the login may pull an image.
pub(super) async fn verify(
    (configuration, secrets): (&Configuration, &Secrets),
    id: &RegistryId,
    image: Option<&ImageReference>,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let entry = configuration.registry(id);
    let entry = entry.ok_or_else(|| {
        let known = configuration.registries.iter();
        Failure::missing(("registry", id), known.map(|entry| &entry.id))
    })?;
    if let Some(image) = image.filter(|image| !entry.host.serves(image)) {
        let message = format!(
            "image {:?} is not in registry {id} ({})",
            image.as_str(),
            entry.host
        );
        return Err(Failure::refused(message));
    }
    let transport = Arc::clone(&secrets.transport) as _;
    let access = access(entry, secrets.registries.get(id), (transport, image)).await;
    output.say(words(&access), &access);
    Ok(match access.class() {
        AccessClass::PullAllowed | AccessClass::LoginAccepted => ExitStatus::Ready,
        _ => ExitStatus::Failed,
    })
}

/// Deletes a registry that the configuration does not contain. One that it contains would be registered
/// again.
pub(super) async fn remove(
    records: &Records,
    id: &RegistryId,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let configuration = &records.configuration;
    if configuration.registry(id).is_some() {
        let entries = configuration.components.iter();
        let users = entries.filter(|entry| entry.component.registry == *id);
        let users: Vec<_> = users.map(|entry| entry.component.id.to_string()).collect();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let message = match users.is_empty() {
            true => format!("registry {id} is in the configuration: remove it there first"),
            false => format!(
                "registry {id} is used by {}: choose another registry for them in the configuration first",
                used_by(&users)
            ),
        };
        return Err(Failure::refused(message));
    }
    let (organization, store) = (&configuration.organization, &records.store);
    if !store.remove_registry(organization, id).await? {
        let known = store.registries(organization).await?;
        let known = known.iter().map(|stored| &stored.id);
        return Err(Failure::missing(("registry", id), known));
    }
    let text = format!("registry {id} and its credential are removed from the store");
    output.say(text, &json!({ "id": id, "removed": true }));
    Ok(ExitStatus::Ready)
}

/// Returns the access that a registry grants to the login, to one image or in general.
pub(super) async fn access(
    entry: &RegistryEntry,
    open: Option<&OpenRegistry>,
    (transport, image): (Arc<dyn HttpTransport>, Option<&ImageReference>),
) -> Access {
    match open {
        Some(OpenRegistry::Known(registry))
            if entry.authentication_type != AuthenticationType::Vendor =>
        {
            let credential = registry.credential().map(Credential::clone_secret);
            RegistryClient::new(entry.host.clone(), credential, transport)
                .verify(image)
                .await
        }
        Some(OpenRegistry::Known(_)) => Access::not_checkable(format!(
            "the nodes of the data plane log in to {:?} with their own identity",
            entry.host.as_str()
        )),
        Some(OpenRegistry::ExistingSecret(_)) => {
            Access::not_checkable("only the data planes have the credential")
        }
        None => Access::not_checkable("the credential cannot be read: see the problems"),
    }
}

fn words(access: &Access) -> String {
    let mut text = access.message().to_owned();
    if let Some(help) = access.help() {
        text.push_str(&format!("\n  help: {help}"));
    }
    if let Some(image) = access.image() {
        text.push_str(&format!("\n  digest: {}", image.digest()));
        let platforms: Vec<_> = image.platforms().iter().map(ToString::to_string).collect();
        if !platforms.is_empty() {
            text.push_str(&format!("\n  platforms: {}", platforms.join(", ")));
        }
    }
    text
}
