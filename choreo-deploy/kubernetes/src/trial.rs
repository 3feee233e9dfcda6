//! The admission of a pod, tested by a dry run.

use kube::api::PostParams;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Live};
use crate::error;
use crate::kind::Kind;

/// Returns the reason why the first run of a CronJob would not be admitted. Pod Security, quotas,
/// limit ranges and webhooks judge pods, not CronJobs. Returns `None` if it would be admitted, and
/// if that is not known.
pub(crate) async fn refusal(cluster: &Cluster<'_>, cron_job: &Live) -> Option<String> {
    let mut pod = cron_job
        .0
        .pointer("/spec/jobTemplate/spec/template")?
        .clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["generateName"] = format!("{}-", cron_job.name()).into();
    // The pods of a Job do not have its annotations, and have further labels that no policy can
    // need.
    pod["metadata"]["namespace"] = json!(cluster.namespace);
    let pod = serde_json::from_value::<kube::api::DynamicObject>(Value::take(&mut pod)).ok()?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match cluster.api(Kind::Pod).create(&params, &pod).await {
        Err(kube::Error::Api(status))
            if matches!(status.code, 400 | 403 | 422)
                && !error::is_about_access(&status.message) =>
        {
            Some(status.message)
        }
        _ => None,
    }
}
