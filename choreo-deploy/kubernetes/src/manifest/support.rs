//! The objects around a workload: namespace, ServiceAccount and pull Secret.

use std::borrow::Cow;
use std::sync::Arc;

use choreo_deploy::Target;
use choreo_deploy::backend::{BackendError, Intent, Pull};
use choreo_deploy::deployment::Generation;
use serde_json::{Value, json};

use super::object::Object;
use super::plan::{Plan, namespace_of, unsupported};
use crate::kind::Kind;
use crate::labels;
use crate::name;
use crate::policy::Policy;

pub(super) fn namespace(plan: &Plan<'_>) -> Option<Object> {
    plan.policy
        .namespaces
        .are_created()
        .then(|| namespace_object(plan.intent.target, plan.policy, &plan.namespace))
}

/// Returns the namespace with the Pod Security Standard that its pods must meet
/// (<https://kubernetes.io/docs/concepts/security/pod-security-admission/#pod-security-admission-labels-for-namespaces>).
pub(crate) fn namespace_object(target: &Target, policy: &Policy, namespace: &str) -> Object {
    let mut labels = policy.labeled(labels::namespace(target));
    for mode in ["audit", "enforce", "warn"] {
        let standard = policy.security.standard().to_owned();
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), standard);
    }
    // A later version of the standard warns, and rejects nothing before it was tested.
    let version = SECURITY_VERSION.to_owned();
    labels.insert(
        "pod-security.kubernetes.io/enforce-version".to_owned(),
        version,
    );
    let json = json!({
        "apiVersion": Kind::Namespace.api_version(),
        "kind": Kind::Namespace.as_str(),
        "metadata": { "name": namespace, "labels": labels },
    });
    Object::new(Kind::Namespace, namespace, None, json)
}

/// The newest version of the Pod Security Standards with which rendered pods were tested. An older
/// cluster uses its own.
const SECURITY_VERSION: &str = "v1.36";

/// Each component has its own, so that nothing is granted to others by accident. It has no token
/// for the API.
///
/// Pods name the pull secrets, because the list of a ServiceAccount is atomic under server-side
/// apply, and entries that an operator adds would be lost.
pub(super) fn service_account(plan: &Plan<'_>) -> Object {
    let body = json!({ "automountServiceAccountToken": false });
    plan.lasting(Kind::ServiceAccount, &plan.name, body)
}

/// Returns the Secret of a credential. It does not depend on the release, so that it can change
/// without one.
pub(crate) fn pull_secret(
    policy: &Policy,
    target: &Target,
    (generation, pull): (Generation, &Pull<'_>),
) -> Result<Option<Object>, BackendError> {
    let Pull::Secret(secret) = pull else {
        return Ok(None);
    };
    let name = name::pull_secret(target);
    let namespace = namespace_of(target, policy, "render")?;
    let manifest = json!({
        "apiVersion": Kind::Secret.api_version(),
        "kind": Kind::Secret.as_str(),
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": policy.labeled(labels::target(target)),
            "annotations": policy.annotated(labels::generation(generation)),
        },
        "type": "kubernetes.io/dockerconfigjson",
    });
    let object = Object::new(Kind::Secret, &name, Some(&namespace), manifest);
    Ok(Some(object.with_data(Arc::new(secret.expose_data()))))
}

/// Returns the name of the Secret that an intent's pods pull with; empty without one.
pub(crate) fn pull_secret_name<'a>(intent: &Intent<'a>) -> Cow<'a, str> {
    match intent.pull {
        Pull::Secret(_) => name::pull_secret(intent.target).into(),
        Pull::Existing(name) => name.into(),
        _ => "".into(),
    }
}

/// Returns the pull secrets that a pod names.
pub(super) fn image_pull_secrets(plan: &Plan<'_>) -> Result<Value, BackendError> {
    match plan.intent.pull {
        Pull::Anonymous
        | Pull::AsBefore
        | Pull::Existing(_)
        | Pull::NodeIdentity
        | Pull::Secret(_) => {}
        Pull::External(_) => return Err(unsupported("way of pulling (an external secret)")),
        _ => return Err(unsupported("way of pulling")),
    }
    Ok(match &*plan.pull_secret {
        "" => Value::Null,
        name => json!([{ "name": name }]),
    })
}
