//! The events of pods. They are read only if the state of a pod is not sufficient, and are never
//! required.
//!
//! A container's state has no time and no count, so it contains neither the number of failed pulls
//! nor the time since which a Secret is missing. The kubelet's events do. If they cannot be read,
//! the age of the pod is used instead, with a longer wait.

use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use serde_json::Value;

use crate::cluster::{Cluster, Live};
use crate::kind::Kind;
use crate::timestamp::time;

/// The time for which the kubelet must have reported a failure that may be transient.
pub(crate) const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// The age of a pod that is judged without events.
const PATIENCE_BLIND: SignedDuration = SignedDuration::from_secs(60);
/// The age of a pod that is judged although it has no events: events expire, and the kubelet drops
/// some of a busy pod.
const EXPIRED: SignedDuration = SignedDuration::from_mins(10);
/// The age of a pod in creation whose events are read.
const CREATION: SignedDuration = SignedDuration::from_secs(5);
/// The maximum number of pods whose events are read in one look.
const PODS: usize = 3;
/// The maximum number of events that are read of one pod. Repeated events have a count.
const LIMIT: u32 = 100;

/// The events of pods.
#[derive(Debug, Default)]
pub(crate) struct Events {
    list: Vec<Live>,
    /// `true` if the list is complete. Otherwise a missing event proves nothing.
    is_readable: bool,
}

impl Events {
    #[cfg(test)]
    pub(crate) fn readable(list: Vec<Live>) -> Self {
        Self {
            list,
            is_readable: true,
        }
    }

    /// Returns the events of a pod; `None` if they could not be read.
    pub(crate) fn of<'a>(&'a self, pod: &'a Live, now: Timestamp) -> PodEvents<'a> {
        let uid = pod.uid();
        let is_of = |event: &&Live| event.text("/involvedObject/uid") == uid;
        PodEvents {
            list: self.list.iter().filter(is_of).map(Event).collect(),
            is_readable: self.is_readable,
            age: time(pod.text("/status/startTime")).map(|start| now.duration_since(start)),
        }
    }
}

/// Reads the events of pods whose state is not sufficient. An observation never fails because of
/// them.
pub(crate) async fn read(cluster: &Cluster<'_>, pods: &[Live], now: Timestamp) -> Events {
    let mut events = Events {
        list: Vec::new(),
        is_readable: true,
    };
    let mut pods: Vec<&Live> = pods.iter().filter(|pod| is_unclear(pod, now)).collect();
    pods.sort_by(|a, b| created(b).cmp(created(a)));
    pods.truncate(PODS);
    for pod in pods {
        let of_pod = format!("involvedObject.uid={}", pod.uid());
        let page = ListParams::default().fields(&of_pod).limit(LIMIT);
        match cluster.api(Kind::Event).list(&page).await {
            Ok(found) => {
                let found = found.items.iter().map(serde_json::to_value);
                events.list.extend(found.filter_map(Result::ok).map(Live));
            }
            Err(error) => {
                tracing::debug!(%error, "events cannot be read");
                events.is_readable = false;
            }
        }
    }
    events
}

fn created(pod: &Live) -> &str {
    pod.text("/metadata/creationTimestamp")
}

/// Returns `true` if a container waits for more than its next start. At first each container waits.
fn is_unclear(pod: &Live, now: Timestamp) -> bool {
    let Some(start) = time(pod.text("/status/startTime")) else {
        return false;
    };
    let of = |list: &str| pod.items(list).iter();
    let mut reasons = of("/status/containerStatuses")
        .chain(of("/status/initContainerStatuses"))
        .filter_map(|status| status["state"]["waiting"]["reason"].as_str());
    !pod.is_ending()
        && reasons.any(|reason| match reason {
            "CrashLoopBackOff" | "PodInitializing" => false,
            "ContainerCreating" => now.duration_since(start) >= CREATION,
            _ => true,
        })
}

/// The events of one pod.
#[derive(Debug)]
pub(crate) struct PodEvents<'a> {
    list: Vec<Event<'a>>,
    is_readable: bool,
    age: Option<SignedDuration>,
}

impl<'a> PodEvents<'a> {
    /// Returns the number of failed pulls of an image of a container.
    pub(crate) fn failed_pulls(&self, container: &str) -> i64 {
        self.of_pulls(container).map(Event::count).sum()
    }

    /// Returns the time of the last failed pull of a container's image.
    pub(crate) fn last_failed_pull(&self, container: &str) -> Option<Timestamp> {
        self.of_pulls(container).filter_map(Event::last).max()
    }

