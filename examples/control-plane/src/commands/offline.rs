//! `render` and `snippet`, which need only the configuration: no secret, store or network.

use choreo_deploy::backend::{Intent, Pull};
use choreo_deploy::deployment::Generation;
use choreo_deploy::id::{ComponentId, ComponentKey, EnvironmentId};
use choreo_deploy::release::{
    DigestPin, Pinning, Release, ReleaseDraft, ReleaseImage, ReleaseNumber,
};
use choreo_deploy::workload::Workload;
use choreo_deploy_kubernetes::{Object, render as render_objects};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::digest::DigestRef;
use choreo_registry::{Credential, ImageReference, PullSecret};
use choreo_webhook::Snippet;
use choreo_webhook::snippet::Ci;
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::Image;
use crate::config::{Configuration, Login, RegistryEntry};
use crate::control_plane::component;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;

/// Shows the Kubernetes objects that a deployment of an image creates.
pub(super) fn render(
    configuration: &Configuration,
    image: &Image,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let place = (&image.component, image.environment.as_ref());
    let objects = objects(configuration, place, &image.image)?;
    let values: Vec<Value> = objects.iter().map(Object::redacted).collect();
    output.say(yaml(&objects), &values);
    Ok(ExitStatus::Ready)
}

fn objects(
    configuration: &Configuration,
    (id, environment): (&ComponentId, Option<&EnvironmentId>),
    image: &ImageReference,
) -> Result<Vec<Object>, Failure> {
    let entry = component(configuration, id)?;
    let plan = configuration.plan(id);
    let stages = plan.into_iter().flat_map(|plan| plan.stages);
    let stage = stages
        .into_iter()
        .find(|stage| environment.is_none_or(|environment| stage.environment.id == *environment));
    let known = configuration.environments.iter().map(|known| &known.id);
    let stage = stage.ok_or_else(|| match environment {
        Some(environment) => Failure::missing(("environment", environment), known),
        None => Failure::refused("the configuration has no environment"),
    })?;
    let plane = configuration
        .data_planes
        .iter()
        .find(|plane| plane.data_plane.id == stage.data_plane.id)
        .ok_or_else(|| Failure::refused("the data plane of the environment does not exist"))?;
    let registry = configuration
        .registry(&entry.component.registry)
        .ok_or_else(|| Failure::refused("the component's registry does not exist"))?;
    let image = registry.host.canonical_image(image).ok_or_else(|| {
        let (image, host) = (image.as_str(), &registry.host);
        Failure::refused(format!(
            "image {image:?} is not in the component's registry {host}"
        ))
    })?;
    let release = release(entry.component.key(), entry.workload.clone(), image);
    let target = entry.component.target(stage.environment.id.clone());
    let secret = pull_secret(registry)?;
    let intent = Intent::new(&target, Generation::new(0, 1), &release)
        .with_settings(&stage.settings)
        .with_pull(pull(registry, secret.as_ref()));
    render_objects(&intent, &plane.policy)
        .map_err(|error| Failure::refused("the image cannot be rendered").caused_by(&error))
}

fn yaml(objects: &[Object]) -> String {
    let documents: Vec<String> = objects.iter().map(Object::to_yaml).collect();
    documents.join("---\n")
}

/// Shows a CI step that deploys a component.
pub(super) fn snippet(
    configuration: &Configuration,
    ci: Ci,
    id: &ComponentId,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let entry = component(configuration, id)?;
    let snippet = Snippet::new(configuration.public_url.clone(), id.clone());
    let registry = configuration.registry(&entry.component.registry);
    let example = registry.and_then(|registry| {
        format!(
            "{}/{}/{id}:1.4.0",
            registry.host, entry.component.project.id
        )
        .parse()
        .ok()
    });
    let snippet = match example {
        Some(image) => snippet.with_example_image(&image),
        None => snippet,
    };
    output.text(&snippet.render(ci));
    Ok(ExitStatus::Ready)
}

