//! Measures the start of a control plane, and its consumption when it is idle.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{COMPONENTS, Outcome, copy};

const KEY: &str = "5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1ed5ea1";
const ROUNDS: usize = 5;
/// The time until the memory of the start is freed.
const IDLE: Duration = Duration::from_secs(5);

/// Starts the program several times and prints each result.
pub(crate) fn start(program: &str, file: &Path) -> Outcome {
    let (_database, directory) = copy(file)?;
    let configuration = directory.path().join("control-plane.toml");
    std::fs::write(&configuration, configure()?)?;
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&configuration)
            .arg("serve")
            .env("CHOREO_SEALING_KEY", KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let ready = ready(&mut child, begun);
        std::thread::sleep(IDLE);
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let processor = processor(child.id());
        child.kill()?;
        child.wait()?;
        let status = status?;
        let memory = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name));
            let words = line.and_then(|line| line.split_whitespace().nth(1));
            words.and_then(|word| word.parse().ok()).unwrap_or(0) / 1024
        };
        let (idle, most) = (memory("VmRSS"), memory("VmHWM"));
        println!(
            "start {round}: ready after {:?}, {:?} of processor time, {idle} MiB idle, {most} at most",
            ready?, processor?,
        );
    }
    Ok(())
}

/// Returns the processor time of the process, which other load of the machine distorts least.
fn processor(process: u32) -> Outcome<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which may contain any character, the user and system time are the 12th and
    // 13th field, in hundredths of a second on Linux.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
    let times = fields.split_whitespace().skip(11).take(2);
    let times = times.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    Ok(Duration::from_millis(times.iter().sum::<u64>() * 10))
}

/// Waits until `/readyz` reports success.
fn ready(child: &mut std::process::Child, begun: Instant) -> Outcome<Duration> {
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("no stdout")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().rsplit('/').next().unwrap_or_default();
    #[expect(
        clippy::disallowed_methods,
        reason = "the program that was started here"
    )]
    let mut connection = TcpStream::connect(address)?;
    let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") {
        Ok(begun.elapsed())
    } else {
        Err(answer.into())
    }
}

fn configure() -> Outcome<String> {
    let mut toml = String::from(
        r#"organization = "acme"
[server]
listen = "127.0.0.1:0"
[sealing]
key = { id = "2026-11", env = "CHOREO_SEALING_KEY" }
[[registries]]
id = "images"
host = "registry.example.com"
authentication = "public"
[[data_planes]]
id = "local"
backend = "memory"
[[environments]]
id = "development"
data_plane = "local"
[[environments]]
id = "production"
production = true
data_plane = "local"
"#,
    );
    for number in 0..COMPONENTS {
        write!(
            toml,
            r#"[[components]]
id = "component-{number}"
project = "shop"
type = "service"
registry = "images"
[components.workload]
endpoints = [{{ name = "http", port = 8080, protocol = "http" }}]
[components.workload.container.variables]
LOG_LEVEL = {{ literal = "info" }}
SERVICE_NUMBER = {{ literal = "{number}" }}
CACHE_URL = {{ literal = "redis://cache.shop.svc.cluster.local:6379/0" }}
DATABASE_URL = {{ from = {{ secret = {{ name = "orders", key = "database-url" }} }} }}
[components.settings.production]
scaling = {{ replicas = 3 }}
"#
        )?;
    }
    Ok(toml)
}
