//! The configuration: one TOML file. All its problems are reported at once.

mod component;
mod data_plane;
mod document;
mod egress;
mod names;
mod problem;
mod registry;
mod secret;
mod section;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use choreo_deploy::catalog::{Catalog, CatalogError, Plan, Stage};
use choreo_deploy::deployer::DeployerOptions;
use choreo_deploy::id::{ComponentId, ComponentKey, OrganizationId, RegistryId};
use choreo_deploy::sealer::{Sealer, SealingKey};
use choreo_deploy::target::Environment;
use choreo_registry_client::{egress::Egress, transport::ReqwestTransport};
use choreo_webhook::BaseUrl;

use crate::failure::plain;

pub(crate) use self::component::{ComponentEntry, Components};
pub(crate) use self::data_plane::{BackendEntry, ClusterAccess, DataPlaneEntry};
use self::document::Document;
use self::egress::EgressEntry;
use self::names::Names;
pub(crate) use self::problem::{Problem, Problems};
pub(crate) use self::registry::{Login, OpenRegistry, RegistryEntry};
use self::secret::{Orphans, SecretSource};
use self::section::{Section, join};

/// The configuration without its secrets.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) organization: OrganizationId,
    pub(crate) listen: SocketAddr,
    /// A second address for the health checks, which clients need not reach.
    pub(crate) health_listen: Option<SocketAddr>,
    /// The URL of the webhook for clients, which snippets contain.
    pub(crate) public_url: BaseUrl,
    /// The path of the database.
    pub(crate) store: PathBuf,
    sealing: Option<KeyEntry>,
    older_sealing: Vec<KeyEntry>,
    egress: EgressEntry,
    pub(crate) options: DeployerOptions,
    pub(crate) registries: Vec<RegistryEntry>,
    pub(crate) data_planes: Vec<DataPlaneEntry>,
    /// In promotion order.
    pub(crate) environments: Vec<Environment>,
    pub(crate) components: Components,
}

/// The secrets of a configuration, opened.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) registries: BTreeMap<RegistryId, OpenRegistry>,
    /// The transport of the registry client, within the egress policy.
    pub(crate) transport: Arc<ReqwestTransport>,
}

/// The id of a sealing key and its source.
#[derive(Clone, Debug)]
struct KeyEntry {
    id: String,
    source: SecretSource,
    path: String,
}

