//! The cluster under test, and queries to it that bypass the program.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;

use crate::control_plane::{Site, base};
use crate::registry::Registry;
use crate::{http, is_installed, random, skipped};

/// The variable that names the kubeconfig of a cluster for tests.
const VARIABLE: &str = "CHOREO_TEST_KUBECONFIG";

/// A valid kubeconfig for a cluster that does not answer.
pub(crate) const DEAD: &str = r#"{
    "apiVersion": "v1", "kind": "Config", "current-context": "a",
    "clusters": [{ "name": "a", "cluster": { "server": "http://127.0.0.1:9" } }],
    "users": [{ "name": "a", "user": {} }],
    "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }]
}"#;

/// The namespaces of one test on the cluster. They are deleted when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    kubeconfig: String,
    prefix: String,
}

impl Cluster {
    /// Returns the cluster. If there is none, it reports that and returns `None`.
    pub(crate) fn find() -> Option<Self> {
        static SAID: Once = Once::new();
        let Ok(kubeconfig) = std::env::var(VARIABLE) else {
            SAID.call_once(|| {
                skipped(&format!(
                    "{VARIABLE} names no cluster, so nothing was deployed to Kubernetes"
                ));
            });
            return None;
        };
        if !is_installed("kubectl") {
            SAID.call_once(|| {
                skipped("kubectl is not installed, so nothing was deployed to Kubernetes")
            });
            return None;
        }
        let prefix = format!("e2e{:08x}", random() as u32);
        Some(Self { kubeconfig, prefix })
    }

    /// Returns the data plane `local` on the cluster, with short times for tests and this number of seconds
    /// between the deletion of a pod and its signal.
    pub(crate) fn data_plane(&self, pre_stop_seconds: u32) -> String {
        let Self { kubeconfig, prefix } = self;
        format!(
            r#"
[deployer]
lease_seconds = 2

[[data_planes]]
id = "local"
backend = "kubernetes"
kubeconfig = {kubeconfig:?}

[data_planes.policy]
namespaces = {{ create = {{ prefix = "{prefix}" }} }}

[data_planes.policy.timing]
min-ready-seconds = 1
pre-stop-seconds = {pre_stop_seconds}
termination-seconds = 5
"#
        )
    }

    /// Returns a site with this data plane and these components.
    pub(crate) fn site(&self, registry: &Registry, components: &[String]) -> Site {
        let configuration = base(&registry.host()) + &self.data_plane(0) + &components.concat();
        Site::new(&configuration, registry.password())
    }

    /// Returns a kubeconfig for a service account.
    #[track_caller]
    pub(crate) fn kubeconfig_of(&self, namespace: &str, account: &str) -> String {
        let view = [
            "config",
            "view",
            "--raw",
            "--flatten",
            "--minify",
            "-o",
            "json",
        ];
        let mut config: Value = serde_json::from_str(&self.kubectl(&view)).expect("JSON");
        let token = self.kubectl(&["-n", namespace, "create", "token", account]);
        config["users"][0]["user"] = serde_json::json!({ "token": token.trim() });
        config.to_string()
    }

    /// Returns the prefix of its namespaces, which no others have.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let ran = Command::new("kubectl")
            .args(["--kubeconfig", &self.kubeconfig, "--request-timeout", "30s"])
            .args(arguments)
            .output()
            .expect("kubectl runs");
        let words = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "kubectl {arguments:?}: {words}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Returns the objects of a kind that a component has in the namespaces of this test.
    #[track_caller]
    pub(crate) fn objects(&self, kind: &str, component: &str) -> Vec<Value> {
        let selector = format!("choreo.dev/component={component}");
        let list = self.kubectl(&["get", kind, "-A", "-l", &selector, "-o", "json"]);
        let list: Value = serde_json::from_str(&list).expect("kubectl writes JSON");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .filter(|item| namespace(item).starts_with(&self.prefix))
            .collect()
    }

    /// Returns the addresses of the ready pods of a component, which its Service sends traffic to, from the
    /// EndpointSlices.
    #[track_caller]
    pub(crate) fn endpoints(&self, component: &str) -> Vec<SocketAddr> {
        let services = self.objects("services", component);
        let [service] = &services[..] else {
            panic!("one Service is expected: {services:?}")
        };
        let selector = format!("kubernetes.io/service-name={}", name(service));
        let arguments = [
            "get",
            "endpointslices",
            "-n",
            namespace(service),
            "-l",
            &selector,
            "-o",
            "json",
        ];
        let list: Value = serde_json::from_str(&self.kubectl(&arguments)).expect("JSON");
        let mut endpoints = Vec::new();
        for slice in list["items"].as_array().into_iter().flatten() {
            let Some(port) = slice["ports"][0]["port"].as_u64() else {
                continue;
            };
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                if endpoint["conditions"]["ready"] == true {
                    let ip = endpoint["addresses"][0].as_str().expect("an address");
                    let ip = ip.parse().expect("an IP address");
                    endpoints.push(SocketAddr::new(ip, port.try_into().expect("a port")));
                }
            }
        }
        endpoints
    }

    /// Returns the answers of the ready pods of a component, as soon as there are any.
    pub(crate) fn answers(&self, component: &str) -> Vec<String> {
        let look = || Some(self.endpoints(component)).filter(|found| !found.is_empty());
        let show = || format!("{:#?}", self.objects("pods", component));
        let endpoints = crate::wait_for("a ready endpoint", Duration::from_secs(20), look, show);
        let get = |address: &SocketAddr| {
            let answer = http::send(*address, "GET /", &[], b"");
            let answer =
                answer.unwrap_or_else(|error| panic!("{address} does not answer: {error}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.body
        };
        endpoints.iter().map(get).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let list = Command::new("kubectl")
            .args([
                "--kubeconfig",
                &self.kubeconfig,
                "get",
                "namespaces",
                "-o",
                "name",
            ])
            .output();
        let Ok(list) = list else { return };
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        let prefix = format!("namespace/{}", self.prefix);
        let mine: Vec<&str> = list
            .lines()
            .filter(|name| name.starts_with(&prefix))
            .collect();
        if !mine.is_empty() {
            let _ = Command::new("kubectl")
                .args(["--kubeconfig", &self.kubeconfig, "delete", "--wait=false"])
                .args(mine)
                .output();
        }
    }
}

pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Returns a component of the project `shop`, with the fields of its workload before those of its
/// container.
pub(crate) fn component(id: &str, kind: &str, registry: &str, workload: &str) -> String {
    format!(
        r#"
[[components]]
id = "{id}"
project = "shop"
type = "{kind}"
registry = "{registry}"

[components.workload]
{workload}

[components.workload.container]
resources = {{ cpu_request = "10m", memory_request = "16Mi" }}
"#
    )
}

/// Returns a Service with one endpoint and a deadline of one minute.
pub(crate) fn service(id: &str) -> String {
    component(id, "service", "images", SERVICE)
}

/// The fields of the workload of such a Service.
pub(crate) const SERVICE: &str =
    "endpoints = [{ name = \"http\", port = 8080, protocol = \"http\" }]\nprogress_deadline = 60";
