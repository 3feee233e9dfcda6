//! Data planes that cannot be connected, or only slowly.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::control_plane::{Serve, Site, in_memory};
use crate::image::Image;
use crate::kubernetes::Cluster;
use crate::registry::Registry;
use crate::{is_installed, skipped, wait_for};

/// A valid kubeconfig for a cluster that receives no requests.
const GOOD: &str = r#"{
    "apiVersion": "v1", "kind": "Config", "current-context": "eu-1",
    "clusters": [{ "name": "eu-1", "cluster": { "server": "http://127.0.0.1:1" } }],
    "users": [{ "name": "eu-1", "user": {} }],
    "contexts": [{ "name": "eu-1", "context": { "cluster": "eu-1", "user": "eu-1" } }]
}"#;

/// Returns a configuration with this access to the cluster of production.
fn with_cluster(registry: &str, access: &str) -> String {
    let production = "id = \"production\"\ndata_plane = ";
    in_memory(registry).replace(
        &format!("{production}\"local\""),
        &format!("{production}\"eu-1\""),
    ) + &format!("\n[[data_planes]]\nid = \"eu-1\"\nbackend = \"kubernetes\"\n{access}\n")
}

fn readyz(serve: &Serve) -> (u16, String) {
    let answer = serve.get("none", "/readyz").expect("it answers");
    (answer.status, answer.body)
}

/// Guards that `serve` starts and works with the other data planes, that each output names the one that
/// is not connected and the reason, and that it is connected as soon as possible.
#[test]
fn one_broken_kubeconfig_stops_only_its_data_plane() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("eu-1.yaml");
    let access = format!("kubeconfig = {kubeconfig:?}");
    let site = Site::new(
        &with_cluster(&registry.host(), &access),
        registry.password(),
    );

    let missing = "No such file or directory";
    site.run(&["check"])
        .expect(2)
        .says("data_planes[1].kubeconfig: cannot be connected: ")
        .says(missing);
    let serve = site.serve();
    let (status, body) = readyz(&serve);
    assert_eq!(status, 200, "the others go on: {body}");
    assert!(
        body.starts_with("ok, but not every data plane is connected"),
        "{body}"
    );
    site.ok(&["deploy", "orders", &image]);
    site.run(&["deploy", "orders", &image, "--environment", "production"])
        .expect(7)
        .complains("data plane eu-1 is not connected: ")
        .complains(missing);

    std::fs::write(&kubeconfig, GOOD).unwrap();
    site.ok(&["check"]);
    let look = || (readyz(&serve) == (200, "ok".to_owned())).then_some(());
    wait_for("connecting", Duration::from_secs(30), look, || {
        format!("{:?}", readyz(&serve))
    });
    serve
        .terminate()
        .expect(0)
        .complains("not connected data_plane=eu-1");
}

/// A kubeconfig whose credential plugin has a secret in its command line and writes another one.
const PLUGIN: &str = r#"{
    "apiVersion": "v1", "kind": "Config", "current-context": "eu-1",
    "clusters": [{ "name": "eu-1", "cluster": { "server": "http://127.0.0.1:1" } }],
    "users": [{ "name": "eu-1", "user": { "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "sh", "args": ["-c", "echo hunter2-written; exit 3", "hunter2-argument"],
        "env": [{ "name": "PASSWORD", "value": "hunter2-variable" }]
    } } }],
    "contexts": [{ "name": "eu-1", "context": { "cluster": "eu-1", "user": "eu-1" } }]
}"#;

