//! The museum: mistakes that registry clients have made, one test for each.
//!
//! Each exhibit runs our code, which must withstand the mistake, and a naive twin that makes the
//! mistake, which must fail. A scene with requests runs a third time, with a twin without the
//! mistake, to show that the scene tests this mistake only. The internet of these scenes is made
//! up and in process: no traffic leaves the process, except for one name that is dialled on
//! loopback.
//!
//! The mistakes are taken from public advisories, public threads or the public source of the peer;
//! the scenes around them are made up. Left out: mistakes without a public primary source
//! (CVE-2026-33990, CVE-2026-12566), and those in features that this client does not have
//! (uploads: CVE-2026-50151; files: GHSA-fxhp-mv3v-67qp).
//!
//! | identifier | what went wrong | test |
//! |---|---|---|
//! | artifact-keeper #3606, and the key of oci-client's cache | tokens were cached for a registry, not for the login that obtained them | `artifact_keeper_3606_shared_tokens_between_tenants` |
//! | CVE-2014-5277 | Docker fell back to plain http when https failed, and the login with it | `cve_2014_5277_docker_fell_back_to_http` |
//! | CVE-2019-10214 | containers/image sent credentials to a token server without TLS | `cve_2019_10214_containers_image_logged_in_without_tls` |
//! | CVE-2020-15157 | containerd fetched foreign layers from the URLs of the manifest, and logged in there if challenged | `cve_2020_15157_containerd_logged_in_for_a_foreign_layer` |
//! | CVE-2020-1702 | containers/image read a manifest whole, however large | `cve_2020_1702_containers_image_read_manifests_whole` |
//! | CVE-2020-8562 | Kubernetes looked a name up, judged the address, and looked it up again to dial; a name with two faces passed | `cve_2020_8562_kubernetes_judged_one_face_of_a_name` |
//! | CVE-2020-8564 | Kubernetes logged a malformed docker config, passwords included | `cve_2020_8564_kubernetes_logged_a_malformed_docker_config` |
//! | CVE-2021-29922 | Rust's address parser read 0177.0.0.1 as 177.0.0.1, where resolvers read 127.0.0.1 | `cve_2021_29922_rust_read_octal_as_decimal` |
//! | CVE-2021-32690 | Helm passed a repository's login on to the other domain that it was sent to | `cve_2021_32690_helm_passed_the_login_to_another_domain` |
//! | CVE-2021-41092 | Docker, with a credential helper that could not run, sent a private registry's login to Docker Hub | `cve_2021_41092_docker_fell_back_to_another_hosts_login` |
//! | CVE-2021-41190 (GHSA-77vh-xpmg-72qh) | a document with `manifests` and `layers` was an index for one tool and an image for the next | `cve_2021_41190_one_document_was_image_and_index` |
//! | CVE-2023-25163 | Argo CD showed a repository's credential in an error | `cve_2023_25163_argo_cd_showed_credentials_in_an_error` |
//! | CVE-2024-3727 | containers/image put a digest of a manifest unchecked into the path of a request with a login | `cve_2024_3727_containers_image_asked_for_a_path_as_digest` |
//! | CVE-2025-24882 | regclient took another manifest than the one that was pinned | `cve_2025_24882_regclient_ignored_the_pinned_digest` |
//! | CVE-2025-55190 | Argo CD's answer about a project contained the passwords of its repositories | `cve_2025_55190_argo_cd_answered_with_passwords` |
//! | CVE-2026-24845 | malcontent, a scanner, gave its registry credential to a malicious image's registry, by way of the realm | `cve_2026_24845_malcontent_was_asked_by_a_registry_of_strangers` |
//! | CVE-2026-33540 | distribution, as a proxy, took its upstream's word for the token server and logged in there | `cve_2026_33540_distribution_sent_the_password_to_the_realm` |
//! | CVE-2026-40161 | Tekton sent the system's token to a server that a user's request named | `cve_2026_40161_tekton_sent_its_token_to_a_users_server` |
//! | CVE-2026-45625 | Arcane kept a registry's stored password when the registry's URL was edited, and sent it to the new host | `cve_2026_45625_arcane_sent_a_stored_password_to_a_new_host` |
//! | CVE-2026-48978 | oras-go showed its credential to the realm of whatever registry it talked to | `cve_2026_48978_oras_go_asked_any_realm` |
//! | devcontainers/cli #1276 | a challenge's parameters went into the query as they came, and could add to it | `devcontainers_1276_pasted_the_challenge_into_a_query` |
//! | distribution 3.1.0, seen in its source | a realm of the registry's domain passes | `distribution_3_1_took_the_neighbour_for_the_registry` |
//! | docker/for-mac #4545 | with a credential store the config has empty entries, and a pull secret made of it contains no login | `docker_for_mac_4545_left_the_password_in_a_store` |
//! | GHSA-f36w-mj3v-6jqv | oras-go made room for as many bytes as a descriptor announced, and panicked | `ghsa_f36w_oras_go_reserved_what_was_announced` |
//! | GHSA-h7vf-4x9w-h99v | oras-go requested the next page of a list of tags from any host that the list named | `ghsa_h7vf_oras_go_turned_the_page_elsewhere` |
//! | GHSA-vh4v-2xq2-g5cg | oras-go kept `Authorization` when a redirect led to another port of the same host | `ghsa_vh4v_oras_go_kept_the_login_for_another_port` |
//! | go-containerregistry #2243 | a realm could name any address of the inside | `ggcr_2243_asked_the_metadata_service_for_a_token` |
//! | go-containerregistry #2285 | the list of forbidden realms lacked 0.0.0.0, which is this machine | `ggcr_2285_forgot_the_unspecified_address` |
//! | go-containerregistry #2292 | the realm was judged, the redirects of the token server were not | `ggcr_2292_followed_the_token_server_inside` |
//! | go-containerregistry #2293 | the `urls` of a foreign layer led inside | `ggcr_2293_fetched_a_layer_from_the_inside` |
//! | go-containerregistry #2295 | a redirect of a download led inside | `ggcr_2295_was_redirected_inside` |
//! | go-containerregistry #2296 | the responses of token servers were read whole | `ggcr_2296_read_tokens_whole` |
//! | go-containerregistry #2332 | the next page could be another port of the host | `ggcr_2332_turned_the_page_to_another_port` |
//! | go-containerregistry #2349 | a fix (#2337) attached the token again after a redirect to another host | `ggcr_2349_attached_the_token_again_elsewhere` |
//! | go-containerregistry #2425 | 2130706433, 0x7f000001 and 127.1 passed every guard, because they were compared as text | `ggcr_2425_judged_addresses_by_their_text` |
//! | go-containerregistry #2440 | address literals are checked, the addresses of a name are not | `ggcr_2440_judged_no_address_behind_a_name` |
//! | google/kf #1108 | a tenant's image reference made the controller talk to an address of the tenant's choice | `kf_1108_dialled_the_host_that_a_tenant_chose` |
//! | jib #4523 | jib sends its credential to any realm | `jib_4523_read_no_realm_before_it_logged_in` |
//! | keel #419 | the login for Docker Hub lies under a URL, and was not found under the host's name | `keel_419_looked_for_docker_hub_under_its_name` |
//! | keel, seen in its source until 2026-08-18 | a failed login was logged with the password | `keel_logged_the_password_of_a_failed_login` |
//! | kubernetes #19219 and openshift/origin #14541 | a `.dockercfg` where a docker config belongs was taken, and held no login | `kubernetes_19219_found_no_login_in_the_older_format` |
//! | kubernetes #82147 | an `auth` without its padding was no base64 | `kubernetes_82147_wanted_the_padding` |
//! | kubewarden/adm-controller #1734 | an entry with user name and password and no `auth` was not understood | `adm_controller_1734_wanted_an_auth` |
//! | membrane_core #1115 | GitHub put webhooks' secrets into a header, `X-Github-Encoded-Secret`, and receivers that log headers stored them | `membrane_core_1115_logged_all_headers` |
//! | oci-client #260 | a derived `Debug` showed tokens and passwords | `oci_client_260_printed_the_password` |
//! | oci-client 0.17.0, seen in its source | a challenge that it cannot parse makes it send the password to the registry | `oci_client_sent_the_password_when_it_could_not_read` |
//! | oci-client 0.17.0, seen in its source | the body of a remote error is logged as it came | `oci_client_logged_what_the_registry_said` |
//! | oci-client 779dfe6 | before it, the `null` that registries send for no tags at all was an error | `oci_client_779dfe6_broke_on_a_list_of_no_tags` |
//! | oci-client, seen in its source | an empty `token` takes precedence over a non-empty `access_token` | `oci_client_took_the_empty_token` |
//! | oci-client, seen in its source | the digest of a tag is what a header says | `oci_client_believed_the_digest_in_a_header` |
//! | oras-go and containerd, seen in their sources | the error about an `auth` without a colon contains the decoded text | `oras_and_containerd_showed_an_auth_without_a_colon` |
//! | oras-go, seen in its source | a realm of the same host name passes, whatever its port | `oras_go_took_every_port_for_the_registrys` |
//! | regclient 1a80807 | before it, redirects went from https to http | `regclient_1a80807_followed_from_https_to_http` |
//! | regclient 39de02d | before it, a realm could change from https to http | `regclient_39de02d_let_a_realm_leave_https` |
//! | regclient 746d6cf | before it, the target of a redirect could request a login | `regclient_746d6cf_logged_in_where_it_was_redirected` |
//! | reqwest 0.12.28, seen in its source | the scheme was not compared, so a redirect from https to http at the same port kept `Authorization` | `reqwest_0_12_kept_the_login_from_https_to_http` |
//! | RUSTSEC-2017-0002 | hyper wrote line breaks of a value into the headers, so that a value could add more headers | `rustsec_2017_0002_hyper_wrote_line_breaks_into_headers` |
//! | RUSTSEC-2024-0421 | idna before 1.0 decoded `xn--example-` to `example`, so that two spellings were one host | `rustsec_2024_0421_idna_made_two_spellings_one_host` |

