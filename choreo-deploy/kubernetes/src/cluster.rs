//! The requests to the API server. No other module sends any, except `log` and `dated`.
//!
//! Objects are JSON, so this crate does not depend on the types of one Kubernetes version. Each
//! write names what it was decided on: the object's uid and resource version, or its absence.

use bytes::Bytes;
use choreo_deploy::Target;
use choreo_deploy::backend::{BackendError, BackendErrorKind};
use choreo_deploy::reason::Evidence;
use jiff::Timestamp;
use kube::Api;
use kube::api::{
    DeleteParams, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams, PostParams,
    Preconditions,
};
use kube::client::Body;
use kube::core::{Request, Status};
use serde_json::{Value, json};

use crate::error;
use crate::kind::{Kind, ObjectId};
use crate::labels;
use crate::manifest::Object;
use crate::sent::Sent;
use crate::stamp::{Rank, Stamp};
use crate::timestamp::time;

/// The only field manager. It has no version, so that a field that is omitted later is removed
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).
pub(crate) const FIELD_MANAGER: &str = "choreo";
/// The field manager of replaced lists that conflict with fields of other writers. It stays listed
/// until the object is applied again.
const TAKE_OVER: &str = "choreo-take-over";
/// The resource version of the empty store. No object has it, so an apply with it creates an object
/// or conflicts, and never changes one.
const NEVER: &str = "1";

/// The number of objects in one answer.
const PAGE: u32 = 500;

/// Sends the requests of one operation in one namespace.
#[derive(Clone)]
pub(crate) struct Cluster<'a> {
    pub(crate) client: &'a kube::Client,
    pub(crate) namespace: &'a str,
    pub(crate) operation: &'static str,
}

/// The result of a write.
#[derive(Debug)]
pub(crate) enum Written {
    Done(Live),
    /// The write was decided on a state that has changed.
    Conflict,
}