/// Returns the release that a deployment would create, except for its number and the digest of a tag.
fn release(component: ComponentKey, workload: Workload, image: ImageReference) -> Release {
    let digest = image.digest().map(DigestRef::to_owned);
    let image = ReleaseImage::unpinned(image);
    let image = match digest {
        Some(digest) => image.pinned(DigestPin::new(digest, Pinning::Claimed)),
        None => image,
    };
    let draft = ReleaseDraft::new(workload, image);
    Release::new(
        component,
        ReleaseNumber::FIRST,
        draft,
        Timestamp::UNIX_EPOCH,
    )
}

/// Returns a pull secret of the right form. Its values are redacted, so they are placeholders.
fn pull_secret(registry: &RegistryEntry) -> Result<Option<PullSecret>, Failure> {
    if !matches!(registry.login, Login::Basic { .. } | Login::DockerConfig(_)) {
        return Ok(None);
    }
    let credential = Credential::new("redacted", "redacted").map_err(|error| {
        Failure::refused("the placeholder credential is not valid").caused_by(&error)
    })?;
    Ok(Some(PullSecret::new(&registry.host, &credential)))
}

fn pull<'a>(registry: &'a RegistryEntry, secret: Option<&'a PullSecret>) -> Pull<'a> {
    match (&registry.login, secret) {
        (Login::ExistingSecret(name), _) => Pull::Existing(name),
        (_, Some(secret)) => Pull::Secret(secret),
        (_, None) if registry.authentication_type == AuthenticationType::Vendor => {
            Pull::NodeIdentity
        }
        (_, None) => Pull::Anonymous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = r#"
        [sealing]
        key = { id = "1", env = "CHOREO_TEST_NEVER_SET" }
        [[registries]]
        id = "images"
        host = "registry.example.com"
        authentication = "basic"
        username = "ada"
        password = { env = "CHOREO_TEST_NEVER_SET" }
        [[data_planes]]
        id = "local"
        backend = "kubernetes"
        kubeconfig = "missing"
        [[environments]]
        id = "development"
        data_plane = "local"
        [[components]]
        id = "orders"
        project = "shop"
        type = "service"
        registry = "images"
        workload = { endpoints = [{ name = "http", port = 8080, protocol = "http" }] }
    "#;

    fn configuration() -> Configuration {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control-plane.toml");
        std::fs::write(&path, CONFIGURATION).unwrap();
        Configuration::read(&path).unwrap()
    }

    #[test]
    fn a_component_is_rendered_without_its_secrets() {
        let image = "registry.example.com/shop/orders:1.4".parse().unwrap();
        let objects = objects(&configuration(), (&"orders".parse().unwrap(), None), &image);
        let objects = objects.unwrap();
        let kinds: Vec<_> = objects.iter().map(Object::kind).collect();
        for kind in ["ServiceAccount", "Secret", "Service", "Deployment"] {
            assert!(kinds.contains(&kind), "{kind} is not among {kinds:?}");
        }
        let yaml = yaml(&objects);
        assert!(
            yaml.contains("image: \"registry.example.com/shop/orders:1.4\"\n"),
            "{yaml}"
        );
        assert!(yaml.contains("\nkind: Deployment\n"), "{yaml}");
        let secret = yaml
            .split("---\n")
            .find(|object| object.contains("\nkind: Secret\n"));
        let secret = secret.expect("there is a pull secret");
        assert!(
            secret.contains(
                "\".dockerconfigjson\": \"<redacted>\"
"
            ),
            "{secret}"
        );
    }

    #[test]
    fn an_image_of_another_registry_is_refused() {
        let image = "ghcr.io/shop/orders:1.4".parse().unwrap();
        let refused = objects(&configuration(), (&"orders".parse().unwrap(), None), &image);
        let refused = refused.unwrap_err();
        assert_eq!(refused.status(), ExitStatus::Refused);
        assert_eq!(
            refused.to_string(),
            "image \"ghcr.io/shop/orders:1.4\" is not in the component's registry \
             registry.example.com"
        );
    }
}
