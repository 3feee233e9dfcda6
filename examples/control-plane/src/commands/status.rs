//! `status`: the state of each target.

use choreo_deploy::deployment::Deployment;
use choreo_deploy::id::{ComponentId, DeploymentId};
use choreo_deploy::release::Release;
use choreo_deploy::store::{TargetQuery, TargetState};
use serde_json::{Value, json};

use super::address::{self, Address};
use super::{deploy, view};
use crate::config::Configuration;
use crate::control_plane::Records;
use crate::failure::{ExitStatus, Failure};
use crate::output::Output;
use crate::table::{Table, cell};

/// A target with the details to show.
struct Place {
    state: TargetState,
    /// The newest deployment.
    newest: Option<Deployment>,
    /// The deployment that was ready last, with its release.
    ready: Option<(Deployment, Option<Release>)>,
    /// The addresses of the ready release, if they were rendered.
    addresses: Vec<Address>,
    /// `true` if the configuration has the component in the environment.
    is_configured: bool,
}

/// Shows the state of the targets of one component, or of all.
pub(super) async fn status(
    records: &Records,
    component: Option<ComponentId>,
    output: Output,
) -> Result<ExitStatus, Failure> {
    let states = match &component {
        Some(component) => records.targets(component).await?,
        None => {
            let organization = records.configuration.organization.clone();
            let query = TargetQuery::of_organization(organization);
            records.store.targets(&query).await?
        }
    };
    let mut table = Table::new([
        "COMPONENT",
        "ENVIRONMENT",
        "DATA PLANE",
        "RELEASE",
        "IMAGE",
        "SINCE",
        "LATEST",
        "HELD SINCE",
        "WHY",
    ]);
    let (mut values, mut addresses) = (Vec::new(), String::new());
    for state in states {
        let mut place = Place::of(records, state).await?;
        if component.is_some() {
            place.find_addresses(&records.configuration);
        }
        if !place.is_gone() {
            table.row(place.row());
            values.push(place.document());
            addresses.push_str(&place.addresses());
        }
    }
    output.say(table.or("no components are deployed") + &addresses, &values);
    Ok(ExitStatus::Ready)
}

impl Place {
    async fn of(records: &Records, state: TargetState) -> Result<Self, Failure> {
        let organization = &records.configuration.organization;
        let find = async |id: &DeploymentId| records.store.deployment(organization, id).await;
        let newest = find(&state.deployment).await?;
        let ready = match &state.ready {
            Some(ready) => find(&ready.deployment).await?,
            None => None,
        };
        let ready = match ready {
            Some(ready) => {
                let release = deploy::release(records, &ready).await?;
                Some((ready, release))
            }
            None => None,
        };
        let target = &state.target;
        let plan = records.configuration.plan(&target.component);
        let is_configured = plan.is_some_and(|plan| {
            plan.component.project.id == target.project && { plan.stages.iter() }
                .any(|stage| stage.environment.id == target.environment)
        });
        Ok(Self {
            state,
            newest,
            ready,
            addresses: Vec::new(),
            is_configured,
        })
    }

    /// Renders the addresses. This is too slow for thousands of targets.
    fn find_addresses(&mut self, configuration: &Configuration) {
        if let Some((_, Some(release))) = &self.ready {
            self.addresses = address::of(configuration, &self.state.target, release);
        }
    }

    /// Returns `true` if it was removed, or its data planes were forgotten.
    fn is_gone(&self) -> bool {
        let has_ended = |newest: &Deployment| newest.phase.is_final();
        self.state.planes.is_empty()
            && self.state.ready.is_none()
            && self.newest.as_ref().is_some_and(has_ended)
    }

    fn row(&self) -> [String; 9] {
        let target = &self.state.target;
        let planes: Vec<_> = self.state.planes.iter().map(ToString::to_string).collect();
        let (ready, release) = match &self.ready {
            Some((ready, release)) => (Some(ready), release.as_ref()),
            None => (None, None),
        };
        let why = self
            .newest
            .as_ref()
            .map(|newest| view::why(&newest.reasons));
        let why = match (self.is_configured, why.unwrap_or_default()) {
            (true, why) => why,
            (false, why) => format!("not in the configuration: remove it. {why}"),
        };
        [
            target.component.to_string(),
            target.environment.to_string(),
            cell(Some(planes.join(", ")).filter(|planes| !planes.is_empty())),
            cell(ready.and_then(|ready| ready.release)),
            cell(release.map(|release| &release.image.requested)),
            cell(ready.map(|ready| format!("{:.0}", ready.changed_at))),
            cell(self.newest.as_ref().map(view::phase)),
            cell(
                self.state
                    .hold
                    .as_ref()
                    .map(|hold| format!("{:.0}", hold.since)),
            ),
            why,
        ]
    }

    /// Returns a line for each endpoint.
    fn addresses(&self) -> String {
        let environment = &self.state.target.environment;
        let line = |Address { endpoint, address }: &Address| {
            format!("{endpoint} in {environment}: {address} inside the cluster\n")
        };
        self.addresses.iter().map(line).collect()
    }

    fn document(&self) -> Value {
        let target = &self.state.target;
        let ready = self.ready.as_ref().map(|(ready, release)| {
            let mut value = view::document(ready, release.as_ref());
            value["since"] = json!(ready.changed_at);
            value
        });
        let newest = self.newest.as_ref();
        json!({
            "component": target.component,
            "project": target.project,
            "environment": target.environment,
            "data_planes": self.state.planes,
            "in_configuration": self.is_configured,
            "ready": ready,
            "addresses": self.addresses,
            "newest": newest.map(|newest| view::document(newest, None)),
            "hold": self.state.hold,
        })
    }
}