/// Guards that the failure of a credential plugin is reported without its command line, environment and
/// output.
#[test]
fn no_secret_of_a_credential_plugin_is_told() {
    let access = "kubeconfig = \"eu-1.yaml\"";
    let site = Site::new(&with_cluster("localhost:5000", access), "irrelevant").logging("debug");
    std::fs::write(site.directory().join("eu-1.yaml"), PLUGIN).unwrap();
    let why = "the credential plugin of the kubeconfig failed with exit status 3";
    let image = "localhost:5000/shop/orders:1";
    let deploy = ["deploy", "orders", image, "--environment", "production"];
    let checked = site.run(&["check"]).expect(2).says(why);
    let connected = site.run(&["check", "--connect"]).expect(2).says(why);
    let listed = site.run(&["check", "--json"]).expect(2).says(why);
    let deployed = site.run(&deploy).expect(7).complains(why);
    let served = site.serve().terminate().expect(0).complains(why);
    for outcome in [checked, connected, listed, deployed, served] {
        let text = outcome.stdout + &outcome.stderr;
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// Guards that a missing service account is reported like a missing kubeconfig.
#[test]
fn the_service_account_of_no_pod_is_told() {
    let site = Site::new(
        &with_cluster("localhost:5000", "in_cluster = true"),
        "irrelevant",
    );
    site.run(&["check"])
        .expect(2)
        .says("data_planes[1].in_cluster: cannot be connected: the service account of a pod was not found: ");
    // Together with another problem.
    let broken = with_cluster("localhost:5000", "in_cluster = true")
        .replace("CHOREO_SEALING_KEY", "CHOREO_TEST_NEVER_SET");
    site.configure(&broken);
    site.run(&["check"])
        .expect(2)
        .says("sealing.key: ")
        .says("data_planes[1].in_cluster: cannot be connected: ");
}

/// Imitates a pod: the token and the certificate of the cluster are at their paths in a mount namespace.
const POD: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
cp "$FILES"/token "$FILES"/ca.crt "$FILES"/namespace /run/secrets/kubernetes.io/serviceaccount
"$PROGRAM" --config "$FILES"/control-plane.toml check
exec "$PROGRAM" --config "$FILES"/control-plane.toml logs orders --environment production
"#;

/// Guards that requests to the cluster use the service account of the pod.
#[test]
fn the_service_account_of_a_pod_is_used() {
    let Some(cluster) = Cluster::find() else {
        return;
    };
    let in_a_namespace = || Command::new("unshare").arg("-rm").arg("true").status();
    if !is_installed("unshare") || !in_a_namespace().is_ok_and(|status| status.success()) {
        return skipped(
            "unshare makes no mount namespace, so no service account of a pod was tried",
        );
    }
    let namespace = format!("{}-pod", cluster.prefix());
    cluster.kubectl(&["create", "namespace", &namespace]);
    cluster.kubectl(&["-n", &namespace, "create", "serviceaccount", "choreo"]);
    let token = cluster.kubectl(&["-n", &namespace, "create", "token", "choreo"]);
    let view = ["config", "view", "--raw", "--flatten", "--minify", "-o"];
    let of_cluster = |field: &str| {
        let path = format!("jsonpath={{.clusters[0].cluster.{field}}}");
        cluster.kubectl(&[&view[..], &[path.as_str()]].concat())
    };
    let certificate = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        of_cluster("certificate-authority-data"),
    );
    let server = of_cluster("server");
    let (host, port) = server
        .strip_prefix("https://")
        .and_then(|server| server.rsplit_once(':'))
        .expect("a host and a port");
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        std::fs::write(files.path().join(name), content).expect("it is written");
    };
    write("token", token.trim().as_bytes());
    write("ca.crt", &certificate.expect("a certificate"));
    write("namespace", namespace.as_bytes());
    let configuration = with_cluster("localhost:5000", "in_cluster = true");
    write("control-plane.toml", configuration.as_bytes());
    let ran = Command::new("unshare")
        .args(["-rm", "sh", "-c", POD])
        .env("FILES", files.path())
        .env("PROGRAM", env!("CARGO_BIN_EXE_control-plane"))
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port)
        .env("CHOREO_SEALING_KEY", "5ea1".repeat(16))
        .env("IMAGES_PASSWORD", "irrelevant")
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    // The account has no permissions, and the error names it.
    let account = format!("system:serviceaccount:{namespace}:choreo");
    assert!(
        said.contains(&account),
        "{account} is not in {said}\n{ran:?}"
    );
}

/// A kubeconfig whose credential plugin records each start in a file, waits, and returns a token.
const SLOW: &str = r#"{
    "apiVersion": "v1", "kind": "Config", "current-context": "eu-1",
    "clusters": [{ "name": "eu-1", "cluster": { "server": "http://127.0.0.1:1" } }],
    "users": [{ "name": "eu-1", "user": { "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "sh", "args": ["-c", "echo >> STARTS; sleep SECONDS; cat CREDENTIAL"]
    } } }],
    "contexts": [{ "name": "eu-1", "context": { "cluster": "eu-1", "user": "eu-1" } }]
}"#;

/// The output of a credential plugin.
const CREDENTIAL: &str = r#"{
    "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
    "status": { "token": "abc" }
}"#;