impl Configuration {
    /// Reads a file, but no secrets.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let problems = Problems::default();
        let read = Self::parse_file(path, &problems);
        problems.into_result()?;
        read.map(|(read, _)| read).ok_or_else(Vec::new)
    }

    /// Reads a file and the secrets that it names.
    pub(crate) fn open(path: &Path) -> Result<(Self, Secrets), Vec<Problem>> {
        let problems = Problems::default();
        let looked = Self::look(path, &problems);
        problems.into_result()?;
        let opened = looked.and_then(|(read, secrets)| Some((read, secrets?)));
        opened.ok_or_else(Vec::new)
    }

    /// Reads as much as can be read, and adds all problems.
    pub(crate) fn look(path: &Path, problems: &Problems) -> Option<(Self, Option<Secrets>)> {
        let (read, orphans) = Self::parse_file(path, problems)?;
        let secrets = read.secrets(problems);
        orphans.check(problems);
        Some((read, secrets))
    }

    /// Returns the path of a sealing key in the configuration.
    pub(crate) fn path_of_key(&self, id: &str) -> String {
        let keys = self.sealing.iter().chain(&self.older_sealing);
        let key = { keys }.find(|key| key.id == id);
        key.map_or_else(|| "sealing".to_owned(), |key| key.path.clone())
    }

    /// Returns the plan of a component: its environments in promotion order, with its settings.
    pub(crate) fn plan(&self, component: &ComponentId) -> Option<Plan> {
        let mut entry = self.component(component)?;
        let stages = self.environments.iter().filter_map(|environment| {
            let plane = self.data_planes.iter().map(|entry| &entry.data_plane);
            let plane = plane
                .into_iter()
                .find(|plane| plane.id == environment.data_plane)?;
            let settings = entry.settings.remove(&environment.id);
            let settings = settings.unwrap_or_default();
            Some(Stage::new(environment.clone(), plane.clone()).with_settings(settings))
        });
        let plan = Plan::new(entry.component, entry.workload);
        Some(stages.fold(plan, Plan::then))
    }

    pub(crate) fn component(&self, id: &ComponentId) -> Option<ComponentEntry> {
        self.components.get(id)
    }

    pub(crate) fn registry(&self, id: &RegistryId) -> Option<&RegistryEntry> {
        self.registries.iter().find(|entry| entry.id == *id)
    }

    fn parse_file(path: &Path, problems: &Problems) -> Option<(Self, Orphans)> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                problems.add("", format!("cannot be read: {}", plain(&error.to_string())));
                return None;
            }
        };
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, directory, problems)
    }

    /// Reads as much as can be read. An invalid part is reported, and is missing or has its default in the
    /// result. The result is complete only if there was no problem.
    fn parse(text: &str, directory: &Path, problems: &Problems) -> Option<(Self, Orphans)> {
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(error) => {
                // Its own text quotes the line, which may contain a secret.
                let at = error
                    .span()
                    .map(|span| place(text, span.start))
                    .unwrap_or_default();
                problems.add("", format!("{at}{}", words::syntax(error.message())));
                return None;
            }
        };
        let Document {
            root,
            components,
            not_finite,
        } = document;
        not_finite
            .into_iter()
            .for_each(|problem| problems.add_unread(problem));
        let names = Names::of(&root, problems);
        let mut root = Section::root(root, problems);
        let organization: OrganizationId = root
            .optional("organization")
            .or_else(|| "default".parse().ok())?;
        let (listen, health_listen, public_url) = server(root.table_or_empty("server"))?;
        let store = store(root.table_or_empty("store"));
        let orphans = Orphans::default();
        let (sealing, older_sealing) =
            sealing(root.table_or_empty("sealing"), (directory, &orphans));
        let egress = EgressEntry::of(root.table_or_empty("egress"), directory);
        let options = deployer(root.table_or_empty("deployer"));
        let registries = each(&mut root, "registries", |section| {
            RegistryEntry::of(section, directory, &orphans)
        });
        let data_planes = each(&mut root, "data_planes", |section| {
            DataPlaneEntry::of(section, directory)
        });
        let environments = each(&mut root, "environments", environment);
        // The components were read separately. A value that is not a list of tables is still here.
        root.tables("components");
        root.finish();
        let components = Components::of(components, (organization.clone(), &names), problems);
        let read = Self {
            organization,
            listen,
            health_listen,
            public_url,
            store: directory.join(store),
            sealing,
            older_sealing,
            egress,
            options,
            registries,
            data_planes,
            environments,
            components,
        };
        Some((read, orphans))
    }

    /// Reads every secret, and creates everything that needs them.
    fn secrets(&self, problems: &Problems) -> Option<Secrets> {
        let key = self.sealing.as_ref().and_then(|key| key.read(problems));
        let older = self.older_sealing.iter();
        let older: Vec<_> = older.filter_map(|key| key.read(problems)).collect();
        let mut registries = BTreeMap::new();
        for entry in &self.registries {
            match entry.open() {
                Ok(open) => _ = registries.insert(entry.id.clone(), open),
                Err((field, message)) => problems.add(join(&entry.path, field), message),
            }
        }
        let egress: Egress = self.egress.open(problems);
        let transport = ReqwestTransport::new(egress);
        let transport = transport.map_err(|error| problems.add("egress", error.to_string()));
        let sealer = Sealer::new(key?);
        Some(Secrets {
            sealer: Arc::new(older.into_iter().fold(sealer, Sealer::with_older)),
            registries,
            transport: Arc::new(transport.ok()?),
        })
    }
}

