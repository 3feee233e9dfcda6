//! The findings about a deployment that are known when it is accepted.

use choreo_registry::ImageReference;
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::finding::Code;

use super::Deployer;
use super::refusal::unavailable;
use crate::catalog::{Plan, Stage};
use crate::deployment::{Deployment, RequestedImage};
use crate::finding::{Finding, FindingCode};
use crate::intake::IntakeError;
use crate::store::{RegisteredRegistry, StoredCredential};

impl Deployer {
    /// Returns the findings about an image of a registry in an environment.
    pub(super) fn findings_of_image(
        &self,
        image: &RequestedImage,
        (registry, stage): (&RegisteredRegistry, &Stage),
    ) -> Vec<Finding> {
        // CI sends a tag with the digest so that people can read the reference.
        let lints = image.reference.lints().into_iter();
        let lints = lints.filter(|lint| lint.code() != Code::TagBesideDigest);
        let mut findings: Vec<_> = lints.map(Finding::from).collect();
        let is_named_by_digest = image.claimed.is_some() || image.reference.digest().is_some();
        if !is_named_by_digest {
            findings.extend(latest(&image.reference));
            findings.extend(not_checkable(registry));
        }
        findings.extend(self.findings_of_place(registry, stage));
        findings
    }

    /// Returns the findings about pulling from a registry on the data plane of an environment.
    pub(super) fn findings_of_place(
        &self,
        registry: &RegisteredRegistry,
        stage: &Stage,
    ) -> Vec<Finding> {
        let plane = &stage.data_plane;
        let cloud = plane
            .cloud
            .filter(|_| registry.authentication_type == AuthenticationType::Vendor);
        let misfit = cloud.and_then(|cloud| self.vendors.of(&registry.host).misfit(cloud));
        let misfit = misfit.map(|misfit| {
            let mut finding = Finding::from(misfit);
            finding.message = format!("data plane {}: {}", plane.id, finding.message);
            finding
        });
        let unknown = plane.platforms.is_empty().then(|| {
            let message = format!(
                "data plane {} does not declare the platforms of its nodes, so the platforms of the \
                 image are not checked",
                plane.id
            );
            let help = "add the platforms to the catalog, such as \"linux/amd64\"";
            Finding::new(FindingCode::PlatformUnknown, message, help)
        });
        misfit.into_iter().chain(unknown).collect()
    }

    /// Returns a finding if a replayed deployment has another workload, other settings or another place
    /// than the catalog has now.
    pub(super) async fn is_of_another_plan(
        &self,
        deployment: &Deployment,
        (plan, stage): (&Plan, &Stage),
    ) -> Result<Option<Finding>, IntakeError> {
        let target = plan.component.target(stage.environment.id.clone());
        let mut is_same =
            deployment.target == target && deployment.data_plane == stage.data_plane.id;
        if is_same {
            let version = deployment.settings_version;
            is_same = self.settings_of(&target, version).await? == stage.settings;
        }
        if let Some(number) = deployment.release.filter(|_| is_same) {
            let component = plan.component.key();
            let release = self.parts.store.release(&component, number).await;
            let release = release.map_err(unavailable)?;
            is_same = release.is_none_or(|release| release.workload == plan.workload);
        }
        Ok((!is_same).then(|| {
            let message = format!(
                "deployment {} was accepted with this idempotency key, but the catalog now has other \
                 settings, another workload or another place for it",
                deployment.id
            );
            let help = "send another key to deploy from the present catalog";
            Finding::new(FindingCode::CatalogChanged, message, help)
        }))
    }
}

fn latest(image: &ImageReference) -> Option<Finding> {
    image.tag().filter(|tag| tag.as_str() == "latest")?;
    Some(Finding::new(
        FindingCode::LatestTag,
        "the tag \"latest\" moves with each push: the image that it names now is deployed",
        "give each build its own tag, or send the image's digest",
    ))
}

/// Returns a finding if the control plane has no credential to read a registry.
fn not_checkable(registry: &RegisteredRegistry) -> Option<Finding> {
    let asks = match &registry.credential {
        StoredCredential::None => registry.authentication_type != AuthenticationType::Vendor,
        StoredCredential::Sealed(_) => true,
        StoredCredential::ExistingSecret(_) | StoredCredential::ExternalSecret(_) => false,
    };
    (!asks).then(|| {
        let message = format!(
            "the control plane has no credential for registry {}, so it does not check that the \
             image exists",
            registry.id
        );
        let help = "send the image's digest; only the data plane reports a missing image";
        Finding::new(FindingCode::RegistryNotCheckable, message, help)
    })
}
