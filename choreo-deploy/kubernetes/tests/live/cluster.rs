//! The cluster under test, and images for it.

use std::io::Write as _;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use choreo_deploy::backend::{
    BackendError, DeploymentBackend, Intent, LogReader, Pull, TaskRunner,
};
use choreo_deploy::deployment::Generation;
use choreo_deploy::release::{
    DigestPin, Pinning, Release, ReleaseDraft, ReleaseImage, ReleaseNumber,
};
use choreo_deploy::rollout::Rollout;
use choreo_deploy::{Target, workload};
use choreo_deploy_kubernetes::KubernetesBackend;
use choreo_deploy_kubernetes::policy::{Namespaces, Policy};
use choreo_registry::ImageReference;
use choreo_test_registry::TestRegistry;
use choreo_test_registry::parts::Manifest;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The variable that names the kubeconfig of a cluster for tests.
const VARIABLE: &str = "CHOREO_TEST_KUBECONFIG";

/// Returns the configuration of the cluster. Returns `None` and reports it if there is none.
pub(crate) async fn config() -> Option<Config> {
    let Ok(path) = std::env::var(VARIABLE) else {
        static SAID: OnceLock<()> = OnceLock::new();
        SAID.get_or_init(|| {
            say("SKIPPED: CHOREO_TEST_KUBECONFIG names no cluster, so nothing was tested against Kubernetes");
        });
        return None;
    };
    let kubeconfig = Kubeconfig::read_from(&path).expect("the kubeconfig can be read");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Some(config.expect("the kubeconfig is complete"))
}

/// Writes directly, because the test harness captures the output of passing tests.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A backend with its own namespaces, which are deleted when it is dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) inner: KubernetesBackend,
    config: Config,
    prefix: String,
    registry: Option<TestRegistry>,
}

impl Backend {
    pub(crate) fn new(config: Config, policy: Policy) -> Self {
        let client = Client::try_from(config.clone()).expect("a client can be made");
        Self::over(client, config, policy)
    }

