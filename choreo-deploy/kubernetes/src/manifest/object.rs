use std::fmt;

use serde_json::{Value, json};

use super::yaml;
use crate::kind::{Kind, ObjectId};
use crate::sent::{SecretData, Sent};

/// One Kubernetes object as it is applied.
///
/// The object of a Secret contains its data, so this type does not implement `Serialize`, and
/// `Debug` does not show it: [`redacted`](Self::redacted) and [`to_yaml`](Self::to_yaml) are for
/// people, [`expose_manifest`](Self::expose_manifest) is for the API server.
#[derive(Clone)]
pub struct Object {
    id: ObjectId,
    namespace: Option<String>,
    /// Without the data of a Secret.
    json: Value,
    data: Option<SecretData>,
}

impl Object {
    pub(crate) fn new(kind: Kind, name: &str, namespace: Option<&str>, json: Value) -> Self {
        let id = ObjectId::new(kind, name);
        Self {
            id,
            namespace: namespace.map(str::to_owned),
            json,
            data: None,
        }
    }

    /// Adds the data of a Secret.
    pub(super) fn with_data(self, data: SecretData) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    /// Returns the object of a rendered manifest; `None` if the manifest is not valid.
    pub(crate) fn of_manifest(json: &Value) -> Option<Self> {
        let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
        let id = format!("{}/{}", text("/kind")?, text("/metadata/name")?);
        Some(Self {
            id: id.parse().ok()?,
            namespace: text("/metadata/namespace").map(str::to_owned),
            json: json.clone(),
            data: None,
        })
    }

    /// Returns the group and version, such as `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> &'static str {
        self.id.kind.api_version()
    }

    /// Returns the kind, such as `Deployment`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.id.kind.as_str()
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.id.name
    }

    /// Returns the namespace; `None` for a namespace itself.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Returns the whole object, including the data of a Secret. The value is in ordinary memory: drop
    /// it soon.
    #[must_use]
    pub fn expose_manifest(&self) -> Value {
        self.with_shown_data(self.data.as_ref().map(|data| data.as_str()))
    }

    /// Returns the object with a remark in place of the data of a Secret.
    #[must_use]
    pub fn redacted(&self) -> Value {
        self.with_shown_data(self.data.as_ref().map(|_| "<redacted>"))
    }

    fn with_shown_data(&self, data: Option<&str>) -> Value {
        let mut json = self.json.clone();
        if let Some(data) = data {
            json["data"] = json!({ ".dockerconfigjson": data });
        }
        json
    }

    /// Returns the redacted object as YAML, to show to people.
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

    /// Returns the manifest, without the data of a Secret.
    pub(crate) fn manifest(&self) -> &Value {
        &self.json
    }

    /// Returns the object as it is sent to the API server.
    pub(crate) fn sent(&self) -> Sent {
        Sent::new(self.json.clone(), self.data.clone())
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
