//! Labels and annotations.
//!
//! Labels identify the owner of an object; ids are valid label values. Values that change with a
//! release are annotations, and are never on a pod: a changed label in the template restarts every
//! pod. The recommended labels are
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>.

use std::collections::BTreeMap;

use choreo_deploy::Target;
use choreo_deploy::deployment::Generation;
use choreo_deploy::release::Release;
use choreo_deploy::workload::ComponentType;

use crate::name;

pub(crate) type Map = BTreeMap<String, String>;

/// The generation that an object was written for.
pub(crate) const GENERATION: &str = "choreo.dev/generation";
/// The release that an object was written for.
pub(crate) const RELEASE: &str = "choreo.dev/release";
/// Marks an object that is reserved and has no effect yet.
pub(crate) const PENDING: &str = "choreo.dev/pending";
/// Marks the Job of a run that was stopped.
pub(crate) const CANCELLED: &str = "choreo.dev/cancelled";
/// The run that a Job and its pod belong to.
pub(crate) const RUN: &str = "choreo.dev/run";
/// The role of a target's pods; see the constants below.
pub(crate) const ROLE: &str = "choreo.dev/role";
/// Pods that a Service sends traffic to.
pub(crate) const ROLE_SERVER: &str = "server";
/// Pods that a CronJob started.
pub(crate) const ROLE_SCHEDULE: &str = "schedule";
/// Pods of a run.
pub(crate) const ROLE_RUN: &str = "run";

pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
const ORGANIZATION: &str = "choreo.dev/organization";
const PROJECT: &str = "choreo.dev/project";
const COMPONENT: &str = "choreo.dev/component";
const ENVIRONMENT: &str = "choreo.dev/environment";

/// Returns the labels or annotations of every object of a target.
pub(crate) fn target(target: &Target) -> Map {
    let mut labels = map([
        ("app.kubernetes.io/name", target.component.as_str()),
        (INSTANCE, &name::object(target)),
        ("app.kubernetes.io/part-of", target.project.as_str()),
        ("app.kubernetes.io/managed-by", "choreo"),
    ]);
    labels.extend(identity(target));
    labels
}

/// Returns the labels that identify the owner of an object. Other tools set the recommended labels
/// too, so those identify nothing.
pub(crate) fn identity(target: &Target) -> Map {
    map([
        (ORGANIZATION, target.organization.as_str()),
        (PROJECT, target.project.as_str()),
        (COMPONENT, target.component.as_str()),
        (ENVIRONMENT, target.environment.as_str()),
    ])
}

/// Returns the labels of a namespace that was created for an environment of a project.
pub(crate) fn namespace(target: &Target) -> Map {
    let mut labels = namespace_identity(target);
    labels.extend(map([("app.kubernetes.io/managed-by", "choreo")]));
    labels
}

/// Returns the labels that identify the owner of a namespace.
pub(crate) fn namespace_identity(target: &Target) -> Map {
    map([
        (ORGANIZATION, target.organization.as_str()),
        (PROJECT, target.project.as_str()),
        (ENVIRONMENT, target.environment.as_str()),
    ])
}

/// Returns the labels that distinguish the pods of one role of one target from all others. They
/// never change, because the selector of a Kubernetes Deployment is immutable.
pub(crate) fn selector(target: &Target, role: &str) -> Map {
    map([(INSTANCE, name::object(target).as_str()), (ROLE, role)])
}

/// Returns the labels of a target's pods.
pub(crate) fn pod(of: &Target, component_type: ComponentType, role: &str) -> Map {
    let mut labels = target(of);
    labels.insert(
        "app.kubernetes.io/component".to_owned(),
        type_label(component_type).to_owned(),
    );
    labels.insert(ROLE.to_owned(), role.to_owned());
    labels
}

/// Returns the labels or annotations of the objects that a release shapes.
pub(crate) fn release(of: &Target, release: &Release) -> Map {
    let mut labels = target(of);
    let component_type = type_label(release.workload.component_type());
    labels.insert(
        "app.kubernetes.io/component".to_owned(),
        component_type.to_owned(),
    );
    if let Some(tag) = release.image.requested.tag() {
        let version: String = tag.as_str().chars().take(63).collect();
        let version = version.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let version = version.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        labels.insert("app.kubernetes.io/version".to_owned(), version.to_owned());
    }
    labels
}

/// Returns the labels or annotations of every object of a target.
pub(crate) fn generation(generation: Generation) -> Map {
    map([(GENERATION, generation.to_string().as_str())])
}

/// Returns the labels or annotations of the objects that a release shapes.
pub(crate) fn release_annotations(of: Generation, release: &Release) -> Map {
    let mut annotations = generation(of);
    let mut add = |key: &str, value: String| annotations.insert(key.to_owned(), value);
    add(RELEASE, release.number.to_string());
    add("choreo.dev/image", release.image.requested.to_string());
    if let Some(pin) = &release.image.pin {
        add("choreo.dev/digest", pin.digest.to_string());
    }
    annotations
}

/// Returns the text of a label selector.
pub(crate) fn query(labels: &Map) -> String {
    labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Returns the label selector of a Job's pods.
pub(crate) fn pods_of(job: &str) -> String {
    format!("batch.kubernetes.io/job-name={job}")
}

fn type_label(component_type: ComponentType) -> &'static str {
    match component_type {
        ComponentType::Service => "service",
        ComponentType::WebApplication => "web-application",
        ComponentType::ScheduledTask => "scheduled-task",
        ComponentType::ManualTask => "manual-task",
    }
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> Map {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
