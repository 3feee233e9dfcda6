//! The program under test: commands with a deadline, and `serve` with its address.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Answer};
use crate::registry::{Registry, USERNAME};
use crate::wait_for;

/// The maximum time for any command of these tests.
const PATIENCE: Duration = Duration::from_secs(180);
const SEALING_KEY: &str = "5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1";

/// A directory with a configuration, a database, and all output of the program.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
    password: String,
    log: &'static str,
    count: AtomicU32,
}

/// The exit status and the output of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running command. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A running `serve`. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Serve {
    running: Running,
    address: SocketAddr,
}

impl Site {
    pub(crate) fn new(configuration: &str, password: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        std::fs::create_dir(directory.path().join("output")).expect("a directory can be made");
        let site = Self {
            directory,
            password: password.to_owned(),
            log: "info",
            count: AtomicU32::new(0),
        };
        site.configure(configuration);
        site
    }

    /// Sets `RUST_LOG` for the commands. An empty text removes it.
    pub(crate) fn logging(mut self, log: &'static str) -> Self {
        self.log = log;
        self
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, configuration: &str) {
        std::fs::write(self.configuration(), configuration).expect("the configuration is written");
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("control-plane.toml")
    }

    /// Sets the public URL in the configuration.
    pub(crate) fn publish(&self, address: SocketAddr) {
        let text = std::fs::read_to_string(self.configuration()).expect("it is there");
        let url = format!("listen = \"127.0.0.1:0\"\npublic_url = \"http://{address}\"");
        self.configure(&text.replace("listen = \"127.0.0.1:0\"", &url));
    }

    /// Returns the directory of the configuration.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the directory with all output of the program.
    pub(crate) fn output(&self) -> PathBuf {
        self.directory.path().join("output")
    }