impl Cluster<'_> {
    pub(crate) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let client = self.client.clone();
        match kind {
            Kind::Namespace => Api::all_with(client, &kind.resource()),
            _ => Api::namespaced_with(client, self.namespace, &kind.resource()),
        }
    }

    /// Reads an object; of a Secret only the metadata.
    pub(crate) async fn get(&self, id: &ObjectId) -> Result<Option<Live>, BackendError> {
        if id.kind != Kind::Secret {
            let found = self.api(id.kind).get_opt(&id.name).await;
            let found = found.map_err(|e| self.error(&e))?;
            return found.map(|object| self.live(&object)).transpose();
        }
        let found = self.api(id.kind).get_metadata_opt(&id.name).await;
        let found = found.map_err(|e| self.error(&e))?;
        found
            .map(|found| self.live(&of_metadata(found)))
            .transpose()
    }

    /// Returns all objects of a kind with these labels, from all pages.
    pub(crate) async fn list(&self, kind: Kind, labels: &str) -> Result<Vec<Live>, BackendError> {
        let api = self.api(kind);
        let mut found = Vec::new();
        let mut page = ListParams::default().labels(labels).limit(PAGE);
        loop {
            let list = api.list(&page).await.map_err(|e| self.error(&e))?;
            for object in &list.items {
                found.push(self.live(object)?);
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    /// Applies an object over the one that was read, or creates it if none was.
    pub(crate) async fn apply(
        &self,
        id: &ObjectId,
        mut object: Sent,
        over: Option<&Live>,
    ) -> Result<Written, BackendError> {
        if let Some(live) = over.filter(|live| live.is_taken_over()) {
            return self.apply_alone(id, object, live).await;
        }
        let metadata = &mut object.json["metadata"];
        metadata["resourceVersion"] = over.map_or(NEVER, Live::resource_version).into();
        if let Some(live) = over {
            metadata["uid"] = live.uid().into();
        }
        let sent = self.send(id, &object).await;
        match (sent, over) {
            (Err(kube::Error::Api(status)), Some(live)) if is_of_fields(&status, &object.json) => {
                self.take_over(id, object, live).await
            }
            (sent, _) => self.written(id, sent),
        }
    }

    /// Applies an object whose fields conflict with fields of other writers: `kubectl set env`
    /// leaves a value beside our reference, and a plain apply keeps both. So the lists are replaced
    /// first.
    async fn take_over(
        &self,
        id: &ObjectId,
        object: Sent,
        live: &Live,
    ) -> Result<Written, BackendError> {
        match self.merge_over(id, fields(&object.json), live).await? {
            Written::Done(replaced) => self.apply_alone(id, object, &replaced).await,
            Written::Conflict => Ok(Written::Conflict),
        }
    }

    /// Applies an object as its only writer. Other listed managers, including the one of replaced
    /// lists, would keep fields that we omit later. If this is interrupted, the next apply repeats
    /// it.
    async fn apply_alone(
        &self,
        id: &ObjectId,
        mut object: Sent,
        live: &Live,
    ) -> Result<Written, BackendError> {
        let mut managers = live.managers().to_vec();
        managers.retain(|entry| {
            let is_ours = entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply";
            is_ours || entry["subresource"].is_string()
        });
        let change = json!({ "metadata": { "managedFields": managers } });
        let Written::Done(alone) = self.merge(id, change, live).await? else {
            return Ok(Written::Conflict);
        };
        object.json["metadata"]["resourceVersion"] = alone.resource_version().into();
        object.json["metadata"]["uid"] = alone.uid().into();
        let sent = self.send(id, &object).await;
        self.written(id, sent)
    }

    /// Sends an apply request.
    async fn send(&self, id: &ObjectId, object: &Sent) -> Result<DynamicObject, kube::Error> {
        if object.data().is_none() {
            let patch = Patch::Apply(&object.json);
            return self.patch(id, &applied(), &patch).await;
        }
        let path = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        let patch = Patch::Apply(&object.json);
        let request = Request::new(path).patch_metadata(&id.name, &applied(), &patch);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let body = object.body().map_err(kube::Error::SerdeError)?;
        let request = request.map(|_| Body::from(Bytes::from_owner(body)));
        let response = self.client.send(request).await?;
        let status = response.status();
        let answer = response.into_body().collect_bytes().await?;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(kube::Error::SerdeError);
        }
        let refused = serde_json::from_slice(&answer).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&answer);
            Status::failure(&text, "no JSON").with_code(status.as_u16())
        });
        Err(kube::Error::Api(refused.boxed()))
    }

    async fn patch(
        &self,
        id: &ObjectId,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<DynamicObject, kube::Error> {
        let api = self.api(id.kind);
        if id.kind == Kind::Secret {
            let answer = api.patch_metadata(&id.name, params, patch).await;
            return answer.map(of_metadata);
        }
        api.patch(&id.name, params, patch).await
    }

    /// Validates an object on the API server without writing it.
    pub(crate) async fn dry_run(&self, id: &ObjectId, object: &Object) -> Result<(), BackendError> {
        let json = object.manifest();
        let params = applied().dry_run();
        let sent = self.patch(id, &params, &Patch::Apply(json)).await;
        let sent = match sent {
            Err(kube::Error::Api(status)) if is_of_fields(&status, json) => {
                let params = merged(TAKE_OVER).dry_run();
                self.patch(id, &params, &Patch::Merge(&fields(json))).await
            }
            sent => sent,
        };
        match sent {
            Err(e) if error::is_conflict(&e) => Ok(()),
            Err(e) => Err(self.error(&e)),
            Ok(_) => Ok(()),
        }
    }

    /// Changes some fields of the object that was read.
    pub(crate) async fn merge(
        &self,
        id: &ObjectId,
        change: Value,
        over: &Live,
    ) -> Result<Written, BackendError> {
        self.merge_as(FIELD_MANAGER, id, (change, over)).await
    }

    /// The same for fields that the next apply may omit: a manager that merges a field owns it
    /// beside the manager that applied it, and would keep it.
    pub(crate) async fn merge_over(
        &self,
        id: &ObjectId,
        change: Value,
        over: &Live,
    ) -> Result<Written, BackendError> {
        self.merge_as(TAKE_OVER, id, (change, over)).await
    }

    async fn merge_as(
        &self,
        manager: &str,
        id: &ObjectId,
        (mut change, over): (Value, &Live),
    ) -> Result<Written, BackendError> {
        change["metadata"]["resourceVersion"] = over.resource_version().into();
        change["metadata"]["uid"] = over.uid().into();
        let params = merged(manager);
        let sent = self.patch(id, &params, &Patch::Merge(&change)).await;
        self.written(id, sent)
    }

    /// Creates an object that must not exist.
    pub(crate) async fn create(
        &self,
        id: &ObjectId,
        json: &Value,
    ) -> Result<Written, BackendError> {
        let object = self.dynamic(json)?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let sent = self.api(id.kind).create(&params, &object).await;
        self.written(id, sent)
    }

    /// Replaces the object that was read. The JSON contains its resource version.
    pub(crate) async fn replace(
        &self,
        id: &ObjectId,
        json: &Value,
    ) -> Result<Written, BackendError> {
        let object = self.dynamic(json)?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let sent = self.api(id.kind).replace(&id.name, &params, &object).await;
        self.written(id, sent)
    }

    /// Deletes the object that was read, and the objects that it owns; returns `false` if it has
    /// changed since.
    pub(crate) async fn delete(&self, id: &ObjectId, live: &Live) -> Result<bool, BackendError> {
        let unchanged = Preconditions {
            resource_version: Some(live.resource_version().to_owned()),
            uid: Some(live.uid().to_owned()),
        };
        self.delete_if(id, unchanged).await
    }

    /// Deletes an object that is never rewritten, whatever has changed in it: the Job of a run.
    pub(crate) async fn delete_uid(&self, id: &ObjectId, uid: &str) -> Result<bool, BackendError> {
        let same = Preconditions {
            resource_version: None,
            uid: Some(uid.to_owned()),
        };
        self.delete_if(id, same).await
    }

    /// Deletes in the background, because the API's default for Jobs leaves their pods running.
    async fn delete_if(
        &self,
        id: &ObjectId,
        preconditions: Preconditions,
    ) -> Result<bool, BackendError> {
        let params = DeleteParams::background().preconditions(preconditions);
        match self.api(id.kind).delete(&id.name, &params).await {
            Ok(_) => Ok(true),
            Err(e) if error::is_not_found(&e) => Ok(true),
            Err(e) if error::is_conflict(&e) => Ok(false),
            Err(e) => Err(self.error(&e)),
        }
    }

    fn written(
        &self,
        id: &ObjectId,
        sent: Result<DynamicObject, kube::Error>,
    ) -> Result<Written, BackendError> {
        match sent {
            Ok(object) => self.live(&object).map(Written::Done),
            Err(e) if error::is_conflict(&e) => Ok(Written::Conflict),
            Err(kube::Error::Api(status)) if id.kind == Kind::Secret && status.code == 422 => {
                // The message of a validation contains values.
                let message = format!("the API server rejected {id} as invalid");
                Err(self.failed(BackendErrorKind::Refused, message))
            }
            Err(e) => Err(self.error(&e)),
        }
    }

    pub(crate) fn error(&self, error: &kube::Error) -> BackendError {
        error::from_kube(self.operation, error)
    }

    pub(crate) fn failed(
        &self,
        kind: BackendErrorKind,
        message: impl Into<String>,
    ) -> BackendError {
        BackendError::new(kind, self.operation, message)
    }

    pub(crate) fn stale(&self, stamp: Stamp, newer: Stamp) -> BackendError {
        let older = stamp.generation;
        let message = if older < newer.generation {
            let newer = newer.generation;
            format!("generation {older} is older than {newer}, which is applied")
        } else if newer.rank == Rank::TakenBack {
            format!("generation {older} was taken back")
        } else {
            format!("generation {older} is applied by digest already")
        };
        self.failed(BackendErrorKind::Stale, message)
    }

    fn live(&self, object: &DynamicObject) -> Result<Live, BackendError> {
        serde_json::to_value(object)
            .map(Live)
            .map_err(|_| self.unreadable("an object"))
    }

    fn dynamic(&self, json: &Value) -> Result<DynamicObject, BackendError> {
        serde_json::from_value(json.clone()).map_err(|_| self.unreadable("a rendered object"))
    }

    pub(crate) fn unreadable(&self, what: &str) -> BackendError {
        self.failed(BackendErrorKind::Internal, format!("{what} cannot be read"))
    }
}

