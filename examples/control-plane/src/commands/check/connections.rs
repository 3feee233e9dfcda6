//! Checks data planes and registries, concurrently.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use choreo_registry_client::{Access, AccessClass, transport::HttpTransport};
use serde::Serialize;
use tokio::task::JoinSet;

use super::clusters;
use crate::commands::registry::access;
use crate::config::{Configuration, DataPlaneEntry, Secrets};
use crate::data_plane::Link;

/// The maximum time for the answers of one data plane or registry, once it is connected.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of one check of a data plane or a registry.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Connection {
    /// `data-plane` or `registry`.
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) state: State,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Ok,
    Failed,
    /// It cannot be checked from here.
    Unknown,
}

impl Connection {
    pub(super) fn data_plane(id: &str, state: State, message: impl Into<String>) -> Self {
        Self {
            kind: "data-plane",
            id: id.to_owned(),
            state,
            message: message.into(),
            help: None,
        }
    }

    fn registry(id: &str, access: &Access) -> Self {
        let state = match access.class() {
            AccessClass::PullAllowed | AccessClass::LoginAccepted => State::Ok,
            AccessClass::NotCheckable => State::Unknown,
            _ => State::Failed,
        };
        Self {
            kind: "registry",
            id: id.to_owned(),
            state,
            message: access.message().to_owned(),
            help: access.help().map(str::to_owned),
        }
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    pub(super) fn is_failed(&self) -> bool {
        self.state == State::Failed
    }
}

/// Checks everything, and returns the results in the order of the configuration. `links` contains the
/// connection to each data plane, or `None` if it could not be connected.
pub(super) async fn try_all(
    configuration: &Arc<Configuration>,
    secrets: Secrets,
    links: Vec<Option<Link>>,
) -> Vec<Connection> {
    let mut looks = JoinSet::new();
    for (index, link) in links.into_iter().enumerate() {
        let configuration = Arc::clone(configuration);
        looks.spawn(async move {
            let looked = look(&configuration, &configuration.data_planes[index], link).await;
            ((0, index), looked)
        });
    }
    let transport: Arc<dyn HttpTransport> = secrets.transport;
    let mut registries = secrets.registries;
    for (index, entry) in configuration.registries.iter().enumerate() {
        let (entry, open) = (entry.clone(), registries.remove(&entry.id));
        let transport = Arc::clone(&transport);
        looks.spawn(async move {
            let look = access(&entry, open.as_ref(), (transport, None));
            let looked = tokio::time::timeout(PATIENCE, look).await;
            let connection = match looked {
                Ok(access) => Connection::registry(entry.id.as_str(), &access),
                Err(_) => Connection {
                    kind: "registry",
                    id: entry.id.to_string(),
                    state: State::Failed,
                    message: format!("no answer within {} seconds", PATIENCE.as_secs()),
                    help: None,
                },
            };
            ((1, index), vec![connection])
        });
    }
    let mut looked = looks.join_all().await;
    looked.sort_by_key(|(place, _)| *place);
    looked.into_iter().flat_map(|(_, looked)| looked).collect()
}

/// Checks a data plane.
async fn look(
    configuration: &Configuration,
    entry: &DataPlaneEntry,
    link: Option<Link>,
) -> Vec<Connection> {
    let one = |state, message: String| {
        let id = entry.data_plane.id.as_str();
        vec![Connection::data_plane(id, state, message)]
    };
    let client = match link {
        Some(Link::Cluster(client)) => client,
        Some(Link::Memory) => return one(State::Ok, "in memory".to_owned()),
        // The problem of the configuration contains the reason.
        None => {
            let message = "not connected, so not checked";
            return one(State::Unknown, message.to_owned());
        }
    };
    let looked = clusters::look(configuration, entry, &client);
    let looked = tokio::time::timeout(PATIENCE, looked).await;
    looked.unwrap_or_else(|_| {
        let message = format!("no answer within {} seconds", PATIENCE.as_secs());
        one(State::Failed, message)
    })
}

/// Returns a line for each result.
pub(super) fn told(connections: &[Connection]) -> String {
    let mut text = String::new();
    for Connection {
        kind,
        id,
        state,
        message,
        help,
    } in connections
    {
        let state = match state {
            State::Ok => "ok",
            State::Failed => "failed",
            State::Unknown => "unknown",
        };
        let kind = kind.replace('-', " ");
        let _ = write!(text, "{state:7}  {kind} {id}: {message}");
        if let Some(help) = help {
            let _ = write!(text, "; {help}");
        }
        text.push('\n');
    }
    text
}
