//! A token server that distribution trusts: it signs with a key whose certificate the registry has.
//!
//! <https://github.com/distribution/distribution/blob/main/docs/content/spec/auth/jwt.md>

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::SystemTime,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{Folder, ISSUER, SERVICE, programs::runs, push::basic, skipped};

/// Issues tokens to `robot` only.
pub(super) struct TokenServer {
    host: String,
    signer: Arc<Signer>,
    task: JoinHandle<()>,
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TokenServer {
    /// Starts it, with a new key in the folder; `None`, said loudly, without openssl.
    pub(super) async fn or_skip(folder: &Folder) -> Option<Self> {
        if !runs("openssl", "version") {
            skipped("a registry with tokens", "openssl is not installed");
            return None;
        }
        let signer = Arc::new(Signer::new(folder));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::clone(&signer);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Some(Self { host, signer, task })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn realm(&self) -> String {
        format!("http://{}/token", self.host)
    }

    pub(super) fn certificate(&self) -> &Path {
        &self.signer.certificate
    }

    /// Returns the `Authorization` of a user who may push to the repository.
    pub(super) async fn pusher(&self, repository: &str) -> String {
        let access = json!([{
            "type": "repository", "name": repository, "actions": ["pull", "push"],
        }]);
        format!("Bearer {}", self.signer.token(&access))
    }
}

/// Answers one request after another until the client leaves.
async fn serve(mut stream: TcpStream, signer: Arc<Signer>) {
    let mut received = Vec::new();
    loop {
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(count) if count > 0 => received.extend_from_slice(&part[..count]),
            _ => return,
        }
        let Some(end) = received.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        let request = String::from_utf8_lossy(&received[..end]).into_owned();
        // The status of a POST tells the client to send a GET.
        let (status, body) = answer(&request, &signer);
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n"
        );
        let _ = stream.write_all((head + &body).as_bytes()).await;
        let _ = stream.shutdown().await;
        return;
    }
}

fn answer(request: &str, signer: &Signer) -> (&'static str, String) {
    let Some(target) = request.strip_prefix("GET /token") else {
        return ("405 Method Not Allowed", "{}".to_owned());
    };
    let login = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization")
            .then(|| value.trim())
    });
    let may_pull = login.is_some_and(|login| login == basic());
    if login.is_some() && !may_pull {
        return (
            "401 Unauthorized",
            r#"{"details":"wrong login"}"#.to_owned(),
        );
    }
    let query = target.split(' ').next().unwrap_or_default();
    let url = url::Url::parse(&format!("http://tokens.example/token{query}")).unwrap();
    let scopes = url.query_pairs().filter(|(name, _)| name == "scope");
    let access: Vec<Value> = scopes
        .filter(|_| may_pull)
        .filter_map(|(_, scope)| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<_> = actions.split(',').collect();
            Some(json!({ "type": kind, "name": name, "actions": actions }))
        })
        .collect();
    let token = signer.token(&Value::Array(access));
    let body = json!({ "token": token, "expires_in": LIFETIME });
    ("200 OK", body.to_string())
}

/// A private key, and the certificate for it.
struct Signer {
    key: PathBuf,
    certificate: PathBuf,
    header: String,
}

impl Signer {
    fn new(folder: &Folder) -> Self {
        let (key, certificate) = (folder.0.join("token.key"), folder.0.join("token.crt"));
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=token-server", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let pem = std::fs::read_to_string(&certificate).unwrap();
        let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        assert!(STANDARD.decode(&der).is_ok(), "a certificate in PEM");
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
        Self {
            key,
            certificate,
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
        }
    }

    fn token(&self, access: &Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap().as_secs();
        let claims = json!({
            "iss": ISSUER, "sub": "robot", "aud": SERVICE, "jti": now.to_string(),
            "iat": now, "nbf": now - 10, "exp": now + LIFETIME, "access": access,
        });
        let signed = format!(
            "{}.{}",
            self.header,
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn sign(&self, content: &[u8]) -> Vec<u8> {
        let mut openssl = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = openssl.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, content).unwrap();
        drop(stdin);
        let output = openssl.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl signs");
        output.stdout
    }
}

/// In seconds.
const LIFETIME: u64 = 300;
