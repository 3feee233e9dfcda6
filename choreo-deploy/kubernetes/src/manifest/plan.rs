//! The plan: the values that all parts of the rendering need.

use std::borrow::Cow;

use choreo_deploy::backend::{BackendError, BackendErrorKind, Intent};
use choreo_deploy::workload::{Workload, too_large};
use serde_json::{Value, json};

use super::object::Object;
use super::support;
use crate::kind::{Kind, ObjectId};
use crate::labels::{self, Map};
use crate::name;
use crate::policy::Policy;

/// The values that all parts of the rendering need.
pub(crate) struct Plan<'a> {
    pub(crate) intent: &'a Intent<'a>,
    pub(crate) policy: &'a Policy,
    pub(crate) workload: Cow<'a, Workload>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The Secret that pods pull with; empty without one.
    pub(super) pull_secret: Cow<'a, str>,
}

impl<'a> Plan<'a> {
    /// Plans an intent that contains how its image is pulled.
    pub(crate) fn new(intent: &'a Intent<'a>, policy: &'a Policy) -> Result<Self, BackendError> {
        intent.pull.unless_as_before("render")?;
        let pull_secret = support::pull_secret_name(intent);
        Self::pulled_with(intent, policy, pull_secret)
    }

    /// Plans an intent whose pods pull with this Secret; with none if the name is empty.
    pub(super) fn pulled_with(
        intent: &'a Intent<'a>,
        policy: &'a Policy,
        pull_secret: Cow<'a, str>,
    ) -> Result<Self, BackendError> {
        let version = intent.release.render_version;
        if version != 1 {
            return Err(refused(format!(
                "release {} has render version {version}, and this backend supports version 1: upgrade the backend, or deploy the image again",
                intent.release.number
            )));
        }
        let workload = intent.settings.applied_to(&intent.release.workload);
        if let Some(message) = too_large(&workload) {
            return Err(refused(message));
        }
        Ok(Self {
            intent,
            policy,
            workload,
            namespace: namespace_of(intent.target, policy, "render")?,
            name: name::object(intent.target),
            pull_secret,
        })
    }

    /// Returns an object that the release shapes.
    pub(super) fn released(&self, kind: Kind, body: Value) -> Object {
        let labels = labels::release(self.intent.target, self.intent.release);
        let annotations = labels::release_annotations(self.intent.generation, self.intent.release);
        self.object(
            &ObjectId::new(kind, self.name.clone()),
            (labels, annotations),
            body,
        )
    }

    /// Returns an object that does not depend on the release.
    pub(super) fn lasting(&self, kind: Kind, name: &str, body: Value) -> Object {
        let labels = labels::target(self.intent.target);
        self.object(
            &ObjectId::new(kind, name),
            (labels, labels::generation(self.intent.generation)),
            body,
        )
    }

    fn object(&self, id: &ObjectId, meta: (Map, Map), mut body: Value) -> Object {
        let ObjectId { kind, name } = id;
        body["apiVersion"] = kind.api_version().into();
        body["kind"] = kind.as_str().into();
        body["metadata"] = json!({
            "name": name,
            "namespace": self.namespace,
            "labels": self.policy.labeled(meta.0),
            "annotations": self.policy.annotated(meta.1),
        });
        Object::new(*kind, name, Some(&self.namespace), body)
    }
}

impl Policy {
    /// Our labels take precedence: an operator's label cannot remove a pod from its Service.
    pub(crate) fn labeled(&self, ours: Map) -> Map {
        self.labels.clone().into_iter().chain(ours).collect()
    }

    pub(crate) fn annotated(&self, ours: Map) -> Map {
        self.annotations.clone().into_iter().chain(ours).collect()
    }
}

/// Returns the namespace of a target by the policy.
pub(crate) fn namespace_of(
    target: &choreo_deploy::Target,
    policy: &Policy,
    operation: &'static str,
) -> Result<String, BackendError> {
    let namespace = policy.namespaces.of(target).ok_or_else(|| {
        let message = format!(
            "environment {:?} has no namespace on this data plane: add one to the policy",
            target.environment.as_str()
        );
        BackendError::new(BackendErrorKind::Refused, operation, message)
    })?;
    // The name becomes a part of a URL, so other characters are rejected here.
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if namespace.is_empty() || namespace.len() > 63 || !namespace.bytes().all(fits) {
        let shown: String = namespace.chars().take(64).collect();
        let message = format!("namespace {shown:?} is not valid: use a-z, 0-9 and '-', at most 63");
        return Err(BackendError::new(
            BackendErrorKind::Refused,
            operation,
            message,
        ));
    }
    Ok(namespace)
}

pub(super) fn refused(message: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Refused, "render", message)
}

/// Returns the error for a value of a newer choreo-deploy that this crate does not know.
pub(super) fn unsupported(what: &str) -> BackendError {
    let message =
        format!("the Kubernetes backend does not support this {what}: upgrade the backend");
    BackendError::new(BackendErrorKind::Unsupported, "render", message)
}

/// Removes members that are `null`, because server-side apply owns a field that is sent, even if it
/// is empty.
pub(super) fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
        for value in fields.values_mut() {
            *value = without_nulls(value.take());
        }
    }
    value
}