    /// Creates a backend with a client that may have additional layers.
    pub(crate) fn over(client: Client, config: Config, policy: Policy) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = match &policy.namespaces {
            Namespaces::Create { prefix } if prefix != "dp" => prefix.clone(),
            _ => format!("kt{}-{count}", std::process::id()),
        };
        let mut policy = policy;
        policy.namespaces = Namespaces::Create {
            prefix: prefix.clone(),
        };
        Self {
            inner: KubernetesBackend::new(client, policy),
            config,
            prefix,
            registry: None,
        }
    }

    /// Keeps the registry of its images running.
    pub(crate) fn with_registry(mut self, registry: TestRegistry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Returns the live objects of a kind of a target, as JSON.
    pub(crate) async fn list(&self, target: &Target, plural: &str) -> Vec<serde_json::Value> {
        let path = self.path(target, plural);
        let request = http::Request::get(path)
            .body(Vec::new())
            .expect("a request");
        let list: serde_json::Value = self.client().request(request).await.expect("a list");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .filter(|item| item["metadata"].get("deletionTimestamp").is_none())
            .collect()
    }

    /// Changes the only object of a kind of a target, like another client.
    pub(crate) async fn merge(&self, target: &Target, plural: &str, change: &serde_json::Value) {
        let live = self.list(target, plural).await;
        let name = live[0]["metadata"]["name"].as_str().expect("a name");
        let path = self.path(target, plural);
        let path = path.split('?').next().unwrap_or_default();
        let request = http::Request::patch(format!("{path}/{name}"))
            .header("Content-Type", "application/merge-patch+json")
            .body(change.to_string().into_bytes())
            .expect("a request");
        let _: serde_json::Value = self.client().request(request).await.expect("it is changed");
    }

    /// Deletes the objects of a kind of a target, like another client.
    pub(crate) async fn delete(&self, target: &Target, plural: &str) {
        let path = self.path(target, plural);
        let path = path.split('?').next().unwrap_or_default();
        for live in self.list(target, plural).await {
            let name = live["metadata"]["name"].as_str().expect("a name");
            let request = http::Request::delete(format!("{path}/{name}"))
                .body(Vec::new())
                .expect("a request");
            let _: serde_json::Value = self.client().request(request).await.expect("it is deleted");
        }
    }

    /// Creates an object of a kind, like another client.
    pub(crate) async fn create(&self, target: &Target, plural: &str, object: &serde_json::Value) {
        let path = self.path(target, plural);
        let request = http::Request::post(path.split('?').next().unwrap_or_default())
            .header("Content-Type", "application/json")
            .body(object.to_string().into_bytes())
            .expect("a request");
        let _: serde_json::Value = self.client().request(request).await.expect("it is created");
    }

    fn client(&self) -> Client {
        Client::try_from(self.config.clone()).expect("a client can be made")
    }

    fn path(&self, target: &Target, plural: &str) -> String {
        let group = match plural {
            "deployments" | "replicasets" => "apis/apps/v1",
            "cronjobs" | "jobs" => "apis/batch/v1",
            "horizontalpodautoscalers" => "apis/autoscaling/v2",
            "poddisruptionbudgets" => "apis/policy/v1",
            "endpointslices" => "apis/discovery.k8s.io/v1",
            _ => "api/v1",
        };
        let namespace = self
            .inner
            .policy()
            .namespaces
            .of(target)
            .expect("it makes namespaces");
        let component = &target.component;
        format!(
            "/{group}/namespaces/{namespace}/{plural}?labelSelector=choreo.dev/component%3D{component}"
        )
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let (config, prefix) = (self.config.clone(), format!("{}-", self.prefix));
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime can be made").block_on(async {
                let client = Client::try_from(config).expect("a client can be made");
                let namespaces = Api::<kube::api::DynamicObject>::all_with(client, &namespaces());
                let Ok(list) = namespaces.list(&Default::default()).await else {
                    return;
                };
                for namespace in list
                    .items
                    .iter()
                    .filter_map(|item| item.metadata.name.as_deref())
                {
                    if namespace.starts_with(&prefix) {
                        let _ = namespaces.delete(namespace, &Default::default()).await;
                    }
                }
            });
        });
        let _ = cleaning.join();
    }
}

fn namespaces() -> kube::core::ApiResource {
    kube::core::ApiResource::from_gvk_with_plural(
        &kube::core::GroupVersionKind::gvk("", "v1", "Namespace"),
        "namespaces",
    )
}

#[async_trait::async_trait]
impl DeploymentBackend for Backend {
    async fn apply(&self, intent: &Intent<'_>) -> Result<(), BackendError> {
        self.inner.apply(intent).await
    }

    async fn observe(&self, target: &Target) -> Result<Rollout, BackendError> {
        self.inner.observe(target).await
    }

    async fn settle(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.inner.settle(target, generation).await
    }

    async fn take_back(
        &self,
        target: &Target,
        generation: Generation,
        before: Option<&Intent<'_>>,
    ) -> Result<(), BackendError> {
        self.inner.take_back(target, generation, before).await
    }

    async fn update_pull_secret(
        &self,
        target: &Target,
        generation: Generation,
        pull: &Pull<'_>,
    ) -> Result<(), BackendError> {
        self.inner
            .update_pull_secret(target, generation, pull)
            .await
    }

    async fn remove(&self, target: &Target, generation: Generation) -> Result<(), BackendError> {
        self.inner.remove(target, generation).await
    }

    fn tasks(&self) -> Option<&dyn TaskRunner> {
        self.inner.tasks()
    }

    fn logs(&self) -> Option<&dyn LogReader> {
        self.inner.logs()
    }
}

/// Returns a policy for quick rollouts, because tests do not wait for proxies.
pub(crate) fn quick() -> Policy {
    let mut policy = Policy::default();
    policy.timing.min_ready_seconds = 0;
    policy.timing.pre_stop_seconds = 0;
    policy.timing.termination_seconds = 1;
    policy
}

