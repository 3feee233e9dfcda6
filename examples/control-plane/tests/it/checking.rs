//! The problems and findings of `check` and `check --connect`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::control_plane::{Site, in_memory, site};
use crate::image::Image;
use crate::kubernetes::{Cluster, DEAD, service};
use crate::registry::Registry;
use crate::{is_installed, skipped};

const KEY: &str = "key = { id = \"2026-11\", env = \"CHOREO_SEALING_KEY\" }";

/// Guards that a store in a folder that does not exist is a problem before the first start, and that
/// nothing is created.
#[test]
fn the_folder_of_the_store_is_looked_for() {
    let configuration = in_memory("registry.example.com");
    let site = Site::new(&configuration, "password");
    site.configure(&format!(
        "{configuration}\n[store]\npath = \"missing/store.db\"\n"
    ));
    site.run(&["check"])
        .expect(2)
        .says("store.path: folder ")
        .says("missing\" does not exist: create it, or choose another");
    assert!(!site.directory().join("missing").exists());
    // A file that is not a database is reported together with another problem.
    std::fs::write(
        site.directory().join("store.db"),
        "no database, and long enough to be read",
    )
    .unwrap();
    let broken = configuration.replace("registry = \"images\"", "registry = \"imagez\"");
    site.configure(&format!("{broken}\n[store]\npath = \"store.db\"\n"));
    site.run(&["check"])
        .expect(2)
        .says("is not a database of choreo-deploy: name another file")
        .says("components[0].registry: ");
}

/// Guards that a key that does not open the store is a problem at its path, before anything is written.
#[test]
fn a_sealing_key_that_does_not_open_the_store_is_a_problem() {
    let configuration = in_memory("registry.example.com");
    let site = Site::new(&configuration, "password");
    drop(site.serve());
    site.run(&["check"]).expect(0);
    std::fs::write(site.directory().join("other.key"), "99".repeat(32)).unwrap();
    for (key, problem) in [
        (
            "key = { id = \"2026-11\", file = \"other.key\" }",
            "sealing.key: is not the key \"2026-11\" that sealed images in the store: use the key of \
             the server",
        ),
        (
            "key = { id = \"new\", file = \"other.key\" }",
            "sealing.older: key \"2026-11\", which sealed images in the store, is missing: add it, or \
             start the server once to seal their credentials again",
        ),
    ] {
        site.configure(&configuration.replace(KEY, key));
        site.run(&["check"]).expect(2).says(problem);
    }
    // The correct way to change the key.
    let both = format!(
        "key = {{ id = \"new\", file = \"other.key\" }}\nolder = [{}]",
        KEY.trim_start_matches("key = ")
    );
    site.configure(&configuration.replace(KEY, &both));
    site.run(&["check"]).expect(0);
}

/// Guards that a store that another program has locked is reported as locked, once.
#[test]
fn a_locked_store_is_said_to_be_locked() {
    if !is_installed("python3") {
        return skipped("python3 is not installed, so no store was locked");
    }
    let site = Site::new(&in_memory("registry.example.com"), "password");
    site.token("orders");
    let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); \
                  db.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()";
    let mut locker = Command::new("python3")
        .args(["-c", script])
        .arg(site.directory().join("control-plane.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut line = String::new();
    let output = locker.stdout.take().expect("its output is a pipe");
    BufReader::new(output)
        .read_line(&mut line)
        .expect("it is read");
    assert_eq!(line, "locked\n");
    let refused = site.run(&["token", "create", "orders"]).expect(7);
    assert_eq!(
        refused.stderr.matches("database is locked").count(),
        1,
        "{refused:?}"
    );
    assert!(!refused.stderr.contains("Error code"), "{refused:?}");
    // A command that only reads does not wait for the lock.
    site.run(&["token", "list", "orders"]).expect(0);
    drop(locker.stdin.take());
    assert!(locker.wait().expect("it ends").success());
    site.token("orders");
}

/// Guards that rows that cannot be read are reported, because the server ignores them.
#[test]
fn rows_that_cannot_be_read_are_shown() {
    let Some((registry, site)) = site() else {
        return;
    };
    if !is_installed("python3") {
        return skipped("python3 is not installed, so no row of the store was broken");
    }
    let image = registry.push("shop/orders", "1", &Image::empty());
    site.run(&["deploy", "orders", &image]).expect(0);
    let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
                  db.execute(\"UPDATE releases SET document = '{}'\"); db.commit()";
    let database = site.directory().join("control-plane.db");
    let broken = Command::new("python3")
        .args(["-c", script])
        .arg(database)
        .status();
    assert!(broken.expect("python3 runs").success());
    site.run(&["check"])
        .expect(0)
        .says("warning: store.path: row ")
        .says(" of releases cannot be read: ");
    let value = site.json(&["check"]);
    let codes: Vec<_> = { value["findings"].as_array().unwrap().iter() }
        .map(|finding| &finding["code"])
        .collect();
    assert!(codes.contains(&&json!("unreadable-row")), "{value}");
}

/// Guards that settings without an effect are reported.
#[test]
fn what_has_no_effect_yet_is_said() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let endpoint = "protocol = \"http\" }";
    let public = "protocol = \"http\", visibility = \"public\", base_path = \"/orders\" }";
    let configuration = in_memory(&registry.host());
    let site = Site::new(&configuration, registry.password());
    let control = site.run(&["check"]).expect(0).says("is valid").stdout;
    assert!(!control.contains("components["), "{control}");
    let place = "warning: registries[0].host: ";
    assert!(
        control.contains(place),
        "a finding has the path of its field: {control}"
    );

    let web = "\n[[components]]\nid = \"front\"\nproject = \"shop\"\ntype = \"web-application\"\n\
               registry = \"images\"\nworkload = { port = 8080 }\n";
    site.configure(&(configuration.replace(endpoint, public) + web));
    site.run(&["check"])
        .expect(0)
        .says(
            "warning: components[0].workload.endpoints[0].visibility: \"public\" has no effect yet: \
             the endpoint cannot be reached from outside the cluster; add your own Ingress",
        )
        .says(
            "warning: components[0].workload.endpoints[0].base_path: has no effect yet",
        )
        .says("warning: components[2].type: a Web Application cannot be reached from outside the cluster");
    let image = registry.push("shop/orders", "1", &Image::empty());
    site.run(&["deploy", "orders", &image])
        .expect(0)
        .complains("orders cannot be reached from outside the cluster yet");
}

/// Returns the results for one data plane or registry.
fn looks<'a>(value: &'a Value, id: &str) -> Vec<&'a Value> {
    let all = value["connections"].as_array().expect("it is a list");
    all.iter().filter(|look| look["id"] == id).collect()
}

