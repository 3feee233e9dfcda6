//! The operator's patch, and the check of its result.

use choreo_deploy::backend::BackendError;
use serde_json::Value;

use super::object::Object;
use super::plan::{Plan, refused};
use super::pod::CONTAINER;
use crate::kind::Kind;

/// The parts of an object that identify it, its owner and its image.
const FIXED: [&str; 8] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/spec/selector",
    "/spec/scaleTargetRef",
    "/spec/template/spec/serviceAccountName",
    "/spec/jobTemplate/spec/template/spec/serviceAccountName",
];
/// Maps to which entries may be added, and whose own entries stay.
const GROWING: [&str; 5] = [
    "/metadata/labels",
    "/metadata/annotations",
    "/spec/template/metadata/labels",
    "/spec/jobTemplate/metadata/labels",
    "/spec/jobTemplate/spec/template/metadata/labels",
];
const CONTAINERS: [&str; 2] = [
    "/spec/template/spec/containers",
    "/spec/jobTemplate/spec/template/spec/containers",
];

/// Applies the operator's patch, if there is one.
pub(super) fn patched(
    mut objects: Vec<Object>,
    plan: &Plan<'_>,
) -> Result<Vec<Object>, BackendError> {
    let Some(patch) = &plan.policy.patch else {
        return Ok(objects);
    };
    let seen = |object: &&mut Object| object.id().kind != Kind::Secret;
    let before: Vec<Value> = objects
        .iter_mut()
        .filter(seen)
        .map(|object| object.json_mut().clone())
        .collect();
    let mut after = before.clone();
    patch.call(plan.intent.release, &mut after);
    if after.len() != before.len() {
        return Err(refused(format!(
            "the operator's patch returns {} objects instead of {}: do not add or remove objects",
            after.len(),
            before.len()
        )));
    }
    for ((object, before), after) in objects.iter_mut().filter(seen).zip(&before).zip(after) {
        if let Some(part) = broken(before, &after) {
            return Err(refused(format!(
                "the operator's patch changes {part:?} of {}: leave this part unchanged",
                object.id()
            )));
        }
        *object.json_mut() = after;
    }
    Ok(objects)
}

fn broken(before: &Value, after: &Value) -> Option<&'static str> {
    let fixed = FIXED
        .iter()
        .find(|part| before.pointer(part) != after.pointer(part));
    let growing = GROWING.iter().find(|part| {
        let entries = before
            .pointer(part)
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let after = after.pointer(part);
        entries
            .into_iter()
            .any(|(key, value)| after.and_then(|map| map.get(key)) != Some(value))
    });
    let image = CONTAINERS
        .iter()
        .find(|part| image(before, part) != image(after, part));
    fixed.or(growing).or(image).copied()
}

fn image<'a>(object: &'a Value, containers: &str) -> Option<&'a Value> {
    let containers = object.pointer(containers)?.as_array()?;
    containers
        .iter()
        .find(|container| container["name"] == CONTAINER)?
        .get("image")
}
