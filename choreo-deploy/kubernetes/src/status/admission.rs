//! Pods that the data plane rejects.

use choreo_deploy::reason::{Evidence, Reason, ReasonCode};
use jiff::Timestamp;

use super::pod::Finding;
use crate::events::PATIENCE;

/// The duration of a rejection if nothing changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lasts {
    /// The pod and the rule do not change.
    ForGood,
    /// A rule may depend on more than the pod, such as the result of a scan.
    Perhaps,
    /// The cause is transient: a full quota, or a webhook that does not answer.
    ForNow,
}

/// Returns the finding for a rejection; `since` is `None` if it was tested just now.
pub(super) fn finding(text: &str, since: Option<Timestamp>, now: Timestamp) -> Finding {
    let (message, help, lasts) = judge(text);
    let shown = if text.is_empty() { "no message" } else { text };
    let reason = Reason::new(ReasonCode::AdmissionRefused, message)
        .with_help(help)
        .with_evidence(Evidence::from_untrusted(shown));
    let has_lasted = since.is_some_and(|since| now.duration_since(since) >= PATIENCE);
    let is_terminal = match lasts {
        Lasts::ForGood => true,
        Lasts::Perhaps => has_lasted,
        Lasts::ForNow => false,
    };
    Finding::new(reason, is_terminal)
}

fn judge(text: &str) -> (String, &'static str, Lasts) {
    let fixed = |message: &str, help, lasts| (message.to_owned(), help, lasts);
    if text.contains("violates PodSecurity") {
        return fixed(
            "the data plane's Pod Security policy refuses the pods",
            "run as a user other than root, without further privileges",
            Lasts::ForGood,
        );
    }
    if let Some((_, wanted)) = text.split_once("must specify ") {
        return (
            format!(
                "the namespace's quota wants every container to say {}",
                list(wanted)
            ),
            "set it in the workload: a cpu limit for limits.cpu, a memory limit for limits.memory",
            Lasts::ForGood,
        );
    }
    if text.contains("exceeded quota") {
        return if can_never_fit(text) {
            fixed(
                "the pods ask for more than the namespace's whole quota",
                "ask for fewer resources, or ask the operator for a larger quota",
                Lasts::ForGood,
            )
        } else {
            fixed(
                "the namespace's quota has no room for the pods",
                "ask for fewer resources, or ask the operator for more",
                Lasts::ForNow,
            )
        };
    }
    if is_limit_range(text) {
        return fixed(
            "the namespace's limit range does not allow the pods' resources",
            "change the requests and limits of the workload to what the limit range allows",
            Lasts::ForGood,
        );
    }
    if text.contains("failed calling webhook") {
        return fixed(
            "an admission webhook of the data plane does not answer",
            "ask the operator to look at the webhook",
            Lasts::ForNow,
        );
    }
    if text.contains("admission webhook") || text.contains("ValidatingAdmissionPolicy") {
        return fixed(
            "a policy of the data plane refuses the pods",
            "see what the policy says",
            Lasts::Perhaps,
        );
    }
    fixed(
        "the pods cannot be made",
        "see what the data plane reports",
        Lasts::ForNow,
    )
}