mod address;
mod binding;
mod body;
mod config;
mod digest;
mod leak;
mod naive;
mod realm;
mod redirect;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use choreo_registry::{Credential, ImageReference};
use choreo_registry_client::{
    ErrorKind, RegistryClient,
    egress::Egress,
    transport::{HttpTransport, Outbound, TransportError, TransportErrorKind},
};
use http::{Request, Response, header};

use self::naive::{Flaw, Naive};

const HOME: &str = "registry.example.com";
const PASSWORD: &str = "canary-password";

type Answer = Result<Response<Bytes>, TransportErrorKind>;
type Script = fn(&Request<Bytes>) -> Answer;

/// A made-up internet: it answers by its script, and remembers what it was sent.
#[derive(Debug)]
struct Internet {
    egress: Egress,
    script: Script,
    seen: Mutex<Vec<Request<Bytes>>>,
    received: AtomicUsize,
}

impl Internet {
    fn new(script: Script) -> Arc<Self> {
        Arc::new(Self {
            // So that leaving https for this host is stopped as that, and not for the scheme.
            egress: Egress::tenant().allow_plain_http("storage.example".parse().unwrap()),
            script,
            seen: Mutex::default(),
            received: AtomicUsize::default(),
        })
    }
}

#[async_trait]
impl HttpTransport for Internet {
    async fn send(&self, outbound: Outbound) -> Result<Response<Bytes>, TransportError> {
        let answer = (self.script)(&outbound.request);
        self.seen.lock().unwrap().push(outbound.request);
        let response = answer.map_err(TransportError::new)?;
        let len = response.body().len();
        let received = len.min(outbound.body_limit);
        self.received.fetch_add(received, Ordering::Relaxed);
        if len > outbound.body_limit {
            return Err(TransportError::new(TransportErrorKind::TooLarge));
        }
        Ok(response)
    }

