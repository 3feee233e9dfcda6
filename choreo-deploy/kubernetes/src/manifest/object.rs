use std::fmt;

use serde_json::Value;

use super::yaml;
use crate::kind::{Kind, ObjectId};

/// One Kubernetes object as it is applied.
///
/// A Secret's object holds the secret, so this is neither `Serialize` nor shown by `Debug`:
/// [`redacted`](Self::redacted) and [`to_yaml`](Self::to_yaml) are for people,
/// [`expose_manifest`](Self::expose_manifest) is for the API server.
#[derive(Clone)]
pub struct Object {
    id: ObjectId,
    namespace: Option<String>,
    json: Value,
}

impl Object {
    pub(crate) fn new(kind: Kind, name: &str, namespace: Option<&str>, json: Value) -> Self {
        let id = ObjectId::new(kind, name);
        Self {
            id,
            namespace: namespace.map(str::to_owned),
            json,
        }
    }

    /// The object of a manifest that was rendered before; `None` when it is none.
    pub(crate) fn of_manifest(json: &Value) -> Option<Self> {
        let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
        let id = format!("{}/{}", text("/kind")?, text("/metadata/name")?);
        Some(Self {
            id: id.parse().ok()?,
            namespace: text("/metadata/namespace").map(str::to_owned),
            json: json.clone(),
        })
    }

    /// Group and version, such as `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> &'static str {
        self.id.kind.api_version()
    }

    /// The kind, such as `Deployment`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.id.kind.as_str()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.id.name
    }

    /// The namespace; `None` for a namespace itself.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The whole object, secrets included.
    #[must_use]
    pub fn expose_manifest(&self) -> &Value {
        &self.json
    }

    /// The object with a remark in place of each value of a Secret.
    #[must_use]
    pub fn redacted(&self) -> Value {
        let mut json = self.json.clone();
        if self.id.kind == Kind::Secret
            && let Some(data) = json.get_mut("data").and_then(Value::as_object_mut)
        {
            data.values_mut()
                .for_each(|value| *value = "<redacted>".into());
        }
        json
    }

    /// The redacted object as YAML, for people.
    ///
    /// ```
    /// # use choreo_deploy::{backend::Intent, conformance::{example_release, example_target}};
    /// # use choreo_deploy_kubernetes::{Policy, render};
    /// # let (target, release) = (example_target("orders"), example_release(1));
    /// # let objects = render(&Intent::new(&target, Default::default(), &release), &Policy::default())?;
    /// assert!(objects[1].to_yaml().starts_with("apiVersion: v1\nautomountServiceAccountToken: false\n"));
    /// # Ok::<(), choreo_deploy::backend::BackendError>(())
    /// ```
    #[must_use]
    pub fn to_yaml(&self) -> String {
        yaml::write(&self.redacted())
    }

    pub(crate) fn id(&self) -> &ObjectId {
        &self.id
    }

    pub(crate) fn json_mut(&mut self) -> &mut Value {
        &mut self.json
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("id", &self.id)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
