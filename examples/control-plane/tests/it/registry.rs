//! Debian's `docker-registry`, with a password, on a free port of loopback.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::image::Image;
use crate::{http, is_installed, skipped};

/// The only user.
pub(crate) const USERNAME: &str = "ada";

/// A registry that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    address: SocketAddr,
    password: String,
    directory: TempDir,
}

impl Registry {
    /// Starts a registry. If the programs are not installed, it reports that and returns `None`.
    pub(crate) fn start() -> Option<Self> {
        for program in ["docker-registry", "skopeo", "htpasswd", "cc"] {
            if !is_installed(program) {
                skipped(&format!(
                    "{program} is not installed, so nothing was deployed from a real registry"
                ));
                return None;
            }
        }
        let directory = tempfile::tempdir().expect("a directory can be made");
        let password = format!("pw-{:016x}{:016x}", crate::random(), crate::random());
        let users = directory.path().join("htpasswd");
        let made = Command::new("htpasswd")
            .args(["-nbB", "-C", "4", USERNAME, &password])
            .output();
        std::fs::write(&users, made.expect("htpasswd runs").stdout).expect("a file is written");
        let mut last = String::new();
        // Another process may take the port in between. Then the next port is tried.
        for _ in 0..5 {
            let address = free_address();
            let mut process = spawn(directory.path(), &users, address);
            let log = directory.path().join("registry.log");
            for _ in 0..200 {
                let answer = http::send(address, "GET /v2/", &[], b"");
                if answer.is_ok_and(|answer| answer.status == 401) {
                    return Some(Self {
                        process,
                        address,
                        password,
                        directory,
                    });
                }
                if process.try_wait().expect("it can be asked").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = process.kill();
            let _ = process.wait();
            last = std::fs::read_to_string(log).unwrap_or_default();
        }
        panic!("docker-registry does not start\n{last}");
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Returns the encoded login that the registry client sends.
    pub(crate) fn encoded(&self) -> String {
        STANDARD.encode(format!("{USERNAME}:{}", self.password))
    }

    /// Pushes an image with skopeo, and returns its reference.
    pub(crate) fn push(&self, name: &str, tag: &str, image: &Image) -> String {
        let layout = tempfile::tempdir_in(self.directory.path()).expect("a directory can be made");
        image.write_layout(layout.path());
        let reference = format!("{}/{name}:{tag}", self.address);
        let pushed = Command::new("skopeo")
            .args([
                "copy",
                "--insecure-policy",
                "--preserve-digests",
                "--dest-tls-verify=false",
                "--dest-creds",
            ])
            .arg(format!("{USERNAME}:{}", self.password))
            .arg(format!("oci:{}", layout.path().display()))
            .arg(format!("docker://{reference}"))
            .output()
            .expect("skopeo runs");
        let words = String::from_utf8_lossy(&pushed.stderr);
        assert!(
            pushed.status.success(),
            "skopeo does not push {reference}:\n{words}"
        );
        reference
    }

    /// Pushes another manifest for an image that was pushed, with its own digest.
    pub(crate) fn push_variant(&self, name: &str, tag: &str, image: &Image) -> String {
        let login = format!("Basic {}", self.encoded());
        let headers = [
            ("authorization", login.as_str()),
            ("content-type", Image::MANIFEST_TYPE),
        ];
        let line = format!("PUT /v2/{name}/manifests/{tag}");
        let manifest = image.manifest(tag);
        let answer = http::send(self.address, &line, &headers, manifest.as_bytes());
        let answer = answer.expect("the registry answers");
        assert_eq!(answer.status, 201, "{answer:?}");
        format!("{}/{name}:{tag}", self.address)
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
        "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {data:?}}}}}\n\
         http: {{addr: {address}, secret: none}}\nauth: {{htpasswd: {{realm: images, path: {users:?}}}}}\n"
    );
    let file = directory.join("registry.yml");
    std::fs::write(&file, configuration).expect("a file is written");
    let log = std::fs::File::create(directory.join("registry.log")).expect("a file is made");
    Command::new("docker-registry")
        .arg("serve")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file handle"))
        .stderr(log)
        .spawn()
        .expect("docker-registry starts")
}

/// Returns a loopback address without a listener.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it has an address")
}

/// Guards that the registry rejects requests without its password, as a control for the other tests.
#[test]
fn the_registry_asks_for_its_password() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let image = Image::empty();
    registry.push("shop/orders", "1", &image);
    registry.push_variant("shop/orders", "2", &image);
    let get = |login: &str| {
        let headers = [("authorization", login), ("accept", Image::MANIFEST_TYPE)];
        http::send(
            registry.address,
            "GET /v2/shop/orders/manifests/2",
            &headers,
            b"",
        )
        .unwrap()
        .status
    };
    assert_eq!(get(&format!("Basic {}", registry.encoded())), 200);
    assert_eq!(get(&format!("Basic {}", STANDARD.encode("ada:wrong"))), 401);
}