/// Guards that every data plane and registry is checked, and that all failures are reported.
#[test]
fn everything_is_tried_at_once() {
    let Some((registry, site)) = site() else {
        return;
    };
    site.run(&["check", "--connect"])
        .expect(0)
        .says("ok       data plane local: in memory\n")
        .says(&format!(
            "ok       registry images: registry \"{}\" accepts the login",
            registry.host()
        ));
    let dead = crate::registry::free_address();
    let more = format!(
        "\n[[registries]]\nid = \"dead\"\nhost = \"{dead}\"\nauthentication = \"public\"\n\
         [[registries]]\nid = \"acr\"\nhost = \"acme.azurecr.io\"\nauthentication = \"vendor\"\n\
         [[data_planes]]\nid = \"eu-1\"\nbackend = \"kubernetes\"\nkubeconfig = \"kubeconfig\"\n"
    );
    std::fs::write(site.directory().join("kubeconfig"), DEAD).unwrap();
    let plain = format!("plain_http = [\"{}\"", registry.host());
    let configuration = in_memory(&registry.host());
    site.configure(&(configuration.replace(&plain, &format!("{plain}, \"{dead}\"")) + &more));
    let outcome = site
        .run_with(&["check", "--connect"], "wrong")
        .expect(1)
        .says("failed   data plane eu-1: the API server does not answer: ")
        .says(&format!(
            "failed   registry dead: registry \"{dead}\" cannot be reached"
        ))
        .says("failed   registry images: ")
        .says("rejects the user name or the password")
        .says("unknown  registry acr: ")
        .says("3 of 5 checks failed");
    assert!(!outcome.stdout.contains("os error"), "{}", outcome.stdout);
    let value = site.run(&["check", "--connect", "--json"]).expect(1).json();
    assert_eq!(value["ok"], false, "{value}");
    let states =
        ["local", "eu-1", "images", "dead", "acr"].map(|id| &looks(&value, id)[0]["state"]);
    assert_eq!(
        states,
        ["ok", "failed", "ok", "failed", "unknown"],
        "{value}"
    );
    // Without `--connect`, nothing is queried.
    let value = site.json(&["check"]);
    assert_eq!(value["connections"], json!(null), "{value}");
}

/// Answers every request with 401, as an API server does for an expired token.
fn refuses_everybody() -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    address
}

/// Guards that a rejected credential is not reported as an API server that does not answer.
#[test]
fn an_api_server_that_refuses_the_credential_is_told() {
    let memory = "backend = \"memory\"";
    let configuration = in_memory("registry.example.com");
    assert!(configuration.contains(memory));
    let dead = "backend = \"kubernetes\"\nkubeconfig = \"kubeconfig\"";
    let site = Site::new(&configuration.replace(memory, dead), "password");
    let server = format!("http://{}", refuses_everybody());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{ "name": "a", "cluster": { "server": server } }],
        "users": [{ "name": "a", "user": { "token": "over" } }],
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
    });
    let kubeconfig = kubeconfig.to_string();
    std::fs::write(site.directory().join("kubeconfig"), kubeconfig).unwrap();
    site.run(&["check", "--connect"]).expect(1).says(
        "failed   data plane local: the API server rejects the credential: renew the one in the kubeconfig",
    );
}

