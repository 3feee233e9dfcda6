//! Asks data planes and registries whether all is well there, all at once.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use choreo_registry::client::{Access, AccessClass, HttpTransport};
use serde::Serialize;
use tokio::task::JoinSet;

use super::clusters;
use crate::commands::registry::access;
use crate::config::{BackendEntry, Configuration, Secrets};

/// How long one data plane or registry may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one look at a data plane or a registry showed.
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
    /// It cannot be told from here.
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

/// Looks at everything, in the order of the configuration.
pub(super) async fn try_all(
    configuration: &Arc<Configuration>,
    secrets: Secrets,
) -> Vec<Connection> {
    let mut looks = JoinSet::new();
    for (index, entry) in configuration.data_planes.iter().enumerate() {
        let (id, configuration) = (entry.data_plane.id.to_string(), Arc::clone(configuration));
        looks.spawn(async move {
            let entry = &configuration.data_planes[index];
            let look = async {
                match &entry.backend {
                    BackendEntry::Kubernetes(cluster) => {
                        clusters::look(&configuration, entry, cluster).await
                    }
                    BackendEntry::Memory => {
                        vec![Connection::data_plane(&id, State::Ok, "is in memory")]
                    }
                }
            };
            let looked = tokio::time::timeout(PATIENCE, look).await;
            (
                (0, index),
                looked.unwrap_or_else(|_| {
                    let message = format!("does not answer within {} seconds", PATIENCE.as_secs());
                    vec![Connection::data_plane(&id, State::Failed, message)]
                }),
            )
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
                    message: format!("does not answer within {} seconds", PATIENCE.as_secs()),
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

/// A line for each look.
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