    fn egress(&self) -> Egress {
        self.egress.clone()
    }
}

/// The outcome of a scene.
#[derive(Debug)]
struct Outcome {
    internet: Arc<Internet>,
    /// The result that the client returns, or all text of its error.
    result: Result<String, String>,
}

impl Outcome {
    /// Returns whether a URL with this prefix was requested.
    fn visited(&self, url: &str) -> bool {
        self.seen(|request| request.uri().to_string().starts_with(url))
    }

    /// Whether a URL that begins so was shown the password or a token.
    fn shown_to(&self, url: &str) -> bool {
        self.seen(|request| request.uri().to_string().starts_with(url) && holds_secret(request))
    }

    /// Returns whether a host other than the registry received the password or a token.
    fn robbed(&self) -> bool {
        let home = format!("https://{HOME}/");
        self.seen(|request| !request.uri().to_string().starts_with(&home) && holds_secret(request))
    }

    fn received(&self) -> usize {
        self.internet.received.load(Ordering::Relaxed)
    }

    fn seen(&self, is_so: impl Fn(&Request<Bytes>) -> bool) -> bool {
        self.internet.seen.lock().unwrap().iter().any(is_so)
    }
}

fn holds_secret(request: &Request<Bytes>) -> bool {
    let body = String::from_utf8_lossy(request.body());
    request.headers().contains_key(header::AUTHORIZATION)
        || request.uri().to_string().contains("canary")
        || body.contains("canary")
}

