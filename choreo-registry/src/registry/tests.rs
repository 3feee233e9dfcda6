use super::*;
use crate::docker_config::DockerConfig;
use crate::finding::Severity;
use crate::vendor_table::CredentialRefusal;

fn host(host: &str) -> RegistryHost {
    host.parse().unwrap()
}

fn basic(username: &str, password: &str) -> Authentication {
    Authentication::basic(username, password).unwrap()
}

fn register(at: &str, authentication: Authentication) -> Result<Vec<Code>, RegistryError> {
    let registry = ContainerRegistry::new("Images", host(at), authentication)?;
    Ok(registry.findings().iter().map(Finding::code).collect())
}

const KEY: &str =
    r#"{"type":"service_account","client_email":"a@b.example","private_key":"-----BEGIN"}"#;
const ECR: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

#[test]
fn what_can_never_work_is_refused() {
    use CredentialRefusal as C;
    let key_base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, KEY);
    for (at, authentication, refusal) in [
        (ECR, basic("alice", "x"), C::EcrUsername),
        ("public.ecr.aws", basic("alice", "x"), C::EcrPublicUsername),
        (
            "ghcr.io",
            basic("alice", "github_pat_11A"),
            C::FineGrainedToken,
        ),
        (
            "gcr.io",
            basic("_json_key", "x"),
            C::ServiceAccountKeyMalformed,
        ),
        (
            "gcr.io",
            basic("_json_key", "{\"type\":\"x\"}"),
            C::ServiceAccountKeyMalformed,
        ),
        (
            "gcr.io",
            basic("_json_key", &key_base64),
            C::ServiceAccountKeyInBase64,
        ),
        (
            "eu-docker.pkg.dev",
            basic("_json_key_base64", KEY),
            C::ServiceAccountKeyNotInBase64,
        ),
        (
            "eu-docker.pkg.dev",
            basic("_json_key_base64", "x"),
            C::ServiceAccountKeyMalformed,
        ),
    ] {
        assert_eq!(
            register(at, authentication),
            Err(RegistryError::Credential(refusal)),
            "{at}"
        );
    }
    for at in [
        "docker.io",
        "ghcr.io",
        "public.ecr.aws",
        "acme.azurecr.io:5000",
    ] {
        let error = register(at, Authentication::Vendor).unwrap_err();
        assert!(
            matches!(error, RegistryError::NoNodeIdentity { .. }),
            "{at}: {error}"
        );
    }
}

#[test]
fn what_works_is_accepted_and_doubts_are_told() {
    let key_base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, KEY);
    let null_guid = "00000000-0000-0000-0000-000000000000";
    for (at, authentication, findings) in [
        ("registry.example.com", Authentication::Public, vec![]),
        ("registry.example.com", basic("alice", "hunter2"), vec![]),
        ("acme.azurecr.io", Authentication::Vendor, vec![]),
        (ECR, Authentication::Vendor, vec![]),
        ("eu-docker.pkg.dev", Authentication::Vendor, vec![]),
        ("gcr.io", Authentication::Vendor, vec![]),
        (
            "gcr.io",
            basic("_json_key", KEY),
            vec![Code::NodeIdentityAvailable],
        ),
        (
            "gcr.io",
            basic("_json_key_base64", &key_base64),
            vec![Code::NodeIdentityAvailable],
        ),
        (
            ECR,
            Authentication::Public,
            vec![Code::AnonymousPullUnlikely],
        ),
        ("mcr.microsoft.com", Authentication::Public, vec![]),
        ("registry.example.com", basic("robot$ci", "x"), vec![]),
        (
            "registry.example.com",
            basic("gitlab-ci-token", "x"),
            vec![Code::ShortLivedPassword],
        ),
        ("ghcr.io", basic("alice", "ghp_0"), vec![]),
        ("docker.io", basic("alice", "dckr_pat_0"), vec![]),
        (
            "docker.io",
            Authentication::Public,
            vec![Code::DockerHubAnonymousLimit],
        ),
        (
            "docker.io",
            basic("a@b.example", "x"),
            vec![Code::DockerHubEmailUsername],
        ),
        (ECR, basic("AWS", "x"), vec![Code::ShortLivedPassword]),
        (
            "public.ecr.aws",
            basic("AWS", "x"),
            vec![Code::ShortLivedPassword],
        ),
        (
            "gcr.io",
            basic("oauth2accesstoken", "x"),
            vec![Code::ShortLivedPassword],
        ),
        (
            "acme.azurecr.io",
            basic(null_guid, "x"),
            vec![Code::ShortLivedPassword],
        ),
        ("ghcr.io", basic("alice", "ghs_0"), vec![Code::GhcrAppToken]),
        (
            "localhost:5000",
            Authentication::Public,
            vec![Code::LoopbackHost],
        ),
        (
            "[2001:db8::1]",
            basic("alice", "x"),
            vec![Code::Ipv6WithoutPort],
        ),
        ("[2001:db8::1]:5000", basic("alice", "x"), vec![]),
        ("[2001:db8::1]", Authentication::Public, vec![]),
        (
            "r.example",
            basic("alice", "hunter2\n"),
            vec![Code::PasswordSurroundedByBlanks],
        ),
    ] {
        let shown = format!("{at} {authentication:?}");
        assert_eq!(register(at, authentication), Ok(findings), "{shown}");
    }
}

