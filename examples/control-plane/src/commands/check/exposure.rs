//! What is written down about who reaches a component, and what nothing acts on yet.

use choreo_deploy::workload::{ComponentType, Visibility, Workload};

use super::doubt::Doubt;
use crate::config::{ComponentEntry, Configuration};

const HELP: &str = "route to its Service by an Ingress or a Gateway of your own";

/// Says of every component what is taken and changes nothing.
pub(super) fn doubts(configuration: &Configuration) -> Vec<Doubt> {
    let components = configuration.components.with_paths();
    let doubts = components.flat_map(|(path, entry)| of(&path, &entry));
    doubts.collect()
}

/// What to say with a deployment of a component that others than the cluster are to reach.
pub(crate) fn note(entry: &ComponentEntry) -> Option<String> {
    let doubts = of("", entry);
    let is_public = doubts.iter().any(|doubt| doubt.code == "not-exposed");
    let id = &entry.component.id;
    is_public.then(|| format!("nothing outside the cluster reaches {id} yet: {HELP}"))
}

fn of(path: &str, entry: &ComponentEntry) -> Vec<Doubt> {
    if entry.component.component_type == ComponentType::WebApplication {
        let message = "is a Web Application, and nothing outside the cluster reaches it yet";
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
                let message = "is \"public\", and nothing outside the cluster reaches it yet";
                doubts.push(Doubt::warning(
                    at("visibility"),
                    "not-exposed",
                    (message, HELP),
                ));
            }
            Visibility::Organization => {
                let message = "is \"organization\", and changes nothing yet: whatever runs in the \
                               cluster reaches it";
                let help = "keep others away by a NetworkPolicy of your own";
                doubts.push(Doubt::warning(
                    at("visibility"),
                    "no-effect",
                    (message, help),
                ));
            }
            _ => {}
        }
        if endpoint.base_path.is_some() {
            let message = "is written down, and no route uses it yet";
            doubts.push(Doubt::warning(
                at("base_path"),
                "no-effect",
                (message, HELP),
            ));
        }
    }
    doubts
}