/// The task of a client.
#[derive(Clone, Copy, Debug)]
enum Task {
    Inspect(&'static str),
    Resolve(&'static str),
    Tags(&'static str),
}

impl Task {
    fn image(self) -> ImageReference {
        let (Self::Inspect(image) | Self::Resolve(image) | Self::Tags(image)) = self;
        image.parse().unwrap()
    }
}

const RESOLVE: Task = Task::Resolve("registry.example.com/team/app:1");
const INSPECT: Task = Task::Inspect("registry.example.com/team/app:1");
const TAGS: Task = Task::Tags("registry.example.com/team/app");

/// One mistake, and the internet that it goes wrong in.
#[derive(Debug)]
struct Scene {
    flaw: Flaw,
    task: Task,
    script: Script,
    host: &'static str,
    /// The error of our client; `None` for success.
    held: Option<ErrorKind>,
}

impl Scene {
    fn new(flaw: Flaw, task: Task, script: Script) -> Self {
        Self {
            flaw,
            task,
            script,
            host: HOME,
            held: None,
        }
    }

    /// The registry that the user entered.
    fn at(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    /// Sets the error of our client.
    fn held(self, kind: ErrorKind) -> Self {
        Self {
            held: Some(kind),
            ..self
        }
    }

    /// Plays it three times. `fell` says whether a client fell for it.
    async fn shows(self, fell: fn(&Outcome) -> bool) {
        let (ours, kind) = self.ours().await;
        assert!(!fell(&ours), "we fell for it: {ours:?}");
        assert_eq!(kind, self.held, "{ours:?}");
        let careful = self.naive(None).await;
        assert!(
            !fell(&careful),
            "the twin falls without the mistake: {careful:?}"
        );
        let naive = self.naive(Some(self.flaw)).await;
        assert!(fell(&naive), "the twin does not fall: {naive:?}");
    }

    async fn ours(&self) -> (Outcome, Option<ErrorKind>) {
        let internet = Internet::new(self.script);
        let transport = Arc::<Internet>::clone(&internet);
        let client = RegistryClient::new(self.host.parse().unwrap(), Some(robot()), transport);
        let image = self.task.image();
        let result = match self.task {
            Task::Inspect(_) => client
                .inspect(&image)
                .await
                .map(|image| image.digest().to_string()),
            Task::Resolve(_) => client
                .resolve(&image)
                .await
                .map(|image| image.digest().to_string()),
            Task::Tags(_) => client.tags(&image).await.map(|list| format!("{list:?}")),
        };
        let kind = result.as_ref().err().map(|error| error.kind());
        let result = result.map_err(|error| format!("{error} {error:?}"));
        (Outcome { internet, result }, kind)
    }

    async fn naive(&self, flaw: Option<Flaw>) -> Outcome {
        let internet = Internet::new(self.script);
        let transport = Arc::<Internet>::clone(&internet);
        let client = Naive::new(self.host, flaw, transport);
        let result = client.run(self.task).await;
        Outcome { internet, result }
    }
}

fn robot() -> Credential {
    Credential::new("robot", PASSWORD).unwrap()
}

/// The URL of a request without its query.
fn page(request: &Request<Bytes>) -> String {
    let url = request.uri().to_string();
    url.split('?').next().unwrap().to_owned()
}

/// A registry that does everything right, with its token server on the same host. Everybody else
/// says thanks.
fn home(request: &Request<Bytes>) -> Answer {
    let path = request.uri().path();
    Ok(match path {
        _ if request.uri().host() != Some(HOME) => Response::new("thanks".into()),
        "/token" => Response::new(r#"{"token":"canary-token"}"#.into()),
        _ if !request.headers().contains_key(header::AUTHORIZATION) => {
            return challenge(r#"Bearer realm="https://registry.example.com/token",service="s""#);
        }
        _ if path.contains("/manifests/") => return manifest(""),
        _ if path.contains("/blobs/") => Response::new("{}".into()),
        _ if path.contains("/tags/") => Response::new(r#"{"tags":["1"]}"#.into()),
        _ => Response::new("{}".into()),
    })
}

fn challenge(value: &str) -> Answer {
    let response = Response::builder()
        .status(401)
        .header(header::WWW_AUTHENTICATE, value);
    Ok(response.body(Bytes::new()).unwrap())
}

fn moved(location: &str) -> Answer {
    let response = Response::builder()
        .status(307)
        .header(header::LOCATION, location);
    Ok(response.body(Bytes::new()).unwrap())
}

/// An image's manifest, with something more in its first layer.
fn manifest(more: &str) -> Answer {
    let digest = choreo_registry::Digest::sha256_of(b"{}");
    json(format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{digest}","size":2{more}}}]}}"#
    ))
}

fn json(body: String) -> Answer {
    let response = Response::builder().header(header::CONTENT_TYPE, IMAGE);
    Ok(response.body(body.into()).unwrap())
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The table above and the tests are the same, and there are as many as were promised.
#[test]
fn every_exhibit_is_in_the_table() {
    let sources = [
        include_str!("address.rs"),
        include_str!("binding.rs"),
        include_str!("body.rs"),
        include_str!("config.rs"),
        include_str!("digest.rs"),
        include_str!("leak.rs"),
        include_str!("realm.rs"),
        include_str!("redirect.rs"),
    ];
    let mut tests: Vec<_> = sources
        .iter()
        .flat_map(|source| source.split("test]\n").skip(1))
        .filter_map(|test| test.split_once("fn ")?.1.split('(').next())
        .collect();
    let mut listed: Vec<_> = include_str!("mod.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.rsplit('`').nth(1))
        .collect();
    tests.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, tests);
    assert!(tests.len() >= 30, "{}", tests.len());
}