#[test]
fn a_docker_config_must_be_for_the_same_host() {
    let config = || -> DockerConfig {
        r#"{"auths":{"https://index.docker.io/v1/":{"auth":" Zm9vOmJhcg=="}}}"#
            .parse()
            .unwrap()
    };
    assert_eq!(
        register(
            "registry-1.docker.io",
            Authentication::DockerConfig(config())
        ),
        Ok(vec![Code::DockerConfigRepaired, Code::AccountPassword]),
    );
    assert_eq!(
        register("ghcr.io", Authentication::DockerConfig(config()))
            .unwrap_err()
            .to_string(),
        "docker config is for \"docker.io\", not for \"ghcr.io\": paste the one of \"ghcr.io\", \
         or register \"docker.io\"",
    );
}

#[test]
fn a_data_plane_of_another_cloud_is_a_finding_for_node_identity_alone() {
    let misfit = |at: &str, authentication, cloud| {
        let registry = ContainerRegistry::new("Images", host(at), authentication).unwrap();
        registry.misfit(cloud).map(|finding| finding.code())
    };
    let another = Some(Code::DataPlaneOfAnotherCloud);
    assert_eq!(misfit(ECR, Authentication::Vendor, Cloud::Aws), None);
    assert_eq!(misfit(ECR, Authentication::Vendor, Cloud::Gcp), another);
    assert_eq!(misfit(ECR, basic("AWS", "x"), Cloud::Gcp), None);
    assert_eq!(misfit(ECR, Authentication::Public, Cloud::Gcp), None);
}

#[test]
fn vendors_of_operators_are_kept_when_a_registry_changes() {
    let acme = Vendor::new("acme", "Acme Registry").unwrap();
    let acme = acme.with_host("*.acme.example".parse().unwrap());
    let acme = acme.with_recommended([AuthenticationType::Vendor]);
    let vendors = VendorTable::built_in().with(acme);
    let at = host("a.acme.example");
    let registry =
        ContainerRegistry::with_vendors(&vendors, "Images", at, Authentication::Vendor).unwrap();
    assert_eq!(registry.vendor().id(), "acme");

    let moved = registry.with_host(host("b.acme.example"));
    let moved = moved.authenticate(Authentication::Vendor).unwrap();
    assert_eq!(moved.vendor().id(), "acme");
    let changed = moved.with_authentication(Authentication::Public).unwrap();
    assert_eq!(changed.vendor().id(), "acme");
    assert_eq!(
        changed.findings()[0].message(),
        "Acme Registry is not known to allow pulls without a credential",
    );
    let away = changed.with_host(host("ghcr.io"));
    let error = away.authenticate(Authentication::Vendor).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"ghcr.io\" (GitHub Container Registry) gives nodes no access by their identity: choose \
         basic or docker-config",
    );
}

#[test]
fn a_data_endpoint_of_acr_names_its_login_server() {
    assert_eq!(
        register("acme.westeurope.data.azurecr.us", Authentication::Vendor)
            .unwrap_err()
            .to_string(),
        "\"acme.westeurope.data.azurecr.us\" is a data endpoint, which serves layers only: enter \
         the login server, such as \"acme.azurecr.us\"",
    );
    assert_eq!(
        register("acme.westeurope.geo.azurecr.us", Authentication::Vendor),
        Ok(vec![])
    );
}

