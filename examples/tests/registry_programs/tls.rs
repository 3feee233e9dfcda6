//! A registry with a certificate of a private authority. `openssl s_server` plays it: it serves
//! files that are whole HTTP answers, and a folder, such as `/v2/`, with status 200.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use choreo_registry_client::{egress::Egress, transport::ReqwestTransport};
use tempfile::TempDir;

use crate::{run, seen};

#[tokio::test]
async fn a_private_authority_is_trusted_by_its_file_alone() {
    if !speaks_tls() {
        return skip("this build has no TLS: test the whole workspace, or with --features tls");
    }
    let Some(server) = Server::start() else {
        return skip("there is no openssl command");
    };
    let target = format!("localhost:{}/team/app:1", server.port);
    let local = "--allow-address 127.0.0.0/8 --allow-address ::1";
    let answer = run("verify_access", &format!("{target} {local}"), "").await;
    assert_eq!(seen(&answer), (3, "unreachable"));
    assert!(answer.stdout.contains("certificate"), "{}", answer.stdout);

    let file = server.folder.path().join("ca.pem");
    let trusted = format!("{target} {local} --ca {}", file.display());
    let answer = run("verify_access", &trusted, "").await;
    assert_eq!(seen(&answer), (0, "pull-allowed"), "{answer:?}");

    // A file without a certificate is wrong usage, not an untrusted certificate.
    fs::write(&file, "no certificate").unwrap();
    assert_eq!(run("verify_access", &trusted, "").await.status, 2);
}

fn skip(why: &str) {
    // Bypasses the capture of output, which hides the output of tests that pass.
    let name = "a_private_authority_is_trusted_by_its_file_alone";
    let _ = writeln!(io::stderr(), "SKIPPED: {name}: {why}");
}

/// Returns `true` if the transport was built with TLS: without it, certificates are not parsed.
fn speaks_tls() -> bool {
    ReqwestTransport::new(Egress::tenant().add_root_certificate("no certificate")).is_err()
}

struct Server {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Server {
    /// `None` without the command.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path())?;
        serve_image(folder.path());
        // Free a moment ago; another process could take it, and the test would say so.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut process = Command::new("openssl")
            .args(["s_server", "-HTTP", "-cert", "leaf.pem", "-key", "leaf.key"])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = said.map_while(Result::ok);
        assert!(said.any(|line| line == "ACCEPT"), "it does not listen");
        // The server writes a line per file, and blocks if its output is not read.
        std::thread::spawn(move || said.for_each(drop));
        Some(Self {
            folder,
            port,
            process,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A certificate authority, and a certificate of it for `localhost`.
fn certify(folder: &Path) -> Option<()> {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output();
        let output = match output {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            output => output.unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
        Some(())
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let extensions = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n";
    fs::write(folder.join("leaf.ext"), extensions).unwrap();
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"
    ))?;
    openssl(&format!(
        "req {key} -keyout leaf.key -out leaf.csr -subj /CN=localhost"
    ))?;
    openssl(
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 \
         -extfile leaf.ext",
    )
}

/// An image with the tag 1 in `team/app`.
fn serve_image(folder: &Path) {
    let manifests = folder.join("v2/team/app/manifests");
    fs::create_dir_all(&manifests).unwrap();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let config = "application/vnd.oci.image.config.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"{config}","digest":"{empty}","size":0}},"layers":[]}}"#
    );
    let answer = format!(
        "HTTP/1.0 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n{manifest}",
        manifest.len()
    );
    fs::write(manifests.join("1"), answer).unwrap();
}