/// A plan is created on demand: thousands of them would take as much memory as the configuration.
#[async_trait]
impl Catalog for Configuration {
    async fn plan(&self, component: &ComponentKey) -> Result<Option<Plan>, CatalogError> {
        let ours = component.organization == self.organization;
        Ok(ours
            .then(|| Self::plan(self, &component.component))
            .flatten())
    }
}

impl KeyEntry {
    fn of(mut section: Section<'_>, (directory, orphans): (&Path, &Orphans)) -> Option<Self> {
        let path = section.path();
        let id = section.required("id");
        let source = SecretSource::of(&mut section);
        let source = source.map(|source| source.relative_to(directory));
        section.finish();
        match (id, source?) {
            (Some(id), source) => Some(Self { id, source, path }),
            (None, source) => {
                orphans.add(path, source);
                None
            }
        }
    }

    fn read(&self, problems: &Problems) -> Option<SealingKey> {
        let key = self.source.read().and_then(|hex| {
            SealingKey::from_hex(self.id.as_str(), &hex).map_err(|error| error.to_string())
        });
        key.map_err(|message| problems.add(self.path.as_str(), message))
            .ok()
    }
}

fn server(mut section: Section<'_>) -> Option<(SocketAddr, Option<SocketAddr>, BaseUrl)> {
    let listen: Option<SocketAddr> = section.optional("listen");
    let health_listen = section.optional("health_listen");
    let public_url = section.optional("public_url");
    section.finish();
    let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
    // Only a local address is a valid URL without TLS. Others are behind a proxy.
    let local = || format!("http://127.0.0.1:{}", listen.port()).parse().ok();
    Some((listen, health_listen, public_url.or_else(local)?))
}

fn store(mut section: Section<'_>) -> PathBuf {
    let path = section.optional("path");
    section.finish();
    path.unwrap_or_else(|| "control-plane.db".into())
}

fn sealing(
    mut section: Section<'_>,
    place: (&Path, &Orphans),
) -> (Option<KeyEntry>, Vec<KeyEntry>) {
    let hint = "write key = { id = \"NAME\", env = \"VARIABLE\" }, of 64 hexadecimal digits";
    if !section.has("key") {
        section.problem("key", format!("is missing: {hint}"));
    }
    let key = section
        .table("key", hint)
        .and_then(|key| KeyEntry::of(key, place));
    let older = each(&mut section, "older", |key| KeyEntry::of(key, place));
    section.finish();
    (key, older)
}

fn deployer(mut section: Section<'_>) -> DeployerOptions {
    let seconds = |seconds: NonZeroU32| Duration::from_secs(seconds.get().into());
    let mut options = DeployerOptions::default();
    let deadline = section.optional("deadline_seconds").map(seconds);
    options.deployment_deadline = deadline.unwrap_or(options.deployment_deadline);
    let steps: Option<NonZeroUsize> = section.optional("steps");
    options.steps = steps.unwrap_or(options.steps);
    let per_plane: Option<NonZeroUsize> = section.optional("steps_per_data_plane");
    options.steps_per_data_plane = per_plane.unwrap_or(options.steps_per_data_plane);
    let lease = section.optional("lease_seconds").map(seconds);
    options.lease = lease.unwrap_or(options.lease);
    section.finish();
    options
}

fn environment(mut section: Section<'_>) -> Option<Environment> {
    let id = section.required("id");
    let name = section.optional("name");
    let production = section.optional("production").unwrap_or(false);
    let data_plane = section.required("data_plane");
    section.finish();
    let mut environment = Environment::new(id?, data_plane?);
    environment.production = production;
    environment.name = name.unwrap_or(environment.name);
    Some(environment)
}

/// Returns the entries of a list that can be read.
fn each<T>(
    section: &mut Section<'_>,
    list: &'static str,
    entry: impl Fn(Section<'_>) -> Option<T>,
) -> Vec<T> {
    section.tables(list).into_iter().filter_map(entry).collect()
}

/// Returns the line and column of a position, such as `line 3, column 5: `.
fn place(text: &str, position: usize) -> String {
    let before = text.get(..position).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("line {line}, column {column}: ")
}
