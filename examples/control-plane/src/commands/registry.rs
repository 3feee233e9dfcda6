//! `registry verify`.

use std::sync::Arc;

use choreo_deploy::id::RegistryId;
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::client::{Access, AccessClass, RegistryClient};
use choreo_registry::{Credential, ImageReference};

use crate::config::OpenRegistry;
use crate::control_plane::Records;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;

/// Asks a registry whether the login works, and whether it may pull an image.
pub(super) async fn verify(
    records: &Records,
    id: &RegistryId,
    image: Option<&ImageReference>,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let entry = records.configuration.registry(id);
    let entry = entry.ok_or_else(|| {
        let known = records.configuration.registries.iter();
        Failure::missing(format_args!("registry {id}"), known.map(|entry| &entry.id))
    })?;
    if let Some(image) = image.filter(|image| !entry.host.serves(image)) {
        let message = format!(
            "image {:?} is not in registry {id} ({})",
            image.as_str(),
            entry.host
        );
        return Err(Failure::refused(message));
    }
    let access = match records.registries.get(id) {
        Some(OpenRegistry::Known(registry))
            if entry.authentication_type != AuthenticationType::Vendor =>
        {
            let credential = registry.credential().map(Credential::duplicate);
            let transport = Arc::clone(&records.transport) as _;
            RegistryClient::new(entry.host.clone(), credential, transport)
                .verify(image)
                .await
        }
        Some(OpenRegistry::Known(_)) => Access::not_checkable(format!(
            "the nodes of the data plane log in to {:?} as themselves",
            entry.host.as_str()
        )),
        _ => Access::not_checkable("the credential is on the data planes only"),
    };
    output.say(words(&access), &access);
    Ok(match access.class() {
        AccessClass::PullAllowed | AccessClass::LoginAccepted => ExitStatus::Ready,
        _ => ExitStatus::Failed,
    })
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
