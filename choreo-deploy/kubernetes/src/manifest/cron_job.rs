//! The CronJob of a Scheduled Task.

use choreo_deploy::backend::BackendError;
use choreo_deploy::workload::{Concurrency, ScheduledTask};
use serde_json::json;

use super::job;
use super::object::Object;
use super::plan::{Plan, unsupported};
use crate::kind::Kind;
use crate::labels::{self, ROLE_SCHEDULE};

/// The time zone and the starting deadline are always set. By default the time zone is the
/// cluster's own, and nothing starts any more after a hundred missed starts
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>).
pub(super) fn render(plan: &Plan<'_>, task: &ScheduledTask) -> Result<Object, BackendError> {
    let concurrency = match task.schedule.concurrency {
        Concurrency::Allow => "Allow",
        Concurrency::Forbid => "Forbid",
        Concurrency::Replace => "Replace",
        _ => return Err(unsupported("concurrency of a schedule")),
    };
    let component_type = plan.workload.component_type();
    let body = json!({
        "spec": {
            "schedule": task.schedule.cron.as_str(),
            "timeZone": task.schedule.time_zone.as_str(),
            "concurrencyPolicy": concurrency,
            "startingDeadlineSeconds": task.schedule.starting_deadline_seconds.max(10),
            "suspend": plan.intent.settings.suspended,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {
                    "labels": plan.policy.labeled(
                        labels::pod(plan.intent.target, component_type, ROLE_SCHEDULE),
                    ),
                    // Identifies the Jobs of the current schedule.
                    "annotations": labels::release_annotations(
                        plan.intent.generation,
                        plan.intent.release,
                    ),
                },
                "spec": job::spec(plan, (&task.container, task.limits), ROLE_SCHEDULE)?,
            },
        },
    });
    Ok(plan.released(Kind::CronJob, body))
}