    /// Starts a command.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &self.password)
    }

    /// Starts a command with this password for the registry.
    fn start_with(&self, arguments: &[&str], password: &str) -> Running {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let file = |what: &str| {
            self.output()
                .join(format!("{number}-{}.{what}", arguments[0]))
        };
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let create = |path: &Path| File::create(path).expect("a file can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
        match self.log {
            "" => command.env_remove("RUST_LOG"),
            log => command.env("RUST_LOG", log),
        };
        let child = command
            .arg("--config")
            .arg(self.configuration())
            .args(arguments)
            .env("CHOREO_SEALING_KEY", SEALING_KEY)
            .env("IMAGES_PASSWORD", password)
            .stdin(Stdio::null())
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .spawn()
            .expect("the program starts");
        Running {
            child,
            stdout,
            stderr,
        }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.start(arguments).wait()
    }

    /// Runs a command without any secret in its environment.
    pub(crate) fn run_without_secrets(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
        let ran = { command.arg("--config").arg(self.configuration()) }
            .args(arguments)
            .env_remove("CHOREO_SEALING_KEY")
            .env_remove("IMAGES_PASSWORD")
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
        Outcome {
            status: ran.status.code().expect("it ends by itself"),
            stdout: text(ran.stdout),
            stderr: text(ran.stderr),
        }
    }

    /// Runs a command with this password for the registry.
    pub(crate) fn run_with(&self, arguments: &[&str], password: &str) -> Outcome {
        self.start_with(arguments, password).wait()
    }

    /// Runs a command that must succeed, and returns its standard output.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).expect(0).stdout
    }

    /// Runs a command with `--json` that must succeed, and returns its value.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        self.run(&arguments).expect(0).json()
    }

    /// Creates a token for a component.
    #[track_caller]
    pub(crate) fn token(&self, component: &str) -> String {
        self.ok(&["token", "create", component]).trim().to_owned()
    }

    /// Starts `serve`, and waits until it listens.
    #[track_caller]
    pub(crate) fn serve(&self) -> Serve {
        let mut running = self.start(&["serve"]);
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let stdout = std::fs::read_to_string(&running.stdout).unwrap_or_default();
            // The whole line, because half of an address is also an address.
            if let Some((line, _)) = stdout.split_once('\n') {
                let address = line.strip_prefix("listening on http://");
                let address = address.and_then(|address| address.parse().ok());
                let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
                return Serve { running, address };
            }
            let is_over = running.child.try_wait().expect("it can be asked").is_some();
            assert!(
                !is_over && Instant::now() < end,
                "serve does not listen\n{}",
                running.text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Outcome {
    /// Returns itself if the exit status is this one.
    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(
            self.status, status,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Returns itself if the standard output contains these words.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stdout.contains(words),
            "{words:?} is not in\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Returns itself if the standard error contains these words.
    #[track_caller]
    pub(crate) fn complains(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "{words:?} is not in\n{}\n{}",
            self.stderr,
            self.stdout
        );
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON: {error}\n{}\n{}", self.stdout, self.stderr))
    }
}

impl Running {
    pub(crate) fn wait(mut self) -> Outcome {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                break status;
            }
            assert!(
                Instant::now() < end,
                "a command did not end\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        let read = |path| std::fs::read_to_string(path).expect("it was written");
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        let status = status
            .code()
            .unwrap_or_else(|| panic!("it ended by a signal\n{stderr}"));
        Outcome {
            status,
            stdout,
            stderr,
        }
    }

    /// Returns the output so far.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for path in [&self.stdout, &self.stderr] {
            let written = std::fs::read_to_string(path).unwrap_or_default();
            let _ = writeln!(text, "{}:\n{written}", path.display());
        }
        text
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &process])
            .status();
        assert!(
            sent.expect("kill runs").success(),
            "signal {signal} is not sent"
        );
    }

    /// Returns `true` if it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serve {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends SIGKILL, so that the process cannot clean up.
    pub(crate) fn kill(self) {
        drop(self.running);
    }

    /// Sends SIGTERM, and waits for the end.
    pub(crate) fn terminate(self) -> Outcome {
        self.running.signal("TERM");
        self.running.wait()
    }

    /// Posts a body, as CI does.
    #[track_caller]
    pub(crate) fn post(&self, token: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend(headers);
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            all.push(("content-type", "application/json"));
        }
        let answer = http::send(self.address, "POST /v1/deployments", &all, body.as_bytes());
        answer.unwrap_or_else(|error| panic!("no answer: {error}\n{}", self.running.text()))
    }

    /// Posts an image that must be accepted, and returns the path of the deployment.
    #[track_caller]
    pub(crate) fn accept(&self, token: &str, image: &str) -> String {
        let key = format!("key-{:x}", crate::random());
        let body = serde_json::json!({ "image": image }).to_string();
        let answer = self.post(token, &[("idempotency-key", &key)], &body);
        assert_eq!(answer.status, 202, "{answer:?}");
        let location = answer
            .header("location")
            .expect("it says where the deployment is");
        format!("/v1/{location}")
    }

    pub(crate) fn get(&self, token: &str, path: &str) -> std::io::Result<Answer> {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        http::send(self.address, &format!("GET {path}"), &headers, b"")
    }

    /// Waits for the end of a deployment.
    #[track_caller]
    pub(crate) fn follow(&self, token: &str, location: &str) -> Value {
        let look = || {
            let answer = self.get(token, &format!("{location}?wait=5")).ok()?;
            assert_eq!(answer.status, 200, "{answer:?}");
            Some(answer.json()).filter(|deployment| deployment["final"] == true)
        };
        wait_for(location, PATIENCE, look, || self.running.text())
    }
}

/// Returns the beginning of each configuration. It needs a data plane `local`.
pub(crate) fn base(registry_host: &str) -> String {
    format!(
        r#"organization = "acme"

[server]
listen = "127.0.0.1:0"

[sealing]
key = {{ id = "2026-11", env = "CHOREO_SEALING_KEY" }}

[egress]
networks = ["127.0.0.0/8"]
plain_http = ["{registry_host}"]

[[registries]]
id = "images"
display_name = "Images"
host = "{registry_host}"
authentication = "basic"
username = "{USERNAME}"
password = {{ env = "IMAGES_PASSWORD" }}

[[environments]]
id = "development"
data_plane = "local"

[[environments]]
id = "production"
data_plane = "local"
"#
    )
}

/// Returns a configuration with a data plane in memory, a Service `orders` and a Manual Task `report`.
pub(crate) fn in_memory(registry_host: &str) -> String {
    base(registry_host)
        + r#"
[deployer]
lease_seconds = 1

[[data_planes]]
id = "local"
backend = "memory"

[[components]]
id = "orders"
project = "shop"
type = "service"
registry = "images"

[components.workload]
endpoints = [{ name = "http", port = 8080, protocol = "http" }]

[components.settings.production]
scaling = { replicas = 3 }

[[components]]
id = "report"
project = "shop"
type = "manual-task"
registry = "images"
"#
}

/// Returns a site with a registry and everything else in memory. Without a registry, it reports that and
/// returns `None`.
pub(crate) fn site() -> Option<(Registry, Site)> {
    let registry = Registry::start()?;
    let site = Site::new(&in_memory(&registry.host()), registry.password());
    Some((registry, site))
}