    fn of_pulls(&self, container: &str) -> impl Iterator<Item = &Event<'a>> {
        self.of_container(container).filter(|event| {
            event.reason() == "Failed" && event.message().starts_with("Failed to pull image")
        })
    }

    pub(crate) fn of_container(&self, container: &str) -> impl Iterator<Item = &Event<'a>> {
        let of = format!("{{{container}}}");
        let is_of =
            move |event: &&Event<'_>| event.0.text("/involvedObject/fieldPath").ends_with(&of);
        self.list.iter().filter(is_of)
    }

    /// Returns the newest event with one of these reasons.
    pub(crate) fn newest(&self, reasons: &[&str]) -> Option<&Event<'a>> {
        self.list
            .iter()
            .filter(|event| reasons.contains(&event.reason()))
            .max_by_key(|event| event.last())
    }

    /// Returns `true` if these were reported for longer than a transient failure lasts.
    pub(crate) fn have_lasted<'e>(&self, events: impl Iterator<Item = &'e Event<'e>>) -> bool {
        let spans: Vec<_> = events
            .filter_map(|event| event.first().zip(event.last()))
            .collect();
        let first = spans.iter().map(|(first, _)| *first).min();
        let last = spans.iter().map(|(_, last)| *last).max();
        match first.zip(last) {
            // Both times are of the kubelet's clock.
            Some((first, last)) => last.duration_since(first) >= PATIENCE,
            None => self.is_old(),
        }
    }

    /// Returns `true` if the pod is so old that its failure is not new, even without an event.
    pub(crate) fn is_old(&self) -> bool {
        let patience = if self.is_readable {
            EXPIRED
        } else {
            PATIENCE_BLIND
        };
        self.age.is_some_and(|age| age >= patience)
    }
}

/// An event with its count, and its first and last time.
#[derive(Debug)]
pub(crate) struct Event<'a>(&'a Live);

impl Event<'_> {
    pub(crate) fn reason(&self) -> &str {
        self.0.text("/reason")
    }

    pub(crate) fn message(&self) -> &str {
        self.0.text("/message")
    }

    /// The event itself; its `message` is evidence.
    pub(crate) fn json(&self) -> &Value {
        &self.0.0
    }

    fn count(&self) -> i64 {
        self.0.number("/count").unwrap_or(1).max(1)
    }

    fn first(&self) -> Option<Timestamp> {
        time(self.0.text("/firstTimestamp")).or_else(|| time(self.0.text("/eventTime")))
    }

    pub(crate) fn last(&self) -> Option<Timestamp> {
        time(self.0.text("/lastTimestamp")).or_else(|| self.first())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(list: &str, reason: &str) -> Live {
        let status = json!({ "state": { "waiting": { "reason": reason } } });
        Live(json!({
            "metadata": { "uid": "p" },
            "status": { "startTime": "2026-01-02T12:00:00Z", list: [status] },
        }))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::constant(1_767_355_200, 0) + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn events_are_read_where_the_state_says_too_little() {
        for list in ["containerStatuses", "initContainerStatuses"] {
            for (reason, seconds, is) in [
                ("ImagePullBackOff", 0, true),
                ("CreateContainerConfigError", 0, true),
                ("ContainerCreating", 4, false),
                ("ContainerCreating", 5, true),
                ("PodInitializing", 99, false),
                ("CrashLoopBackOff", 99, false),
            ] {
                let pod = pod(list, reason);
                assert_eq!(is_unclear(&pod, at(seconds)), is, "{reason} {seconds}");
            }
        }
        let mut ending = pod("containerStatuses", "ImagePullBackOff");
        ending.0["metadata"]["deletionTimestamp"] = "2026-01-02T12:00:00Z".into();
        assert!(!is_unclear(&ending, at(0)));
    }

    /// The newer API of events has other fields, and a count that may be left out.
    #[test]
    fn events_have_a_count_and_a_time() {
        let old = Live(json!({
            "count": 3, "firstTimestamp": "2026-01-02T12:00:00Z", "lastTimestamp": "2026-01-02T12:00:31Z",
        }));
        let new = Live(
            json!({ "count": 0, "firstTimestamp": null, "eventTime": "2026-01-02T12:00:00.5Z" }),
        );
        assert_eq!((Event(&old).count(), Event(&new).count()), (3, 1));
        assert_eq!(Event(&old).last(), Some(at(31)));
        assert!(Event(&new).last() > Some(at(0)));
    }

    #[test]
    fn events_of_other_pods_do_not_count() {
        let event = Live(json!({
            "involvedObject": { "uid": "q", "fieldPath": "spec.containers{main}" },
            "reason": "Failed", "message": "Failed to pull image \"x\"", "count": 9,
        }));
        let events = Events::readable(vec![event]);
        let pod = pod("containerStatuses", "ImagePullBackOff");
        assert_eq!(events.of(&pod, at(0)).failed_pulls("main"), 0);
    }
}
