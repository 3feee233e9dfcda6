//! The judgement of one pod and its containers.

use choreo_deploy::reason::{Evidence, Reason, ReasonCode};
use choreo_registry::Digest;
use jiff::Timestamp;
use serde_json::Value;

use super::crash::{self, Ending};
use super::{Crash, Seen, creation, pull, schedulability, start};
use crate::cluster::{Live, evidence};
use crate::events::PodEvents;
use crate::manifest::CONTAINER;
use crate::timestamp::time;

/// A problem of a pod.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) reason: Reason,
    /// `true` if it lasts until something changes.
    pub(crate) is_terminal: bool,
    /// The container whose log shows more.
    pub(crate) crash: Option<Crash>,
}

impl Finding {
    pub(super) fn new(reason: Reason, is_terminal: bool) -> Self {
        Self {
            reason,
            is_terminal,
            crash: None,
        }
    }

    pub(super) fn passing(reason: Reason) -> Self {
        Self::new(reason, false)
    }
}

/// A pod and its events.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) pod: &'a Live,
    pub(super) events: PodEvents<'a>,
    /// `true` if all its restarts are of the judged generation.
    pub(super) counts_restarts: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(pod: &'a Live, seen: &'a Seen) -> Self {
        Self {
            pod,
            events: seen.events.of(pod, seen.now),
            counts_restarts: true,
        }
    }

    /// Creates a view for a generation that took over what existed at a time.
    pub(super) fn since(mut self, kept: Option<Timestamp>) -> Self {
        let came = time(self.pod.text("/metadata/creationTimestamp"));
        self.counts_restarts = kept.is_none_or(|kept| came.is_some_and(|came| came > kept));
        self
    }
}

/// A container of a pod: its specification and its status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container<'a> {
    pub(super) status: &'a Value,
    spec: Option<&'a Value>,
    is_init: bool,
}

impl<'a> Container<'a> {
    pub(super) fn name(&self) -> &'a str {
        self.status["name"].as_str().unwrap_or_default()
    }

    /// Returns its name in a sentence. A developer defines one container, and need not know its
    /// name.
    pub(super) fn called(&self) -> String {
        match (self.is_init, self.name()) {
            (false, CONTAINER) => "the container".to_owned(),
            (false, name) => format!("container {name:?}"),
            (true, name) => format!("init container {name:?}"),
        }
    }

    pub(super) fn image(&self) -> &'a str {
        let image = self.spec.and_then(|spec| spec["image"].as_str());
        image.unwrap_or("of the release")
    }

    /// Returns its end, if it has ended.
    pub(super) fn ended(&self) -> Option<&'a Value> {
        self.status["state"].get("terminated")
    }

    pub(super) fn restarts(&self) -> i64 {
        self.status["restartCount"].as_i64().unwrap_or(0)
    }

    /// Returns `true` if it runs beside the others, as all containers except ordinary init
    /// containers.
    fn runs_on(&self) -> bool {
        !self.is_init
            || self
                .spec
                .is_some_and(|spec| spec["restartPolicy"] == "Always")
    }
}

/// Returns the problem of a pod, if there is one.
pub(super) fn diagnose(view: &View<'_>) -> Vec<Finding> {
    let unscheduled = view.pod.condition("PodScheduled");
    if let Some(condition) = unscheduled.filter(|c| c["status"] == "False") {
        return vec![schedulability::finding(condition)];
    }
    if let Some(finding) = ended_by_node(view.pod) {
        return vec![finding];
    }
    let found: Vec<Finding> = containers(view.pod)
        .filter_map(|container| of_container(view, container))
        .collect();
    if found.is_empty() {
        return creation::finding(view).into_iter().collect();
    }
    found
}

/// Returns all containers, in the order in which they start.
pub(super) fn containers(pod: &Live) -> impl Iterator<Item = Container<'_>> {
    [
        (
            "/status/initContainerStatuses",
            "/spec/initContainers",
            true,
        ),
        ("/status/containerStatuses", "/spec/containers", false),
    ]
    .into_iter()
    .flat_map(move |(statuses, specs, is_init)| {
        let spec_of =
            move |name: &Value| pod.items(specs).iter().find(|spec| spec["name"] == *name);
        pod.items(statuses).iter().map(move |status| Container {
            status,
            spec: spec_of(&status["name"]),
            is_init,
        })
    })
}