/// The seconds of a plugin that hangs: longer than any command waits.
const HANGS: u32 = 120;
/// The seconds of a plugin that is slow, and not longer than a command waits.
const WORKS: u32 = 12;

/// Returns a configuration with `count` clusters whose credential plugins take so many seconds.
fn with_plugins(registry: &str, (count, seconds): (usize, u32), site: &Path) -> String {
    let mut text = with_cluster(registry, "kubeconfig = \"eu-1.yaml\"");
    let credential = site.join("credential.json");
    std::fs::write(&credential, CREDENTIAL).expect("it is written");
    for number in 1..=count {
        let starts = site.join(format!("starts-{number}"));
        let plugin = SLOW
            .replace("STARTS", &starts.display().to_string())
            .replace("SECONDS", &seconds.to_string())
            .replace("CREDENTIAL", &credential.display().to_string());
        std::fs::write(site.join(format!("eu-{number}.yaml")), plugin).expect("it is written");
        if number > 1 {
            text += &format!(
                "\n[[data_planes]]\nid = \"eu-{number}\"\nbackend = \"kubernetes\"\n\
                 kubeconfig = \"eu-{number}.yaml\"\n"
            );
        }
    }
    text
}

/// Returns the number of starts of the credential plugin of the first cluster.
fn starts(site: &Site) -> usize {
    let starts = std::fs::read_to_string(site.directory().join("starts-1"));
    starts.map_or(0, |starts| starts.lines().count())
}

/// The longest time that a command waits for a data plane, and some time to run.
const LATE: Duration = Duration::from_secs(36);

/// Guards that credential plugins that hang affect only their own data planes, that several take no
/// longer than one, that the output names each, and that none is started again while it hangs.
#[test]
fn credential_plugins_that_hang_stop_only_their_data_planes() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    std::thread::scope(|scope| {
        for count in [1, 3] {
            let (registry, image) = (&registry, &image);
            scope.spawn(move || hanging_plugins(count, registry, image));
        }
    });
}

fn hanging_plugins(count: usize, registry: &Registry, image: &str) {
    let site = Site::new(&in_memory(&registry.host()), registry.password());
    site.configure(&with_plugins(
        &registry.host(),
        (count, HANGS),
        site.directory(),
    ));
    let begun = Instant::now();
    let checking = site.start(&["check"]);
    let serve = site.serve();
    let (status, body) = readyz(&serve);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("not every data plane"), "{body}");
    let token = site.token("orders");
    let deployment = serve.follow(&token, &serve.accept(&token, image));
    assert_eq!(deployment["phase"], "ready", "{deployment}");
    let mut check = checking.wait().expect(2);
    assert!(begun.elapsed() < LATE, "{count}: {:?}", begun.elapsed());
    for number in 1..=count {
        check = check.says(&format!(
            "data_planes[{number}].kubeconfig: cannot be connected: no connection within 30 seconds"
        ));
    }
    // Meanwhile, the server has tried to connect several times, every 5 seconds.
    assert_eq!(starts(&site), 2, "by `check` and by `serve`, once each");
    let begun = Instant::now();
    let mut served = serve.terminate().expect(0);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{count}: {took:?}");
    for number in 1..=count {
        served = served.complains(&format!("data_plane=eu-{number}"));
    }
}