/// Returns the names in `limits.cpu for: main; requests.storage for: main`, without the containers.
fn list(wanted: &str) -> String {
    let names = wanted.split(';').map(|part| {
        let name = part.split(" for:").next().unwrap_or_default().trim();
        let name: String = name.chars().take(64).collect();
        name
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Returns `true` for the texts of the LimitRanger: `maximum memory usage per Container is 64Mi,
/// but limit is 128Mi`.
fn is_limit_range(text: &str) -> bool {
    [" usage per ", "limit to request ratio per "]
        .iter()
        .any(|words| text.contains(words))
        && ["minimum ", "maximum ", " max limit"]
            .iter()
            .any(|words| text.contains(words))
}

/// Returns `true` if more is requested than an unused quota has: `exceeded quota: q, requested:
/// pods=1, used: pods=1, limited: pods=1`.
fn can_never_fit(text: &str) -> bool {
    let part = |name: &str| {
        let (_, rest) = text.split_once(name)?;
        rest.split(", used: ").next()?.split(", limited: ").next()
    };
    let (Some(requested), Some(limited)) = (part("requested: "), part("limited: ")) else {
        return false;
    };
    requested.split(',').any(|pair| {
        let Some((name, wanted)) = pair.trim().split_once('=') else {
            return false;
        };
        let limit = limited
            .split(',')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(limited, _)| *limited == name);
        limit
            .and_then(|(_, limit)| quantity(wanted).zip(quantity(limit)))
            .is_some_and(|(wanted, limit)| wanted > limit)
    })
}

/// A quantity in thousandths, as the API server writes it
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
fn quantity(text: &str) -> Option<i128> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: i128 = number.parse().ok()?;
    let factor: i128 = match unit {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (bool, String) {
        let finding = finding(text, None, Timestamp::UNIX_EPOCH);
        (finding.is_terminal, finding.reason.message)
    }

    #[test]
    fn what_can_never_pass_is_told_from_what_may() {
        for (text, never, words) in [
            (
                "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": x",
                true,
                "Pod Security",
            ),
            (
                "pods \"a\" is forbidden: failed quota: q: must specify limits.cpu for: main; requests.cpu for: main",
                true,
                "say limits.cpu, requests.cpu",
            ),
            (
                "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
                false,
                "no room",
            ),
            (
                "pods \"a\" is forbidden: exceeded quota: q, requested: limits.memory=2Gi,pods=1, used: limits.memory=0,pods=0, limited: limits.memory=512Mi,pods=10",
                true,
                "whole quota",
            ),
            (
                "pods \"a\" is forbidden: exceeded quota: q, requested: requests.cpu=100m, used: requests.cpu=950m, limited: requests.cpu=1",
                false,
                "no room",
            ),
            // Each resource has its own limit.
            (
                "pods \"a\" is forbidden: exceeded quota: q, requested: pods=2,requests.cpu=1, used: pods=9,requests.cpu=0, limited: pods=10,requests.cpu=1",
                false,
                "no room",
            ),
            (
                "pods \"a\" is forbidden: maximum memory usage per Container is 8Mi, but limit is 256Mi",
                true,
                "limit range",
            ),
            (
                "pods \"a\" is forbidden: [minimum cpu usage per Container is 100m, but request is 10m, maximum cpu usage per Container is 1.  No limit is specified]",
                true,
                "limit range",
            ),
            (
                "pods \"a\" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
                true,
                "limit range",
            ),
            (
                "Internal error occurred: failed calling webhook \"p\": connection refused",
                false,
                "does not answer",
            ),
            (
                "admission webhook \"p\" denied the request: no",
                false,
                "a policy",
            ),
            // These are not texts of the LimitRanger.
            (
                "admission webhook \"p\" denied the request: maximum 3 pods",
                false,
                "a policy",
            ),
            (
                "admission webhook \"p\" denied the request: usage per team",
                false,
                "a policy",
            ),
            ("serviceaccounts \"a\" not found", false, "cannot be made"),
            ("", false, "cannot be made"),
        ] {
            let (is_terminal, message) = refused(text);
            assert_eq!(is_terminal, never, "{text}");
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn a_policy_is_final_once_it_has_lasted() {
        for text in [
            "admission webhook \"p\" denied the request: not scanned yet",
            "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no",
        ] {
            let since = Timestamp::UNIX_EPOCH;
            let after = |seconds| finding(text, Some(since), since + PATIENCE * seconds / 30);
            assert!(!after(29).is_terminal);
            assert!(after(30).is_terminal);
        }
    }

    #[test]
    fn quantities() {
        for (text, units) in [
            ("1", 1),
            ("1k", 1_000),
            ("1Ki", 1 << 10),
            ("1M", 1_000_000),
            ("512Mi", 512 << 20),
            ("2G", 2_000_000_000),
            ("2Gi", 2 << 30),
            ("1T", 1_000_000_000_000),
            ("1Ti", 1 << 40),
        ] {
            assert_eq!(quantity(text), Some(units * 1_000), "{text}");
        }
        assert_eq!(quantity("1500m"), Some(1_500));
        assert_eq!((quantity("x"), quantity("1E400")), (None, None));
    }
}
