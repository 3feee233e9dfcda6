//! From a docker config to its pull secret, compared with serde_json, which reads and writes the
//! same document without interpreting it.

use std::collections::HashMap;
use std::hint::black_box;

use choreo_registry::docker_config::DockerConfig;
use choreo_registry::pull_secret::{Format, SecretMetadata};
use choreo_registry::{Credential, PullSecret};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
struct Config {
    auths: HashMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<String>,
}

/// Logins in the form of `kubectl` and `docker login`: a token, a short-lived token, a key file.
fn documents() -> [(&'static str, String); 4] {
    let render = |host: &str, username: &str, password: &str| {
        let credential = Credential::new(username, password).expect("it is a credential");
        let host = host.parse().expect("it is a host");
        PullSecret::new(&host, &credential).expose_docker_config_json().to_string()
    };
    let key = format!(
        "{{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{}\",\n  \
         \"client_email\": \"a@b.example\"\n}}\n",
        "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC7VJTUt9Us8cKj\\n".repeat(26)
    );
    let token = "eyJwYXlsb2FkIjoiQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoi".repeat(40);
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let short = render("https://index.docker.io/v1/", "alice", "dckr_pat_0123456789abcdefghijklmnopq");
    let login = "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {\n\t\t\t\"auth\": \
                 \"YWxpY2U6Z2hwXzAxMjM0NTY3ODlhYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg==\"\n\t\t}\n\t}\n}";
    [
        ("auth-only", login.to_owned()),
        ("token", short),
        ("ecr", render(ecr, "AWS", &token)),
        ("json-key", render("europe-docker.pkg.dev", "_json_key", &key)),
    ]
}

fn docker_config(c: &mut Criterion) {
    let metadata = SecretMetadata::new("images").expect("it is a name");
    for (name, document) in documents() {
        let mut group = c.benchmark_group(format!("docker_config/{name}"));
        let bench = |id: &str| BenchmarkId::new(id, document.len());
        group.bench_function(bench("choreo"), |b| {
            b.iter(|| {
                let config: DockerConfig = black_box(&*document).parse().expect("it is accepted");
                PullSecret::new(config.host(), config.credential())
            });
        });
        group.bench_function(bench("choreo, whole Secret"), |b| {
            b.iter(|| {
                let config: DockerConfig = black_box(&*document).parse().expect("it is accepted");
                PullSecret::new(config.host(), config.credential())
                    .expose_text(&metadata, Format::Json)
            });
        });
        group.bench_function(bench("serde_json, types"), |b| {
            b.iter(|| {
                let config: Config = serde_json::from_str(black_box(&document)).expect("it is JSON");
                serde_json::to_string(&config)
            });
        });
        group.bench_function(bench("serde_json, Value"), |b| {
            b.iter(|| {
                let config: Value = serde_json::from_str(black_box(&document)).expect("it is JSON");
                serde_json::to_string(&config)
            });
        });
        group.finish();
    }
}

criterion_group!(benches, docker_config);
criterion_main!(benches);