/// Guards that a command that needs a data plane waits for its slow credential plugin and starts it once,
/// and that a command that does not need the data plane waits only briefly.
#[test]
fn a_slow_credential_plugin_works() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let image = registry.push("shop/orders", "1", &Image::empty());
    let site = || {
        let site = Site::new(&in_memory(&registry.host()), registry.password());
        let plugins = with_plugins(&registry.host(), (1, WORKS), site.directory());
        site.configure(&plugins);
        site
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let site = site();
            let deploy = ["deploy", "orders", &image, "--environment", "production"];
            let mut running = site.start(&deploy);
            // There is no cluster, so the deployment cannot make more progress.
            let is_asked = || {
                let text = running.text();
                text.contains("the API server cannot be reached")
                    .then_some(text)
            };
            let text = wait_for("connecting", LATE, is_asked, || running.text());
            assert!(text.contains("waiting for data plane eu-1"), "{text}");
            assert!(!text.contains("not connected"), "{text}");
            assert!(!running.is_over(), "{text}");
            assert_eq!(starts(&site), 1, "{text}");
        });
        scope.spawn(|| {
            let site = site();
            let logs = site.run(&["logs", "orders", "--environment", "production"]);
            logs.expect(7)
                .complains("data plane eu-1 does not show its logs now");
            assert_eq!(starts(&site), 1);
        });
        scope.spawn(|| {
            let site = site();
            let begun = Instant::now();
            site.ok(&["deploy", "orders", &image]);
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(9), "{took:?}");
        });
        scope.spawn(|| {
            // The component also runs in production, which the command does not touch.
            let site = Site::new(&in_memory(&registry.host()), registry.password());
            let plugins = with_plugins(&registry.host(), (1, WORKS), site.directory());
            let access = "backend = \"kubernetes\"\nkubeconfig = \"eu-1.yaml\"";
            assert!(plugins.contains(access), "{plugins}");
            site.configure(&plugins.replace(access, "backend = \"memory\""));
            site.ok(&["deploy", "orders", &image]);
            site.ok(&["promote", "orders"]);
            site.configure(&plugins);
            let begun = Instant::now();
            let deployed = site.ok(&["deploy", "orders", &image]);
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(9), "{took:?}: {deployed:?}");
        });
        scope.spawn(|| {
            let site = site();
            site.ok(&["check"]);
            assert_eq!(starts(&site), 1);
        });
    });
}

/// Guards that `check --connect` starts a credential plugin that hangs once, waits for it once and
/// reports it once.
#[test]
fn check_waits_once_for_a_credential_plugin() {
    let site = Site::new(&in_memory("localhost:5000"), "irrelevant");
    let plugins = with_plugins("localhost:5000", (1, HANGS), site.directory());
    site.configure(&plugins);
    let begun = Instant::now();
    let checked = site.run(&["check", "--connect"]).expect(2);
    assert!(begun.elapsed() < LATE, "{:?}", begun.elapsed());
    assert_eq!(starts(&site), 1, "{checked:?}");
    let why = "no connection within 30 seconds";
    assert_eq!(checked.stdout.matches(why).count(), 1, "{checked:?}");
    checked.says("unknown  data plane eu-1: not connected, so not checked");
}

/// Guards that `check --connect` sends the token of a credential plugin, with and without an expiry,
/// and starts the plugin once.
#[test]
fn the_token_of_a_credential_plugin_is_sent() {
    let server = format!("http://{}", accepts_the_token());
    for (expiry, token, version) in [
        ("", "abc", true),
        (
            r#", "expirationTimestamp": "2999-01-01T00:00:00Z""#,
            "abc",
            true,
        ),
        // The control: the server rejects another token.
        ("", "abd", false),
    ] {
        let site = Site::new(&in_memory("localhost:5000"), "irrelevant");
        site.configure(&with_plugins("localhost:5000", (1, 0), site.directory()));
        let replace = |file: &str, from: &str, to: &str| {
            let path = site.directory().join(file);
            let text = std::fs::read_to_string(&path).expect("it was written");
            assert!(text.contains(from), "{text}");
            std::fs::write(path, text.replace(from, to)).expect("it is written");
        };
        replace("eu-1.yaml", "http://127.0.0.1:1", &server);
        let credential = format!("\"{token}\"{expiry}");
        replace("credential.json", "\"abc\"", &credential);
        let checked = site.run(&["check", "--connect"]).expect(1);
        assert_eq!(starts(&site), 1, "{checked:?}");
        checked.says(match version {
            true => "ok       data plane eu-1: Kubernetes v1.99.0 answers as an unknown user",
            false => "failed   data plane eu-1: the API server rejects the credential",
        });
    }
}

/// Starts an API server that returns its version to the token of the plugin, and rejects everything else.
fn accepts_the_token() -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
            let (status, body) = match head.contains("\r\nauthorization: bearer abc\r\n") {
                true if head.starts_with("get /version ") => ("200 OK", VERSION),
                true => ("403 Forbidden", r#"{"kind":"Status","code":403}"#),
                false => ("401 Unauthorized", r#"{"kind":"Status","code":401}"#),
            };
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    address
}

const VERSION: &str = r#"{
    "buildDate": "", "compiler": "", "gitCommit": "", "gitTreeState": "", "gitVersion": "v1.99.0",
    "goVersion": "", "major": "1", "minor": "99", "platform": ""
}"#;
