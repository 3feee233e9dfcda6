//! Guards, for generated credentials of all vendors, that no output contains 8 bytes of a secret.
//! `CHOREO_TEST_CASES` sets the number of cases (default 20,000).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use choreo_registry::vendor_table::{Cloud, VendorTable};
use choreo_registry::{Authentication, ContainerRegistry, Credential, RegistryHost};
use proptest::prelude::*;

/// Returns `true` if `shown` contains 8 bytes of `secret`.
fn leaks(shown: &str, secret: &str) -> bool {
    // Few windows pass this filter, so that thousands of cases take seconds.
    let place =
        |part: &[u8]| usize::from(u16::from_le_bytes([part[0] ^ part[5], part[3] ^ part[7]]));
    let mut sieve = vec![false; 1 << 16];
    for part in secret.as_bytes().windows(8) {
        sieve[place(part)] = true;
    }
    let mut windows = shown.as_bytes().windows(8);
    windows.any(|part| {
        sieve[place(part)]
            && secret
                .as_bytes()
                .windows(8)
                .any(|of_secret| of_secret == part)
    })
}

const HOSTS: &[&str] = &[
    "123456789012.dkr.ecr.us-east-1.amazonaws.com",
    "acme.azurecr.io",
    "acme.jfrog.io",
    "acme.westeurope.data.azurecr.io",
    "cgr.dev",
    "docker.io",
    "eu-docker.pkg.dev",
    "gcr.io",
    "ghcr.io",
    "icr.io",
    "iad.ocir.io",
    "localhost:5000",
    "mcr.microsoft.com",
    "nvcr.io",
    "public.ecr.aws",
    "quay.io",
    "registry.cn-hangzhou.aliyuncs.com",
    "registry.digitalocean.com",
    "registry.example.com",
    "registry.gitlab.com",
    "registry.heroku.com",
    "registry.k8s.io",
    "registry.redhat.io",
    "rg.fr-par.scw.cloud",
    "[2001:db8::1]",
];

/// User names. `{}` is the secret, entered in the wrong field.
const USERNAMES: &[&str] = &[
    "$oauthtoken",
    "00000000-0000-0000-0000-000000000000",
    "AWS",
    "_json_key",
    "_json_key_base64",
    "acme/alice",
    "alice",
    "alice@acme.example",
    "gitlab-ci-token",
    "iamapikey",
    "oauth2accesstoken",
    "robot$ci",
    "{}",
    "a{}b",
    "ghp_{}",
    "{}:x",
];

/// Passwords that contain the secret.
const PASSWORDS: &[&str] = &[
    "{}",
    " {}\n",
    "dckr_pat_{}",
    "dop_v1_{}",
    "ghp_{}",
    "ghr_{}",
    "ghs_{}",
    "github_pat_{}",
    "glpat-{}",
    "nvapi-{}",
    r#"{"type":"service_account","client_email":"a@b.example","private_key":"{}"}"#,
    r#"{"type":"{}","client_email":"{}","private_key":["{}"]}"#,
];

/// Returns a user name, a password, and the texts that must not be shown.
fn login() -> impl Strategy<Value = (String, String, Vec<String>)> {
    let usernames = proptest::sample::select(USERNAMES);
    let passwords = proptest::sample::select(PASSWORDS);
    (usernames, passwords, "[A-Za-z0-9]{12,40}", any::<bool>()).prop_map(
        |(username, password, secret, in_base64)| {
            let password = password.replace("{}", &secret);
            let encoded = STANDARD.encode(&password);
            let pasted = if in_base64 { &encoded } else { &secret };
            let username = username.replace("{}", pasted);
            let basic = STANDARD.encode(format!("{username}:{password}"));
            let password = if in_base64 { encoded.clone() } else { password };
            (username, password, vec![secret, encoded, basic])
        },
    )
}

/// Returns all output of a registration in one text.
fn shown(host: &str, username: String, password: String) -> String {
    let host: RegistryHost = host.parse().expect("all hosts here are sound");
    let credential = match Credential::new(username, password) {
        Ok(credential) => credential,
        Err(error) => return format!("{error} {error:?}"),
    };
    let mut shown = format!("{credential:?}");
    let vendors = VendorTable::built_in();
    let vendor = vendors.of_credential(&host, &credential);
    shown += &format!("{vendor} {:?}", vendor.misfit(Cloud::Aws));
    match ContainerRegistry::new("Images", host, Authentication::Basic(credential)) {
        Ok(registry) => {
            shown += &format!("{registry:?} {:?}", registry.authentication());
            for finding in registry.findings() {
                shown += &format!("{finding} {finding:?}");
                shown += &serde_json::to_string(finding).expect("findings are strings");
            }
            let moved = registry.with_host("quay.io".parse().expect("a sound host"));
            shown += &format!("{moved:?}");
        }
        Err(error) => shown += &format!("{error} {error:?}"),
    }
    shown
}

fn cases() -> u32 {
    std::env::var("CHOREO_TEST_CASES").map_or(20_000, |cases| {
        cases.parse().expect("CHOREO_TEST_CASES is a number")
    })
}

#[test]
fn what_is_exposed_is_found() {
    let credential = Credential::new("alice", "x0123456789x").unwrap();
    assert!(leaks(credential.expose_password(), "0123456789"));
    let encoded = STANDARD.encode("alice:x0123456789x");
    assert!(leaks(&credential.expose_basic(), &encoded));
    assert!(!leaks("0123456", "0123456789"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn nothing_shown_holds_a_part_of_a_secret(
        host in proptest::sample::select(HOSTS),
        (username, password, secrets) in login(),
    ) {
        let shown = shown(host, username, password);
        for secret in &secrets {
            prop_assert!(!leaks(&shown, secret), "{secret}: {shown}");
        }
    }
}
