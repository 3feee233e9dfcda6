//! `deployments`, `releases` and `runs`: the history, most recent first.

use choreo_deploy::id::ComponentId;
use choreo_deploy::release::Release;
use choreo_deploy::run::Run;
use choreo_deploy::store::DeploymentQuery;
use serde_json::{Value, json};

use super::{deploy, task, view};
use crate::cli::Newest;
use crate::control_plane::Records;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;
use crate::table::{Table, cell};

/// Lists the most recent deployments of one component, or of all.
pub(super) async fn deployments(
    records: &Records,
    component: Option<ComponentId>,
    newest: Newest,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let query = match component {
        Some(component) => {
            records.targets(&component).await?;
            DeploymentQuery::of_component(records.key(&component))
        }
        None => DeploymentQuery::of_organization(records.configuration.organization.clone()),
    };
    let mut table = Table::new([
        "ACCEPTED",
        "DEPLOYMENT",
        "COMPONENT",
        "ENVIRONMENT",
        "PHASE",
        "CAUSE",
        "RELEASE",
        "IMAGE",
        "WHY",
    ]);
    let mut values = Vec::new();
    let query = query.limit(with_one_more(newest));
    for deployment in cut(records.store.deployments(&query).await?, newest) {
        let release = deploy::release(records, &deployment).await?;
        table.row([
            format!("{:.0}", deployment.accepted_at),
            deployment.id.to_string(),
            deployment.target.component.to_string(),
            deployment.target.environment.to_string(),
            deployment.phase.to_string(),
            deployment.cause.to_string(),
            cell(deployment.release),
            view::image(&deployment, release.as_ref()).unwrap_or_else(|| "removal".to_owned()),
            view::why(&deployment.reasons),
        ]);
        values.push(view::document(&deployment, release.as_ref()));
    }
    output.say(table.or("no deployments"), &values);
    Ok(ExitStatus::Ready)
}

/// Lists the most recent releases of a component, and the environments where each is ready.
pub(super) async fn releases(
    records: &Records,
    component: &ComponentId,
    newest: Newest,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let targets = records.targets(component).await?;
    let ready_in = |release: &Release| -> Vec<String> {
        let here = targets.iter().filter(|state| {
            let ready = state.ready.as_ref();
            ready.is_some_and(|ready| ready.release == release.number)
        });
        here.map(|state| state.target.environment.to_string())
            .collect()
    };
    let mut table = Table::new(["RELEASE", "CREATED", "IMAGE", "DIGEST", "READY IN"]);
    let mut values = Vec::new();
    let found = records
        .store
        .releases(&records.key(component), with_one_more(newest))
        .await?;
    for release in cut(found, newest) {
        let (image, ready_in) = (&release.image, ready_in(&release));
        let digest = image.pin.as_ref().map(|pin| pin.digest);
        table.row([
            release.number.to_string(),
            format!("{:.0}", release.created_at),
            image.requested.to_string(),
            cell(digest),
            cell(Some(ready_in.join(", ")).filter(|names| !names.is_empty())),
        ]);
        values.push(json!({
            "release": release.number,
            "component": release.component,
            "registry": release.registry,
            "image": image.requested,
            "deployed_image": image.deployed(),
            "digest": digest,
            "pinned_by": image.pin.as_ref().map(|pin| pin.by),
            "ready_in": ready_in,
            "created_at": release.created_at,
        }));
    }
    output.say(table.or(&format!("{component} has no releases")), &values);
    Ok(ExitStatus::Ready)
}

/// Lists the most recent runs of a task in all its environments.
pub(super) async fn runs(
    records: &Records,
    component: &ComponentId,
    newest: Newest,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let (limit, mut runs) = (with_one_more(newest), Vec::<Run>::new());
    for state in records.targets(component).await? {
        runs.extend(records.store.runs(&state.target, limit).await?);
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.accepted_at));
    let runs = cut(runs, newest);
    let mut table = Table::new([
        "ACCEPTED",
        "RUN",
        "ENVIRONMENT",
        "PHASE",
        "RELEASE",
        "EXIT CODE",
        "WHY",
    ]);
    for run in &runs {
        table.row([
            format!("{:.0}", run.accepted_at),
            run.id.to_string(),
            run.target.environment.to_string(),
            task::phase(run),
            run.release.to_string(),
            cell(run.exit_code),
            view::why(&run.reasons),
        ]);
    }
    let values: Vec<Value> = runs.iter().map(task::document).collect();
    output.say(table.or(&format!("{component} has no runs")), &values);
    Ok(ExitStatus::Ready)
}

/// Returns the number of entries to query: one more than is listed shows that there are more.
fn with_one_more(newest: Newest) -> usize {
    usize::from(newest.limit) + 1
}

/// Returns the entries to list, and reports on standard error if there are more.
fn cut<T>(mut found: Vec<T>, Newest { limit }: Newest) -> Vec<T> {
    if found.len() > usize::from(limit) {
        found.truncate(limit.into());
        Output::note(format_args!(
            "only the latest {limit} are listed: use --limit to list more"
        ));
    }
    found
}