#[test]
fn display_names_are_trimmed_and_bounded() {
    let named = |name: &str| {
        ContainerRegistry::new(name, host("ghcr.io"), Authentication::Public)
            .map(|registry| registry.display_name().to_owned())
    };
    assert_eq!(named(" Our images\n"), Ok("Our images".to_owned()));
    assert_eq!(named(&"é".repeat(128)), Ok("é".repeat(128)));
    assert_eq!(
        named(&"é".repeat(129)),
        Err(RegistryError::DisplayNameTooLong)
    );
    assert_eq!(named(" "), Err(RegistryError::DisplayNameEmpty));
    assert_eq!(
        named("a\nb"),
        Err(RegistryError::DisplayNameControlCharacter)
    );
}

#[test]
fn images_are_matched_as_people_mean_them_and_named_as_kubelets_match_them() {
    for (at, image, canonical) in [
        ("ghcr.io", "ghcr.io/acme/app:1", Some("ghcr.io/acme/app:1")),
        ("ghcr.io", "GHCR.io:443/acme/app", Some("ghcr.io/acme/app")),
        ("ghcr.io", "ghcr.io:5000/acme/app", None),
        ("ghcr.io", "ghcr.io.example/acme/app", None),
        ("ghcr.io", "acme/app", None),
        ("docker.io", "acme/app", Some("docker.io/acme/app")),
        (
            "docker.io",
            "registry-1.docker.io/acme/app:1",
            Some("docker.io/acme/app:1"),
        ),
        (
            "docker.io",
            "registry.hub.docker.com/library/nginx",
            Some("docker.io/library/nginx"),
        ),
        (
            "localhost:5000",
            "localhost:5000/a",
            Some("localhost:5000/a"),
        ),
        ("localhost:5000", "localhost/a", None),
        ("registry:443", "registry:443/a", Some("registry:443/a")),
        (
            "[2001:db8::1]:5000",
            "[2001:DB8:0::1]:5000/a",
            Some("[2001:db8::1]:5000/a"),
        ),
        ("example.com:65535", "example.com:65536/a", None),
        ("example.com", "exa_mple.com/a", None),
    ] {
        let registry = ContainerRegistry::new("Images", host(at), Authentication::Public).unwrap();
        let image: ImageReference = image.parse().unwrap();
        let named = registry.canonical_image(&image);
        assert_eq!(
            named.as_ref().map(ImageReference::as_str),
            canonical,
            "{at} {image}"
        );
        assert_eq!(registry.serves(&image), canonical.is_some(), "{at} {image}");
    }
}

#[test]
fn another_host_or_authentication_drops_the_secret() {
    let registry = ContainerRegistry::new("Images", host("ghcr.io"), basic("a", "ghp_0")).unwrap();
    let moved = registry.with_host(host("quay.io"));
    let moved = moved.authenticate(Authentication::Public).unwrap();
    assert_eq!(
        (moved.display_name(), moved.host().as_str()),
        ("Images", "quay.io")
    );
    assert!(moved.credential().is_none());

    let again = moved.with_authentication(basic("b", "x")).unwrap();
    let again = again.with_display_name("Others").unwrap();
    assert_eq!(again.display_name(), "Others");
    assert_eq!(again.credential().map(Credential::username), Some("b"));
    assert!(again.with_authentication(Authentication::Vendor).is_err());
}

#[test]
fn debug_shows_everything_but_secrets_and_tables() {
    let registry =
        ContainerRegistry::new("Images", host("ghcr.io"), basic("alice", "ghp_0")).unwrap();
    assert_eq!(
        format!("{registry:?}"),
        "ContainerRegistry { display_name: \"Images\", host: \"ghcr.io\", vendor: \"ghcr\", \
         authentication: Basic(Credential { username: \"alice\", password: [redacted], \
         expires_at: None }), findings: [], .. }",
    );
    let table = format!("{:?}", VendorTable::built_in());
    assert!(table.starts_with("{\"alibaba\", \"ecr\", "), "{table}");
}

#[test]
fn findings_are_objects_of_four_strings() {
    let registry =
        ContainerRegistry::new("Hub", host("docker.io"), Authentication::Public).unwrap();
    assert_eq!(
        serde_json::to_value(registry.findings()).unwrap(),
        serde_json::json!([{
            "code": "docker-hub-anonymous-limit",
            "severity": "info",
            "message": "Docker Hub limits anonymous pulls by address, and all pods of a node \
                        share one",
            "help": "enter a Docker ID and an access token to raise the limit",
        }]),
    );
    assert_eq!(registry.findings()[0].severity(), Severity::Info);
}