/// Returns the test program, which is compiled once.
fn program() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let out = directory.path().join("program");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/program.c");
        let compiled = Command::new("cc")
            .args(["-static", "-Os", "-s", "-o"])
            .arg(&out)
            .arg(source)
            .status();
        assert!(
            compiled.expect("cc can be run").success(),
            "the test program compiles"
        );
        std::fs::read(out).expect("the program can be read")
    })
}

/// Pushes an image of the test program, and returns its reference with the digest.
pub(crate) fn push(registry: &TestRegistry, tag: &str, user: &str) -> ImageReference {
    push_program(registry, (tag, user), program())
}

/// Pushes an image of this program.
pub(crate) fn push_program(
    registry: &TestRegistry,
    (tag, user): (&str, &str),
    program: &[u8],
) -> ImageReference {
    let layer = tar("program", program);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "User": user, "Entrypoint": ["/program"], "Labels": { "tag": tag } },
        "rootfs": { "type": "layers", "diff_ids": [sha256(&layer)] },
    })
    .to_string();
    let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "size": bytes.len(), "digest": sha256(bytes) });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    registry
        .push_blob("shop/app", config.into_bytes())
        .expect("the repository is valid");
    registry
        .push_blob("shop/app", layer)
        .expect("the repository is valid");
    let manifest = Manifest::new(media_type, manifest.to_string());
    let digest = registry
        .push_manifest("shop/app", tag, manifest)
        .expect("the tag is valid");
    format!("{}/shop/app@{digest}", registry.host())
        .parse()
        .expect("the reference is valid")
}

fn sha256(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("sha256:{digits}")
}

/// Returns an archive of one executable file (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>,
/// ustar).
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

/// Returns a Service with these arguments of its container.
pub(crate) fn service(args: &[&str]) -> workload::Service {
    let endpoint = workload::Endpoint::new(
        "http".parse().expect("a name"),
        8080.try_into().expect("a port"),
        workload::Protocol::Http,
    );
    let mut service = workload::Service::new(endpoint.into());
    service.container.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    service.container.resources.cpu_request = "10m".parse().expect("a quantity");
    service.container.resources.memory_request = "16Mi".parse().expect("a quantity");
    service
}

/// Returns a target of a component with this name.
pub(crate) fn example(component: &str) -> Target {
    choreo_deploy::conformance::example_target(component)
}

/// Returns a release of an image by digest.
pub(crate) fn release(workload: impl Into<workload::Workload>, image: &ImageReference) -> Release {
    let digest = image.digest().expect("the image has a digest").to_owned();
    let image =
        ReleaseImage::unpinned(image.clone()).pinned(DigestPin::new(digest, Pinning::Claimed));
    Release::new(
        example("orders").component_key(),
        ReleaseNumber::FIRST,
        ReleaseDraft::new(workload.into(), image),
        "2026-01-02T03:04:05Z".parse().expect("a time"),
    )
}

/// Returns `true` if the API server of this cluster reaches its kubelets, and otherwise reports it.
pub(crate) async fn reads_logs(backend: &dyn DeploymentBackend) -> bool {
    use choreo_deploy::backend::{BackendErrorKind, LogQuery};
    let registry = TestRegistry::builder()
        .start()
        .await
        .expect("a registry starts");
    let (target, release) = (
        example("probe"),
        release(service(&[]), &push(&registry, "1", "10001")),
    );
    let intent = Intent::new(&target, Generation::new(0, 1), &release);
    backend.apply(&intent).await.expect("it is applied");
    let every = std::time::Duration::from_millis(300);
    let rollout = choreo_deploy::DeploymentBackendExt::watch_until_settled(
        backend,
        &target,
        intent.generation,
        every,
    );
    rollout.await.expect("it can be looked at");
    let logs = backend.logs().expect("it reads logs");
    match logs.tail(&target, &LogQuery::last(1)).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), BackendErrorKind::Unreachable, "{error}");
            say(&format!(
                "SKIPPED: this cluster's API server does not reach its kubelets: {error}"
            ));
            false
        }
    }
}