/// Guards that a check that was not possible is reported with its reason: without the password of a
/// registry, and without a sealing key.
#[test]
fn what_is_not_asked_is_told() {
    let password = "IMAGES_PASSWORD";
    let configuration = in_memory("registry.example.com");
    let site = Site::new(&configuration.replace(password, "NEVER_SET"), "password");
    site.run(&["check", "--connect"])
        .expect(2)
        .says("unknown  registry images: the credential cannot be read");
    let site = Site::new(
        &configuration.replace("CHOREO_SEALING_KEY", "NEVER_SET"),
        "password",
    );
    let said = "no data plane or registry was checked";
    site.run(&["check", "--connect"]).expect(2).says(said);
    let value = site.run(&["check", "--connect", "--json"]).expect(2).json();
    assert!(
        value["not_asked"]
            .as_str()
            .is_some_and(|text| text.contains(said)),
        "{value}"
    );
    let value = site.run(&["check", "--json"]).expect(2).json();
    assert_eq!(value["not_asked"], json!(null), "{value}");
}

/// Guards, on a real cluster, that versions, permissions and namespaces are checked with the identity
/// that deploys there.
#[test]
fn a_cluster_says_what_it_permits() {
    let (Some(cluster), Some(registry)) = (Cluster::find(), Registry::start()) else {
        return;
    };
    let site = cluster.site(&registry, &[service("orders")]);
    site.run(&["check", "--connect"])
        .expect(0)
        .says("ok       data plane local: Kubernetes v1.")
        .says("ok       data plane local: all needed permissions are granted in all namespaces");

    let (there, gone) = (
        format!("{}-acme", cluster.prefix()),
        format!("{}-gone", cluster.prefix()),
    );
    let made = format!(
        "namespaces = {{ create = {{ prefix = {:?} }} }}",
        cluster.prefix()
    );
    let plane = cluster.data_plane(0);
    assert!(plane.contains(&made), "{plane}");
    let plane = plane.replace(&made, &format!("namespaces = {{ existing = {gone:?} }}"));
    let base = crate::control_plane::base(&registry.host());
    site.configure(&format!("{base}{plane}{}", service("orders")));
    site.run(&["check", "--connect"]).expect(1).says(&format!(
        "failed   data plane local: namespace {gone} does not exist; create it"
    ));

    // A user with some permissions in one namespace, and none in another one, which does not exist.
    cluster.kubectl(&["create", "namespace", &there]);
    cluster.kubectl(&["-n", &there, "create", "serviceaccount", "control"]);
    let verbs = "--verb=get,list,create,patch,update,delete";
    let most = "--resource=configmaps,serviceaccounts,services,deployments.apps,cronjobs.batch,\
                jobs.batch,poddisruptionbudgets.policy,horizontalpodautoscalers.autoscaling,pods,\
                replicasets.apps,pods/log,events";
    cluster.kubectl(&["-n", &there, "create", "role", "most", verbs, most]);
    let account = format!("--serviceaccount={there}:control");
    cluster.kubectl(&[
        "-n",
        &there,
        "create",
        "rolebinding",
        "most",
        "--role=most",
        &account,
    ]);
    let kubeconfig = cluster.kubeconfig_of(&there, "control");
    std::fs::write(site.directory().join("kubeconfig"), kubeconfig).unwrap();
    let policy =
        format!("namespaces = {{ map = {{ development = {there:?}, production = {gone:?} }} }}");
    let configuration = base
        + "\n[[data_planes]]\nid = \"local\"\nbackend = \"kubernetes\"\nkubeconfig = \"kubeconfig\"\n"
        + &format!("[data_planes.policy]\n{policy}\n")
        + &service("orders");
    site.configure(&configuration);
    let value = site.run(&["check", "--connect", "--json"]).expect(1).json();
    let looks = looks(&value, "local");
    let said: Vec<_> = { looks.iter() }
        .filter_map(|look| look["message"].as_str())
        .collect();
    let said = said.join("\n");
    for expected in [
        format!("answers as system:serviceaccount:{there}:control"),
        format!(
            "permissions are missing in namespace {there}: create secrets, delete secrets, get secrets, patch \
             secrets"
        ),
        format!("permissions are missing in namespace {gone}: "),
    ] {
        assert!(said.contains(&expected), "{expected} is not in\n{said}");
    }
}
