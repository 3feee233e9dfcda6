//! `orphans`: a list of workloads that may run and are not as the configuration says.

use std::sync::Arc;

use choreo_deploy::backend::Backends;
use choreo_deploy::deployer::{Orphan, OrphanReason};
use choreo_deploy::id::DataPlaneId;
use choreo_deploy::store::TargetQuery;
use choreo_deploy::{DeploymentBackend, InMemoryBackend};
use serde_json::{Value, json};

use crate::config::Configuration;
use crate::control_plane::Records;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;
use crate::table::{Table, cell};

/// Lists all orphans. It reads the store and connects to no data plane.
pub(super) async fn orphans(records: &Records, output: Output) -> Result<ExitStatus, Failure> {
    let configuration = Arc::clone(&records.configuration);
    let deployer = records.asking(Arc::new(Configured(configuration)))?;
    let organization = records.configuration.organization.clone();
    let mut query = TargetQuery::of_organization(organization);
    let mut table = Table::new(["COMPONENT", "PROJECT", "ENVIRONMENT", "DATA PLANE", "WHY"]);
    let mut values = Vec::new();
    loop {
        let page = deployer.orphans(&query).await?;
        for orphan in &page.found {
            table.row(row(orphan));
            values.push(document(orphan));
        }
        let Some(last) = page.next else { break };
        query = query.after(last);
    }
    if !values.is_empty() {
        Output::note("to remove an orphan, run \"remove COMPONENT --environment ENV\"");
    }
    output.say(table.or("no orphans"), &values);
    Ok(ExitStatus::Ready)
}

fn row(orphan: &Orphan) -> [String; 5] {
    let target = &orphan.target;
    let planes: Vec<_> = orphan.planes.iter().map(DataPlaneId::as_str).collect();
    [
        target.component.to_string(),
        target.project.to_string(),
        target.environment.to_string(),
        cell(Some(planes.join(", ")).filter(|planes| !planes.is_empty())),
        why(&orphan.why),
    ]
}

fn document(orphan: &Orphan) -> Value {
    let target = &orphan.target;
    json!({
        "component": target.component,
        "project": target.project,
        "environment": target.environment,
        "data_planes": orphan.planes,
        "data_planes_not_in_configuration": orphan.disconnected,
        "why": orphan.why.as_str(),
        "message": why(&orphan.why),
    })
}

fn why(why: &OrphanReason) -> String {
    match why {
        OrphanReason::ComponentGone => {
            "the configuration does not contain the component".to_owned()
        }
        OrphanReason::DataPlaneGone => {
            "the configuration does not contain the data plane".to_owned()
        }
        why => why.to_string(),
    }
}

/// Treats each data plane of the configuration as present, connected or not.
#[derive(Debug)]
struct Configured(Arc<Configuration>);

impl Backends for Configured {
    fn get(&self, data_plane: &DataPlaneId) -> Option<Arc<dyn DeploymentBackend>> {
        let mut known = self.0.data_planes.iter();
        let is_known = known.any(|entry| entry.data_plane.id == *data_plane);
        is_known.then(|| Arc::new(InMemoryBackend::new()) as _)
    }
}
