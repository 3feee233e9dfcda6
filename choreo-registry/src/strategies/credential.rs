//! Credentials in the forms of all vendors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;

use super::CANARY;
use super::host::{dns_host, parsed};
use super::text::like;
use crate::credential::Password;
use crate::{Credential, RegistryHost};

/// User names: those that the vendors require (`AWS`, `_json_key`, `robot$…`, `$oauthtoken`, e-mail
/// addresses, GUIDs, …), and any others that are valid in Basic authentication.
///
/// ```
/// use choreo_registry::strategies::username;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(username in username())| {
///     prop_assert!(!username.is_empty() && !username.contains(':'));
/// });
/// ```
pub fn username() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Union::new(FORMS.iter().map(|form| like(form.username))),
        1 => like("[a-z]{1,8}@[a-z]{1,8}\\.example"),
        2 => like("[^:\\p{Cc}]{1,20}"),
    ]
}

/// Passwords, tokens and keys that contain [`CANARY`](super::CANARY): with the prefixes of vendors'
/// tokens, service account keys, and any others, among them quotes, blanks and line breaks.
///
/// It does not generate passwords near the limit of 16 KiB, or with NULs, which Docker drops.
///
/// ```
/// use choreo_registry::strategies::{exposes_secret, password};
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(password in password())| {
///     prop_assert!(exposes_secret(password.expose()));
///     let shown = format!("{password:?}");
///     prop_assert!(!exposes_secret(&shown));
/// });
/// ```
pub fn password() -> impl Strategy<Value = Password> {
    password_text().prop_map(|text| text.parse().expect("a generated password is one"))
}

/// Credentials of any [user name](username) and [password](password), some with an expiry time.
///
/// The two need not belong together; in [`vendor_credential`] they do.
///
/// ```
/// use choreo_registry::strategies::{credential, exposes_secret};
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(credential in credential())| {
///     let shown = format!("{credential:?}");
///     prop_assert!(!exposes_secret(&shown));
/// });
/// ```
pub fn credential() -> impl Strategy<Value = Credential> {
    // From 2001 to 2096.
    let expiry = 1_000_000_000..4_000_000_000_i64;
    (username(), password_text(), option::weighted(0.2, expiry)).prop_map(
        |(username, password, expiry)| {
            let credential = checked(username, password);
            match expiry.map(Timestamp::from_second) {
                Some(Ok(expiry)) => credential.with_expiry(expiry),
                _ => credential,
            }
        },
    )
}

/// Hosts with a credential in a form that their vendor accepts, for every vendor that accepts
/// credentials, and for self-hosted registries.
///
/// [`ContainerRegistry::new`](crate::ContainerRegistry::new) accepts all of them. Many have
/// findings, because vendors also accept credentials that expire.
///
/// ```
/// use choreo_registry::strategies::vendor_credential;
/// use choreo_registry::{Authentication, ContainerRegistry};
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |((host, credential) in vendor_credential())| {
///     let basic = Authentication::Basic(credential);
///     prop_assert!(ContainerRegistry::new("Images", host, basic).is_ok());
/// });
/// ```
pub fn vendor_credential() -> impl Strategy<Value = (RegistryHost, Credential)> {
    let vendors = Union::new(FORMS.iter().map(|form| {
        let host = if form.host.is_empty() {
            dns_host().boxed()
        } else {
            like(form.host).prop_map(parsed).boxed()
        };
        (host, like(form.username), form.secret.text())
    }));
    prop_oneof![
        4 => vendors,
        1 => (dns_host().boxed(), like("[^:\\p{Cc}]{1,20}"), password_text().boxed()),
    ]
    .prop_map(|(host, username, password)| (host, checked(username, password)))
}

pub(super) fn checked(username: String, password: String) -> Credential {
    Credential::new(username, password).expect("a generated credential is one")
}

pub(super) fn password_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Secret::Token("").text(),
        3 => Union::new(FORMS.iter().map(|form| form.secret.text())),
        1 => like("[^\\x00]{0,12}").prop_map(|rest| format!("{CANARY}{rest}")),
        1 => like("[^\\x00]{0,12}").prop_map(|start| format!("{start}{CANARY}")),
    ]
}

/// A form that a vendor accepts; vendors with several forms have several rows.
pub(super) struct Form {
    /// A regular expression; empty for a self-hosted registry.
    pub(super) host: &'static str,
    username: &'static str,
    secret: Secret,
}

#[derive(Clone, Copy)]
enum Secret {
    /// A token with this prefix.
    Token(&'static str),
    /// The JSON key of a Google service account.
    Key,
    /// The same key in base64.
    KeyInBase64,
}

impl Secret {
    fn text(self) -> BoxedStrategy<String> {
        let rest = like("[A-Za-z0-9_=/+-]{0,24}");
        let key = like("[a-z]{1,8}").prop_map(|name| {
            format!(
                "{{\"type\":\"service_account\",\"project_id\":\"{name}\",\"private_key\":\
                 \"-----BEGIN PRIVATE KEY-----\\n{CANARY}\\n-----END PRIVATE KEY-----\\n\",\
                 \"client_email\":\"puller@{name}.iam.gserviceaccount.example\"}}"
            )
        });
        match self {
            Self::Token(start) => rest
                .prop_map(move |rest| format!("{start}{CANARY}{rest}"))
                .boxed(),
            Self::Key => key.boxed(),
            Self::KeyInBase64 => key.prop_map(|key| STANDARD.encode(key)).boxed(),
        }
    }
}

const fn form(host: &'static str, username: &'static str, secret: Secret) -> Form {
    Form {
        host,
        username,
        secret,
    }
}

const ANY: Secret = Secret::Token("");
const GUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

const GAR: &str = "(us|europe-west1|asia-south1)-docker\\.pkg\\.dev";

/// Values shrink towards the first form.
pub(super) const FORMS: &[Form] = &[
    form("", "[a-z]{1,12}", ANY),
    form("docker\\.io", "[a-z0-9]{4,16}", Secret::Token("dckr_pat_")),
    form("docker\\.io", "[a-z0-9]{4,16}", Secret::Token("dckr_oat_")),
    form("docker\\.io", "[a-z]{1,8}@[a-z]{1,8}\\.example", ANY),
    form(
        "ghcr\\.io",
        "[A-Za-z][A-Za-z0-9-]{0,15}",
        Secret::Token("ghp_"),
    ),
    form(
        "ghcr\\.io",
        "[A-Za-z][A-Za-z0-9-]{0,15}",
        Secret::Token("ghs_"),
    ),
    form(
        "[0-9]{12}\\.dkr\\.ecr\\.(us-east-1|eu-west-1)\\.amazonaws\\.com",
        "AWS",
        ANY,
    ),
    form("public\\.ecr\\.aws", "AWS", ANY),
    form("[a-z0-9]{5,12}\\.azurecr\\.io", GUID, ANY),
    form(
        "[a-z0-9]{5,12}\\.azurecr\\.io",
        "0{8}-0{4}-0{4}-0{4}-0{12}",
        ANY,
    ),
    form("[a-z0-9]{5,12}\\.azurecr\\.io", "[a-z][a-z0-9-]{4,15}", ANY),
    form(GAR, "_json_key", Secret::Key),
    form(GAR, "_json_key_base64", Secret::KeyInBase64),
    form(GAR, "oauth2accesstoken", Secret::Token("ya29.")),
    form("((us|eu|asia)\\.)?gcr\\.io", "_json_key", Secret::Key),
    form("registry\\.gitlab\\.com", "gitlab-ci-token", ANY),
    form(
        "registry\\.gitlab\\.com",
        "gitlab\\+deploy-token-[0-9]{1,6}",
        Secret::Token("gldt-"),
    ),
    form(
        "registry\\.gitlab\\.com",
        "[a-z]{1,12}",
        Secret::Token("glpat-"),
    ),
    form("", "robot\\$[a-z]{1,8}(\\+[a-z]{1,8})?", ANY),
    form("quay\\.io", "[a-z]{2,8}\\+[a-z]{2,8}", ANY),
    form("quay\\.io", "\\$(oauthtoken|app|token)", ANY),
    form("registry\\.redhat\\.io", "[0-9]{7,8}\\|[a-z]{1,8}", ANY),
    form("(us\\.|de\\.)?icr\\.io", "iam(apikey|bearer|refresh)", ANY),
    form(
        "(fra|iad)\\.ocir\\.io",
        "[a-z]{4,12}/([a-z]{4,12}/)?[a-z]{1,8}",
        ANY,
    ),
    form("nvcr\\.io", "\\$oauthtoken", Secret::Token("nvapi-")),
    form("docker\\.elastic\\.co", "[a-z]{1,8}", Secret::Token("")),
    form(
        "registry\\.digitalocean\\.com",
        "[a-z]{1,8}@[a-z]{1,8}\\.example",
        Secret::Token("dop_v1_"),
    ),
    form(
        "registry\\.cn-(hangzhou|beijing)\\.aliyuncs\\.com",
        "[a-z]{1,8}@[0-9]{16}",
        ANY,
    ),
    form("cgr\\.dev", "[0-9a-f]{40}/[0-9a-f]{16}", ANY),
    form("[a-z]{2,12}\\.jfrog\\.io", "[a-z]{1,12}", ANY),
    form("registry\\.heroku\\.com", "_", ANY),
    form("rg\\.(fr-par|nl-ams)\\.scw\\.cloud", "nologin", ANY),
];
