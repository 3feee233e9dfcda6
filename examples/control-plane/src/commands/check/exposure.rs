//! Settings about the exposure of a component that have no effect yet.

use choreo_deploy::workload::{ComponentType, Visibility, Workload};

use super::doubt::Doubt;
use crate::config::{ComponentEntry, Configuration};

const HELP: &str = "add your own Ingress or Gateway that routes to its Service";

/// Returns a doubt for each setting that is accepted and has no effect.
pub(super) fn doubts(configuration: &Configuration) -> Vec<Doubt> {
    let components = configuration.components.with_paths();
    let doubts = components.flat_map(|(path, entry)| of(&path, &entry));
    doubts.collect()
}

/// Returns a note for the deployment of a component that should be reachable from outside the cluster.
pub(crate) fn note(entry: &ComponentEntry) -> Option<String> {
    let doubts = of("", entry);
    let is_public = doubts.iter().any(|doubt| doubt.code == "not-exposed");
    let id = &entry.component.id;
    is_public.then(|| format!("{id} cannot be reached from outside the cluster yet: {HELP}"))
}

fn of(path: &str, entry: &ComponentEntry) -> Vec<Doubt> {
    if entry.component.component_type == ComponentType::WebApplication {
        let message = "a Web Application cannot be reached from outside the cluster yet";
        return vec![Doubt::warning(
            format!("{path}.type"),
            "not-exposed",
            (message, HELP),
        )];
    }
    let Workload::Service(service) = &entry.workload else {
        return Vec::new();
    };
    let mut doubts = Vec::new();
    for (index, endpoint) in service.endpoints.as_slice().iter().enumerate() {
        let at = |field| format!("{path}.workload.endpoints[{index}].{field}");
        match endpoint.visibility {
            Visibility::Public => {
                let message = "\"public\" has no effect yet: the endpoint cannot be reached from outside the cluster";
                doubts.push(Doubt::warning(
                    at("visibility"),
                    "not-exposed",
                    (message, HELP),
                ));
            }
            Visibility::Organization => {
                let message = "\"organization\" has no effect yet: everything in the cluster can reach \
                               the endpoint";
                let help = "restrict access with your own NetworkPolicy";
                doubts.push(Doubt::warning(
                    at("visibility"),
                    "no-effect",
                    (message, help),
                ));
            }
            _ => {}
        }
        if endpoint.base_path.is_some() {
            let message = "has no effect yet: no route uses it";
            doubts.push(Doubt::warning(
                at("base_path"),
                "no-effect",
                (message, HELP),
            ));
        }
    }
    doubts
}