/// An object as the API server returned it.
#[derive(Clone, Debug)]
pub(crate) struct Live(pub(crate) Value);

impl Live {
    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub(crate) fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    pub(crate) fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.0.pointer("/metadata/deletionTimestamp").is_some()
    }

    /// Returns the text at a JSON pointer; empty if there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Returns the number at a JSON pointer.
    pub(crate) fn number(&self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer).and_then(Value::as_i64)
    }

    /// Returns the list at a JSON pointer; empty if there is none.
    pub(crate) fn items(&self, pointer: &str) -> &[Value] {
        self.0
            .pointer(pointer)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.0.pointer("/metadata/annotations")?.get(key)?.as_str()
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.0.pointer("/metadata/labels")?.get(key)?.as_str()
    }

    /// Returns the stamp; `None` if another writer created the object.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.annotation(labels::GENERATION)?.parse().ok()
    }

    /// Returns the managers of its fields:
    /// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>.
    fn managers(&self) -> &[Value] {
        self.items("/metadata/managedFields")
    }

    /// Returns the time of this backend's last write, by the API server's clock.
    pub(crate) fn written_at(&self) -> Option<Timestamp> {
        let is_ours = |entry: &&Value| {
            entry["manager"] == FIELD_MANAGER && entry.get("subresource").is_none()
        };
        let entries = self.managers().iter().filter(is_ours);
        entries
            .filter_map(|entry| entry["time"].as_str().and_then(time))
            .max()
    }

    fn is_taken_over(&self) -> bool {
        self.managers()
            .iter()
            .any(|entry| entry["manager"] == TAKE_OVER)
    }

    /// Returns `true` if the object is reserved and has no effect yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.annotation(labels::PENDING).is_some()
    }

    /// Returns `true` if it has all four ids of the target.
    pub(crate) fn belongs_to(&self, target: &Target) -> bool {
        labels::identity(target)
            .iter()
            .all(|(key, value)| self.label(key) == Some(value))
    }

    /// Returns the condition of a type.
    pub(crate) fn condition(&self, condition_type: &str) -> Option<&Value> {
        self.items("/status/conditions")
            .iter()
            .find(|condition| condition["type"] == condition_type)
    }
}

fn applied() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER)
        .force()
        .validation_strict()
}

fn merged(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    }
}

/// Returns an object that contains only the metadata.
fn of_metadata(partial: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject {
        types: partial.types,
        metadata: partial.metadata,
        data: json!({}),
    }
}

/// Returns `true` if fields of other writers may be the reason of a rejection as invalid.
fn is_of_fields(status: &Status, json: &Value) -> bool {
    status.code == 422 && json["spec"].is_object()
}

/// Returns the content of an object without its type, as a change of another object.
fn fields(json: &Value) -> Value {
    json!({
        "metadata": { "labels": json["metadata"]["labels"], "annotations": json["metadata"]["annotations"] },
        "spec": json["spec"],
    })
}

/// Returns the redacted message of a condition or a state.
pub(crate) fn evidence(of: &Value) -> Option<Evidence> {
    of["message"]
        .as_str()
        .filter(|text| !text.is_empty())
        .map(Evidence::from_untrusted)
}

/// Returns a stamp's annotation as a change.
pub(crate) fn stamp_change(stamp: Stamp) -> Value {
    json!({ "metadata": { "annotations": { labels::GENERATION: stamp.to_string() } } })
}