/// Returns the container that runs the image of the release.
pub(super) fn main(pod: &Live) -> Option<Container<'_>> {
    containers(pod).find(|container| !container.is_init && container.name() == CONTAINER)
}

/// Returns the digest of the pulled image, as the container runtime reports it.
pub(crate) fn digest(pod: &Live) -> Option<Digest> {
    let (_, digest) = main(pod)?.status["imageID"].as_str()?.rsplit_once('@')?;
    digest.parse().ok()
}

/// Returns the finding for a pod that the node evicted or did not admit. Another pod replaces it.
fn ended_by_node(pod: &Live) -> Option<Finding> {
    let why = pod.text("/status/reason");
    let is_so = pod.text("/status/phase") == "Failed" && !why.is_empty();
    is_so.then(|| {
        let message = format!("the node ended the pod: {why}");
        let reason = Reason::new(ReasonCode::ContainerStartFailed, message)
            .with_help("a new pod takes its place; if it happens again, ask the operator");
        Finding::passing(with_evidence(reason, &pod.0["status"]))
    })
}

fn of_container(view: &View<'_>, container: Container<'_>) -> Option<Finding> {
    let state = &container.status["state"];
    if let Some(why) = state["waiting"]["reason"].as_str() {
        return waits(view, container, why);
    }
    if let Some(ended) = container.ended() {
        let failed = ended["exitCode"].as_i64() != Some(0);
        return failed.then(|| crash::finding(view, container, (ended, Ending::Now)));
    }
    state.get("running")?;
    let called = container.called();
    if !container.runs_on() {
        let message = format!("{called} has not ended yet");
        return Some(Finding::passing(Reason::new(ReasonCode::Waiting, message)));
    }
    let probe = match (
        container.status["started"].as_bool(),
        &container.status["ready"],
    ) {
        (Some(false), _) => "startup",
        (_, Value::Bool(false)) if !container.is_init => "readiness",
        _ => return None,
    };
    let message = format!("{called} runs but does not answer its {probe} probe yet");
    let reason = Reason::new(ReasonCode::ProbeFailing, message)
        .with_help("check the port and the path of the probe, and the logs");
    Some(Finding::passing(reason))
}

fn waits(view: &View<'_>, container: Container<'_>, why: &str) -> Option<Finding> {
    match why {
        // The reason is in the events: see `creation`.
        "ContainerCreating" | "PodInitializing" => None,
        "ErrImagePull"
        | "ImagePullBackOff"
        | "RegistryUnavailable"
        | "ImageInspectError"
        | "SignatureValidationFailed"
        | "ErrImageNeverPull"
        | "InvalidImageName" => Some(pull::finding(view, container, why)),
        "CreateContainerConfigError" => Some(start::configuration(view, container)),
        "CrashLoopBackOff" => {
            let ended = &container.status["lastState"]["terminated"];
            Some(crash::finding(view, container, (ended, Ending::Before)))
        }
        _ => {
            let waiting = &container.status["state"]["waiting"];
            let text = waiting["message"].as_str().unwrap_or_default();
            let reason = start::failure(&container.called(), text);
            Some(Finding::passing(with_evidence(reason, waiting)))
        }
    }
}

pub(super) fn with_evidence(reason: Reason, of: &Value) -> Reason {
    match evidence(of) {
        Some(evidence) => reason.with_evidence(evidence),
        None => reason,
    }
}

/// Adds the last lines of a log to the reason that they explain.
pub(crate) fn explain(reasons: &mut [Reason], crash: &Crash, log: &str) {
    let reason = reasons.iter_mut().find(|reason| reason.code == crash.code);
    if let Some(reason) = reason.filter(|_| !log.trim().is_empty()) {
        if let Some(known) = start::of_log(&crash.called, log) {
            *reason = known;
        }
        reason.evidence = Some(Evidence::from_untrusted(log));
    }
}
