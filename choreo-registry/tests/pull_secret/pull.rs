//! Uses the docker config of a pull secret as the auth file of skopeo and podman, with Debian's
//! docker-registry with a password on loopback, without TLS.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use choreo_registry::{Credential, PullSecret};
use tempfile::TempDir;

use crate::{installed, run};

/// A password with characters that shells, JSON and base64 could change.
const USERNAME: &str = "robot$p+n";
const PASSWORD: &str = "p<a>&\"ss\\ 'wörd':\u{2028}/+=";

/// A registry with one image that runs until it is dropped.
struct Registry {
    process: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Registry {
    #[expect(
        clippy::disallowed_methods,
        reason = "asks whether a program of the test listens"
    )]
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("htpasswd");
        let mut htpasswd = Command::new("htpasswd");
        let (ok, line, error) = run(htpasswd.args(["-niB", "-C", "4", USERNAME]), PASSWORD);
        assert!(ok, "{error}");
        std::fs::write(&users, line).unwrap();
        // Another process may take the port in between. Then the next port is tried.
        for _ in 0..5 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            let mut process = spawn(directory.path(), &users, address);
            for _ in 0..200 {
                if process.try_wait().unwrap().is_some() {
                    break;
                }
                if TcpStream::connect(address).is_ok() {
                    let registry = Self {
                        process,
                        address,
                        directory,
                    };
                    registry.push();
                    return registry;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("docker-registry does not start");
    }

    fn image(&self) -> String {
        format!("{}/team/app:1", self.address)
    }

    /// Pushes an image with a single empty layer. The login is on the command line, so that the
    /// push does not depend on the code under test.
    fn push(&self) {
        let folder = self.directory.path().join("image");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file"), "content").unwrap();
        let tar = self.directory.path().join("layer.tar");
        let made = Command::new("tar")
            .arg("-C")
            .arg(&folder)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status();
        assert!(made.unwrap().success());
        let (ok, _, error) = run(
            Command::new("skopeo")
                .args([
                    "copy",
                    "--insecure-policy",
                    "--dest-tls-verify=false",
                    "--dest-creds",
                ])
                .arg(format!("{USERNAME}:{PASSWORD}"))
                .arg(format!("tarball:{}", tar.display()))
                .arg(format!("docker://{}", self.image())),
            "",
        );
        assert!(ok, "{error}");
    }

    /// Writes the docker config of a pull secret to a file.
    fn auth_file(&self, name: &str, password: &str) -> String {
        let credential = Credential::new(USERNAME, password).unwrap();
        let host = self.address.to_string().parse().unwrap();
        let file = self.directory.path().join(name);
        let secret = PullSecret::new(&host, &credential);
        std::fs::write(&file, secret.expose_docker_config_json()).unwrap();
        file.display().to_string()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(directory: &Path, users: &Path, address: SocketAddr) -> Child {
    let data = directory.join("data");
    // https://distribution.github.io/distribution/about/configuration/
    let configuration = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data:?}}}}}\n\
         http: {{addr: {address}, secret: none}}\nauth: {{htpasswd: {{realm: images, path: {users:?}}}}}\n"
    );
    let file = directory.join("registry.yml");
    std::fs::write(&file, configuration).unwrap();
    Command::new("docker-registry")
        .arg("serve")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn skopeo_pulls_with_the_pull_secret_and_with_no_other() {
    if !installed(&["docker-registry", "htpasswd", "skopeo", "tar"]) {
        return;
    }
    let registry = Registry::start();
    let pull = |auth_file: &str, into: &str| {
        let folder = registry.directory.path().join(into);
        let mut command = Command::new("skopeo");
        command.args([
            "copy",
            "--insecure-policy",
            "--src-tls-verify=false",
            "--authfile",
            auth_file,
        ]);
        command.arg(format!("docker://{}", registry.image()));
        run(command.arg(format!("dir:{}", folder.display())), "")
    };
    let (ok, _, error) = pull(&registry.auth_file("right.json", PASSWORD), "right");
    assert!(ok, "{error}");
    assert!(
        registry
            .directory
            .path()
            .join("right/manifest.json")
            .is_file()
    );

    let (ok, _, error) = pull(&registry.auth_file("wrong.json", "wrong"), "wrong");
    assert!(!ok && error.contains("authentication required"), "{error}");
    let empty = registry.directory.path().join("empty.json");
    std::fs::write(&empty, "{}").unwrap();
    assert!(!pull(&empty.display().to_string(), "none").0);
}

#[test]
fn podman_pulls_with_the_pull_secret_and_with_no_other() {
    if !installed(&["docker-registry", "htpasswd", "skopeo", "tar", "podman"]) {
        return;
    }
    let registry = Registry::start();
    let pull = |auth_file: &str| {
        let root = registry.directory.path();
        let mut command = Command::new("podman");
        command.arg("--root").arg(root.join("podman"));
        command.arg("--runroot").arg(root.join("podman-run"));
        command.args([
            "--storage-driver",
            "vfs",
            "pull",
            "--tls-verify=false",
            "--authfile",
            auth_file,
        ]);
        run(command.arg(registry.image()), "")
    };
    // The wrong login first, because a pulled image need not be requested again.
    let (ok, _, error) = pull(&registry.auth_file("wrong.json", "wrong"));
    assert!(!ok && error.contains("authentication required"), "{error}");
    let (ok, _, error) = pull(&registry.auth_file("right.json", PASSWORD));
    assert!(ok, "{error}");
}
