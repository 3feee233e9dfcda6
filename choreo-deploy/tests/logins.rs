//! Guards that a registry always receives the current login of the tenant that deploys.
#![cfg(feature = "client")]
#![expect(clippy::unwrap_used, reason = "the helpers below are tests too")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use choreo_deploy::backend::DeploymentBackend;
use choreo_deploy::catalog::{Plan, Stage, StaticCatalog};
use choreo_deploy::deployer::DeployerParts;
use choreo_deploy::deployment::{Cause, RequestedImage};
use choreo_deploy::id::{ComponentKey, OrganizationId, RegistryId};
use choreo_deploy::intake::Submission;
use choreo_deploy::resolver::{ClientResolver, ImageResolver, RegistryAccess, ResolveError};
use choreo_deploy::sealer::{Sealer, SealingContext, SealingKey};
use choreo_deploy::store::{InMemoryStore, NewRegistry, RegistryStore, StoredCredential};
use choreo_deploy::target::{Component, DataPlane, Environment, Project};
use choreo_deploy::workload::{ComponentType, ManualTask};
use choreo_deploy::{Deployer, InMemoryBackend, Intake};
use choreo_registry::authentication::AuthenticationType;
use choreo_registry::image::ResolvedImage;
use choreo_registry::{Credential, ImageReference, RegistryHost};
use choreo_registry_client::{
    egress::Egress,
    transport::{HttpTransport, Outbound, TransportError},
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

const ORGANIZATIONS: [&str; 3] = ["acme", "globex", "initech"];
const REGISTRIES: [&str; 2] = ["images", "mirror"];
const HOST: &str = "registry.example.com";
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;

/// A registry that accepts every login, and records the logins that it receives.
#[derive(Debug)]
struct Recorder {
    logins: Mutex<Vec<String>>,
    schemes: Mutex<Vec<String>>,
    egress: Mutex<Egress>,
}

#[async_trait]
impl HttpTransport for Recorder {
    async fn send(&self, outbound: Outbound) -> Result<http::Response<Bytes>, TransportError> {
        let scheme = outbound.request.uri().scheme_str().unwrap_or_default();
        self.schemes.lock().unwrap().push(scheme.to_owned());
        let sent = outbound.request.headers().get("authorization");
        let Some(sent) = sent.and_then(|sent| sent.to_str().unwrap().strip_prefix("Basic ")) else {
            let refused = http::Response::builder()
                .status(401)
                .header("www-authenticate", "Basic realm=\"images\"");
            return Ok(refused.body(Bytes::new()).unwrap());
        };
        let login = String::from_utf8(STANDARD.decode(sent).unwrap()).unwrap();
        self.logins.lock().unwrap().push(login);
        let found = http::Response::builder()
            .header("content-type", "application/vnd.oci.image.manifest.v1+json");
        Ok(found.body(Bytes::from_static(MANIFEST.as_bytes())).unwrap())
    }

    fn egress(&self) -> Egress {
        self.egress.lock().unwrap().clone()
    }
}

/// The fault that the property detects: clients are cached without their tenant, by registry, host
/// and version.
#[derive(Debug)]
struct KeyedWithoutTenant {
    inner: ClientResolver,
    first: Mutex<HashMap<(RegistryId, RegistryHost, u64), Credential>>,
}

#[async_trait]
impl ImageResolver for KeyedWithoutTenant {
    async fn resolve(
        &self,
        image: &ImageReference,
        access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError> {
        let (registry, host) = (access.registry.clone(), access.host.clone());
        let credential = {
            let mut first = self.first.lock().unwrap();
            let known = first.entry((registry, host, access.credential_version));
            let known = known.or_insert_with(|| access.credential.unwrap().clone_secret());
            known.clone_secret()
        };
        let access = access.with_credential(&credential, access.credential_version);
        self.inner.resolve(image, &access).await
    }
}

/// A change of the registry of an organization, or a deployment.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The registry is registered, or its login is entered again.
    Enter,
    Remove,
    Deploy,
}

type History = Vec<(usize, usize, Event)>;

fn histories() -> impl Strategy<Value = History> {
    let event = prop_oneof![
        3 => Just(Event::Enter),
        2 => Just(Event::Remove),
        4 => Just(Event::Deploy),
    ];
    proptest::collection::vec((0..ORGANIZATIONS.len(), 0..REGISTRIES.len(), event), 1..40)
}

struct Platform {
    store: Arc<InMemoryStore>,
    sealer: Arc<Sealer>,
    transport: Arc<Recorder>,
    deployer: Deployer,
}

impl Platform {
    fn new(resolver: impl FnOnce(ClientResolver) -> Arc<dyn ImageResolver>) -> Self {
        let store = Arc::new(InMemoryStore::new());
        let sealer = Arc::new(Sealer::new(SealingKey::new("test", [7; 32]).unwrap()));
        let transport = Arc::new(Recorder {
            logins: Mutex::default(),
            schemes: Mutex::default(),
            egress: Mutex::new(Egress::tenant()),
        });
        let backend: Arc<dyn DeploymentBackend> = Arc::new(InMemoryBackend::new());
        let plans = ORGANIZATIONS
            .iter()
            .flat_map(|organization| REGISTRIES.map(|registry| plan(organization, registry)));
        let clients = ClientResolver::new(Arc::<Recorder>::clone(&transport));
        let deployer = Deployer::new(DeployerParts {
            store: Arc::<InMemoryStore>::clone(&store),
            catalog: Arc::new(StaticCatalog::new(plans)),
            backends: Arc::new(HashMap::from([("eu-1".parse().unwrap(), backend)])),
            resolver: resolver(clients),
            sealer: Arc::clone(&sealer),
        });
        Self {
            store,
            sealer,
            transport,
            deployer,
        }
    }

    async fn enter(&self, organization: &OrganizationId, registry: &RegistryId, login: &str) {
        let host: RegistryHost = HOST.parse().unwrap();
        let context = SealingContext::new(organization, registry, &host);
        let credential = Credential::new(login, "secret").unwrap();
        let sealed = self.sealer.seal(&credential, &context).unwrap();
        let id = (organization.clone(), registry.clone());
        let new = NewRegistry::new(id, "Images", host, AuthenticationType::Basic)
            .with_credential(StoredCredential::Sealed(sealed));
        let stored = self.store.registry(organization, registry).await.unwrap();
        let expected = stored.map(|stored| stored.revision);
        self.store.put_registry(new, expected).await.unwrap();
    }

    /// Returns the logins that the registry receives while an image is deployed.
    async fn deploy(&self, organization: &str, registry: &str, number: usize) -> Vec<String> {
        let image = format!("{HOST}/{organization}/app:{number}");
        let image = RequestedImage::new(image.parse().unwrap());
        let component = ComponentKey::new(
            organization.parse().unwrap(),
            component(registry).parse().unwrap(),
        );
        let submission = Submission::new(component, image, Cause::Manual);
        // Without a registration, the deployment is rejected without a request.
        if self.deployer.accept(submission).await.is_ok() {
            self.deployer.work_until_idle().await.unwrap();
        }
        std::mem::take(&mut *self.transport.logins.lock().unwrap())
    }

    /// Executes a history, and compares the received logins with the expected ones.
    async fn live(&self, history: &History) -> TestCaseResult {
        let mut present: HashMap<(usize, usize), String> = HashMap::new();
        for (number, &(organization, registry, event)) in history.iter().enumerate() {
            let place = (organization, registry);
            let (organization, registry) = (ORGANIZATIONS[organization], REGISTRIES[registry]);
            let ids = (
                organization.parse().unwrap(),
                registry.parse::<RegistryId>().unwrap(),
            );
            match event {
                Event::Enter => {
                    let login = format!("{organization}-{registry}-{number}");
                    self.enter(&ids.0, &ids.1, &login).await;
                    present.insert(place, login);
                }
                Event::Remove => {
                    self.store.remove_registry(&ids.0, &ids.1).await.unwrap();
                    present.remove(&place);
                }
                Event::Deploy => {
                    let seen = self.deploy(organization, registry, number).await;
                    let login = present.get(&place).map(|login| format!("{login}:secret"));
                    prop_assert_eq!(seen.is_empty(), login.is_none(), "{:?}", seen);
                    for seen in seen {
                        prop_assert_eq!(Some(seen), login.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

/// The name is equal in every organization.
fn component(registry: &str) -> String {
    format!("uses-{registry}")
}

fn plan(organization: &str, registry: &str) -> Plan {
    let project = Project::new(organization.parse().unwrap(), "shop".parse().unwrap());
    let id = component(registry).parse().unwrap();
    let component = Component::new(
        id,
        project,
        ComponentType::ManualTask,
        registry.parse().unwrap(),
    );
    let environment = Environment::new("dev".parse().unwrap(), "eu-1".parse().unwrap());
    let stage = Stage::new(environment, DataPlane::new("eu-1".parse().unwrap()));
    Plan::new(component, ManualTask::new()).then(stage)
}

fn live(history: &History, platform: &Platform) -> TestCaseResult {
    choreo_deploy::conformance::block_on(platform.live(history))
}

#[test]
fn the_login_that_reaches_a_registry_is_the_tenants_present_one() {
    let mut runner = TestRunner::new(Config::with_cases(128));
    let lived = runner.run(&histories(), |history| {
        live(&history, &Platform::new(|clients| Arc::new(clients)))
    });
    lived.unwrap();
}

/// The control: the property fails if clients are cached without their tenant.
#[test]
fn clients_without_their_tenant_are_noticed() {
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(128)
    });
    let lived = runner.run(&histories(), |history| {
        let old = |inner| -> Arc<dyn ImageResolver> {
            Arc::new(KeyedWithoutTenant {
                inner,
                first: Mutex::default(),
            })
        };
        live(&history, &Platform::new(old))
    });
    lived.unwrap_err();
}

/// Guards against a client that continues to use the policy from the time of its creation.
#[test]
fn clients_are_made_anew_under_another_policy() {
    choreo_deploy::conformance::block_on(async {
        let transport = Arc::new(Recorder {
            logins: Mutex::default(),
            schemes: Mutex::default(),
            egress: Mutex::new(Egress::tenant()),
        });
        let resolver = ClientResolver::new(Arc::<Recorder>::clone(&transport));
        let host: RegistryHost = HOST.parse().unwrap();
        let (acme, images) = ("acme".parse().unwrap(), "images".parse().unwrap());
        let credential = Credential::new("ada", "secret").unwrap();
        let access = RegistryAccess::new(&acme, &images, &host).with_credential(&credential, 1);
        let image = format!("{HOST}/app:1").parse().unwrap();
        let schemes = async || {
            resolver.resolve(&image, &access).await.unwrap();
            std::mem::take(&mut *transport.schemes.lock().unwrap())
        };
        let first = schemes().await;
        assert!(first.len() > 1 && first.iter().all(|scheme| scheme == "https"));
        let again = schemes().await;
        assert!(again.len() < first.len(), "the login is known: {again:?}");
        let plain = transport.egress().allow_plain_http(host.clone());
        *transport.egress.lock().unwrap() = plain;
        assert!(schemes().await.iter().all(|scheme| scheme == "http"));
    });
}
