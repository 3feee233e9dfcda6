//! The last lines of logs.

use choreo_deploy::Target;
use choreo_deploy::backend::{BackendError, LogLine, LogQuery};
use choreo_deploy::reason::Reason;
use futures_util::AsyncReadExt;
use futures_util::future::try_join_all;
use kube::api::LogParams;
use kube::core::Request;

use crate::cluster::{Cluster, Live};
use crate::kind::Kind;
use crate::labels;
use crate::manifest::CONTAINER;
use crate::name;
use crate::status::Crash;
use crate::status::pod::explain as add_lines;

/// The maximum length of a line, in bytes.
const LINE_LIMIT: usize = 4096;
/// The maximum number of bytes that are read of one log.
const LOG_LIMIT: u32 = 4 << 20;
/// The maximum number of pods whose logs are read.
const PODS: usize = 10;
/// The maximum number of lines, whatever the query requests.
const LINES: u32 = 10_000;
/// The number of lines of a crashed container's log in the evidence.
const CRASH_LINES: u32 = 20;

/// Returns the last lines of the pods of a target or of a run.
pub(crate) async fn tail(
    cluster: &Cluster<'_>,
    target: &Target,
    query: &LogQuery,
) -> Result<Vec<LogLine>, BackendError> {
    let wanted = query.lines.min(LINES);
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let selector = match &query.run {
        Some(run) => labels::pods_of(&name::run(target, run)),
        None => format!("{}={}", labels::INSTANCE, name::object(target)),
    };
    let mut pods = cluster.list(Kind::Pod, &selector).await?;
    pods.retain(|pod| pod.belongs_to(target));
    pods.sort_by(|a, b| started(b).cmp(started(a)));
    pods.truncate(PODS);
    let read = pods
        .iter()
        .map(|pod| read(cluster, (pod.name(), CONTAINER), (wanted, query.previous)));
    let logs = try_join_all(read).await?;
    let mut lines: Vec<(&str, &str, &str)> = pods
        .iter()
        .zip(&logs)
        .flat_map(|(pod, log)| log.lines().map(move |line| (pod.name(), line)))
        .map(|(pod, line)| {
            let (time, text) = line.split_once(' ').unwrap_or((line, ""));
            (time, pod, text)
        })
        .collect();
    // The kubelet writes all times in UTC and in the same format, so their texts are ordered.
    lines.sort_by_key(|(time, _, _)| *time);
    let skipped = lines.len().saturating_sub(wanted as usize);
    let line = |(_, pod, text): &(&str, &str, &str)| LogLine::new(pod, cut(text));
    Ok(lines[skipped..].iter().map(line).collect())
}

/// Adds the last lines of a crashed container to the reason that they explain. The reason stays
/// unchanged without them.
pub(crate) async fn explain(cluster: &Cluster<'_>, reasons: &mut [Reason], crash: &Crash) {
    let of = (crash.pod.as_str(), crash.container.as_str());
    if let Ok(log) = read(cluster, of, (CRASH_LINES, crash.is_previous)).await {
        let lines: Vec<&str> = log
            .lines()
            .map(|line| line.split_once(' ').map_or("", |(_, text)| text))
            .collect();
        add_lines(reasons, crash, &lines.join("\n"));
    }
}

fn started(pod: &Live) -> &str {
    pod.text("/metadata/creationTimestamp")
}

/// Reads a log; each line starts with its time. The log is empty if the container has not started,
/// or has never restarted.
async fn read(
    cluster: &Cluster<'_>,
    (pod, container): (&str, &str),
    (lines, previous): (u32, bool),
) -> Result<String, BackendError> {
    let params = LogParams {
        container: Some(container.to_owned()),
        limit_bytes: Some(LOG_LIMIT.into()),
        previous,
        tail_lines: Some(lines.into()),
        timestamps: true,
        ..LogParams::default()
    };
    let mut log = Vec::new();
    let path = format!("/api/v1/namespaces/{}/pods", cluster.namespace);
    let request = Request::new(path)
        .logs(pod, &params)
        .map_err(|error| cluster.error(&kube::Error::BuildRequest(error)))?;
    match cluster.client.request_stream(request).await {
        Ok(stream) => {
            let read = stream
                .take(u64::from(LOG_LIMIT))
                .read_to_end(&mut log)
                .await;
            read.map_err(|error| cluster.error(&kube::Error::ReadEvents(error)))?;
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) => {}
        Err(error) => return Err(cluster.error(&error)),
    }
    // Programs may write bytes that are not UTF-8.
    Ok(String::from_utf8_lossy(&log).into_owned())
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LINE_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_between_characters() {
        let line = "ä".repeat(LINE_LIMIT);
        assert!(cut(&line).len() <= LINE_LIMIT && cut(&line).chars().all(|c| c == 'ä'));
        assert_eq!(cut("short"), "short");
    }
}
