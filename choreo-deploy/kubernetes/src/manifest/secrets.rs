//! The check that pods name no pull secret of a target.

use choreo_deploy::backend::{BackendError, Pull, is_pull_secret};
use serde_json::Value;

use super::object::Object;
use super::plan::{Plan, refused};
use crate::kind::Kind;
use crate::name;

/// Rejects objects that name a pull secret, except their own in `imagePullSecrets`. It checks the
/// objects as they are sent, whatever named the Secret: variables, files, the registration or the
/// operator's patch.
pub(super) fn checked(objects: Vec<Object>, plan: &Plan<'_>) -> Result<Vec<Object>, BackendError> {
    let own = match plan.intent.pull {
        Pull::Secret(_) | Pull::AsBefore => Some(name::pull_secret(plan.intent.target)),
        _ => None,
    };
    let sent = objects
        .iter()
        .filter(|object| object.id().kind != Kind::Secret);
    for object in sent {
        if let Some(name) = named(object.manifest(), "", own.as_deref()) {
            return Err(refused(format!(
                "{} names the pull secret {name:?}, which no component may read: make a Secret of \
                 another name",
                object.id()
            )));
        }
    }
    Ok(objects)
}

/// Returns the first pull secret that is named below a member. Members that name Secrets have
/// "secret" in their own name or in that of their parent: `secretKeyRef`, `secretRef`,
/// `secretName`, `imagePullSecrets`, `projected.sources[].secret`, `nodePublishSecretRef`.
fn named<'a>(value: &'a Value, within: &str, own: Option<&str>) -> Option<&'a str> {
    match value {
        Value::Array(values) => values.iter().find_map(|value| named(value, within, own)),
        Value::Object(members) => members.iter().find_map(|(member, value)| {
            let is_of_secret = of_secret(member) || of_secret(within);
            let is_own = |name| within == "imagePullSecrets" && Some(name) == own;
            match value.as_str() {
                Some(name) => {
                    (is_of_secret && is_pull_secret(name) && !is_own(name)).then_some(name)
                }
                None => named(value, member, own),
            }
        }),
        _ => None,
    }
}

fn of_secret(member: &str) -> bool {
    member.to_ascii_lowercase().contains("secret")
}
