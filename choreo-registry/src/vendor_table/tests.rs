use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::Credential;
use crate::finding::Code;
use crate::test_macros::assert_texts;

mod samples;

fn host(host: &str) -> RegistryHost {
    host.parse().unwrap()
}

fn codes(id: &str, username: &str, password: &str) -> Result<Vec<Code>, CredentialRefusal> {
    let table = VendorTable::built_in();
    let credential = Credential::new(username, password).unwrap();
    let findings = table.get(id).unwrap().judge(&credential, &table)?;
    Ok(findings.iter().map(crate::Finding::code).collect())
}

fn finding(id: &str, username: &str, password: &str) -> String {
    let table = VendorTable::built_in();
    let credential = Credential::new(username, password).unwrap();
    let findings = table.get(id).unwrap().judge(&credential, &table).unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings[0].to_string()
}

#[test]
fn the_documented_table_is_the_built_in_one() {
    let rendered = VendorTable::built_in().to_markdown();
    if std::env::var_os("CHOREO_TEST_WRITE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/vendor_table/table.md");
        std::fs::write(path, &rendered).unwrap();
    }
    assert_eq!(
        include_str!("table.md"),
        rendered,
        "run this test with CHOREO_TEST_WRITE=1, and commit src/vendor_table/table.md"
    );
}

#[test]
fn every_row_is_complete() {
    let table = VendorTable::built_in();
    let names: Vec<_> = table.iter().map(Vendor::name).collect();
    let (last, others) = names.split_last().unwrap();
    assert!(
        others.is_sorted_by_key(|name| name.to_lowercase()),
        "{names:?}"
    );
    assert_eq!(*last, "self-hosted registry");
    for vendor in table.iter() {
        let id = vendor.id();
        assert_eq!(Vendor::new(id, vendor.name()).map(|v| v.id), Ok(id.into()));
        assert_eq!(table.get(id), Some(vendor), "{id} twice");
        assert!(!vendor.help().is_empty(), "{id}");
        assert!(!vendor.recommended().is_empty(), "{id}");
        let url = vendor.documentation();
        assert_eq!(https(url.to_owned()).as_deref(), Ok(url), "{id}");
        let clouds = [Some(Cloud::Aws), Some(Cloud::Azure), Some(Cloud::Gcp)];
        assert!(
            !vendor.offers_node_identity() || clouds.contains(&vendor.cloud()),
            "{id}"
        );
    }
}

#[test]
fn hosts_tell_their_vendor_and_resemblance_does_not() {
    for &(id, hosts, others) in samples::HOSTS {
        assert!(VendorTable::built_in().get(id).is_some(), "{id}");
        for name in hosts {
            assert_eq!(Vendor::of(&host(name)).id(), id, "{name}");
        }
        for name in others {
            assert_ne!(Vendor::of(&host(name)).id(), id, "{name}");
        }
    }
    for vendor in VendorTable::built_in().iter() {
        let sampled = samples::HOSTS.iter().any(|sample| sample.0 == vendor.id());
        assert_eq!(sampled, !vendor.hosts().is_empty(), "{vendor}");
    }
}

#[test]
fn every_pattern_of_the_table_has_a_sample() {
    for vendor in VendorTable::built_in().iter() {
        for pattern in vendor.hosts() {
            let mut hosts = samples::HOSTS.iter().flat_map(|sample| sample.1);
            assert!(hosts.any(|name| pattern.matches(&host(name))), "{pattern}");
        }
    }
}

#[test]
fn credentials_are_accepted_doubted_or_refused() {
    for &(id, username, password, ref expected) in samples::CREDENTIALS {
        assert_eq!(
            codes(id, username, password),
            expected.map(<[Code]>::to_vec),
            "{id} {username} {password}"
        );
    }
    for vendor in VendorTable::built_in().iter() {
        let mut sampled = samples::CREDENTIALS.iter();
        assert!(sampled.any(|sample| sample.0 == vendor.id()), "{vendor}");
    }
}

#[test]
fn a_row_gives_what_it_was_given() {
    let ghcr = Vendor::of(&host("ghcr.io"));
    assert_eq!(ghcr.token_realm(), Some("https://ghcr.io/token"));
    assert!(ghcr.help().starts_with("create a classic"));
    let accepted: Vec<_> = ghcr
        .credentials()
        .iter()
        .map(CredentialForm::is_accepted)
        .collect();
    assert_eq!(accepted, [false, false, false, true, true]);
    assert_eq!(
        "x".parse::<Cloud>().unwrap_err().to_string(),
        "unknown cloud \"x\": write alibaba, aws, azure, digitalocean, gcp, ibm, oracle or \
         scaleway",
    );
    let form = CredentialForm::new("*", "acme_*");
    assert_eq!((form.username(), form.password()), ("any", "`acme_*`"));
    let form = form.with_description("a", "b");
    assert_eq!((form.username(), form.password()), ("a", "b"));
}

#[test]
fn no_length_of_a_token_is_refused() {
    for (id, username, prefix) in [
        ("ghcr", "alice", "ghp_"),
        ("docker-hub", "alice", "dckr_pat_"),
        ("docker-hub", "acme", "dckr_oat_"),
        ("gitlab", "alice", "glpat-"),
        ("digitalocean", "x", "dop_v1_"),
        ("nvidia", "$oauthtoken", "nvapi-"),
    ] {
        for length in [0, 1, 36, 520, 4000] {
            let password = format!("{prefix}{}", "x".repeat(length));
            assert_eq!(codes(id, username, &password), Ok(vec![]), "{id} {length}");
        }
    }
}

#[test]
fn service_account_keys_are_told_by_their_contents() {
    use CredentialRefusal as C;
    let key = samples::KEY;
    let wrapped = samples::key_in_base64()
        .as_bytes()
        .chunks(60)
        .map(|line| std::str::from_utf8(line).unwrap().to_owned() + "\n")
        .collect::<String>();
    let without = |field: &str| key.replace(&format!("\"{field}\":"), "\"x\":");
    let fine = Ok(vec![Code::NodeIdentityAvailable]);
    for id in ["gar", "gcr"] {
        assert_eq!(codes(id, "_json_key", key), fine);
        assert_eq!(codes(id, "_json_key", &format!("\n{key}\n")), fine);
        assert_eq!(codes(id, "_json_key_base64", &wrapped), fine);
        for (username, password, refusal) in [
            ("_json_key", wrapped.clone(), C::ServiceAccountKeyInBase64),
            (
                "_json_key_base64",
                key.to_owned(),
                C::ServiceAccountKeyNotInBase64,
            ),
            (
                "_json_key_base64",
                "x".to_owned(),
                C::ServiceAccountKeyMalformed,
            ),
            ("_json_key", "x".to_owned(), C::ServiceAccountKeyMalformed),
            // Base64 of something else.
            (
                "_json_key",
                "aHVudGVyMg==".to_owned(),
                C::ServiceAccountKeyMalformed,
            ),
            (
                "_json_key_base64",
                "aHVudGVyMg==".to_owned(),
                C::ServiceAccountKeyMalformed,
            ),
            ("_json_key", without("type"), C::ServiceAccountKeyMalformed),
            (
                "_json_key",
                without("client_email"),
                C::ServiceAccountKeyMalformed,
            ),
            (
                "_json_key",
                without("private_key"),
                C::ServiceAccountKeyMalformed,
            ),
            (
                "_json_key",
                key.replace("service_account", "authorized_user"),
                C::ServiceAccountKeyMalformed,
            ),
        ] {
            assert_eq!(codes(id, username, &password), Err(refusal), "{password}");
        }
    }
}

#[test]
fn findings_say_what_is_doubtful_and_what_to_do() {
    for (id, username, password, text) in [
        (
            "ecr",
            "AWS",
            "x",
            "warning: such a password for Amazon ECR expires after about 12 hours: choose the \
             authentication type vendor, or renew the password before it expires \
             (short-lived-password)",
        ),
        (
            "ecr-public",
            "AWS",
            "x",
            "warning: such a password for Amazon ECR Public expires after about 12 hours: choose \
             public access, because anyone may pull from it (short-lived-password)",
        ),
        (
            "alibaba",
            "cr_temp_user",
            "x",
            "warning: such a password for Alibaba Cloud Container Registry expires after about 1 \
             hour: renew the password before it expires, or enter a lasting one: set a password \
             under Access Credential of the instance (short-lived-password)",
        ),
        (
            "acr",
            "token",
            "x",
            "info: Azure Container Registry can give the data plane's nodes access without a \
             password: choose the authentication type vendor if they run in the registry's cloud \
             (node-identity-available)",
        ),
        (
            "mcr",
            "alice",
            "x",
            "info: anyone may pull from the registry of Microsoft Artifact Registry: choose \
             public access: a credential that is not there cannot leak (credential-unneeded)",
        ),
        (
            "oracle",
            "alice",
            "x",
            "warning: Oracle Cloud Infrastructure Registry is not known to accept such a user \
             name and password: enter <tenancy namespace>/<user name> and an auth token (see \
             https://docs.oracle.com/en-us/iaas/Content/Registry/Tasks/\
             registrypushingimagesusingthedockercli.htm) (unknown-credential-form)",
        ),
        (
            "quay",
            "acme+ci",
            "ghp_0",
            "warning: the password is a token for GitHub Container Registry, and the registry is \
             Quay: create a robot account with read access (see \
             https://docs.quay.io/glossary/robot-accounts.html) (token-of-another-vendor)",
        ),
        (
            "digitalocean",
            "dop_v1_0",
            "dop_v1_0",
            "info: the user name is a token or the password itself, and user names are shown: \
             enter another user name, such as \"token\", if the registry takes any \
             (token-as-username)",
        ),
        (
            "docker-hub",
            "alice",
            "x",
            "info: the password for Docker Hub is no access token: enter a personal access token \
             that may only read: it can be revoked alone (account-password)",
        ),
        (
            "ghcr",
            "alice",
            "ghr_0",
            "warning: the password is a refresh token of GitHub, with which nothing can be \
             pulled: create a classic personal access token with the scope read:packages \
             (unknown-credential-form)",
        ),
        (
            "ghcr",
            "alice",
            "ghs_0",
            "warning: the token is one of a GitHub App or a workflow, which expires and may be \
             denied pulls: create a classic personal access token with the scope read:packages \
             (ghcr-app-token)",
        ),
        (
            "redhat",
            "alice",
            "x",
            "info: the user name is no registry service account of Red Hat (<number>|<name>): \
             create a registry service account: its token can be revoked alone (account-password)",
        ),
    ] {
        assert_eq!(finding(id, username, password), text);
    }
    let ecr = Vendor::of(&host(samples::ECR));
    assert_eq!(
        ecr.judge_public().unwrap().to_string(),
        "warning: Amazon ECR is not known to allow pulls without a credential: enter AWS and \
         the output of aws ecr get-login-password (see \
         https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html) \
         (anonymous-pull-unlikely)",
    );
    assert_eq!(
        ecr.misfit(Cloud::Gcp).unwrap().to_string(),
        "warning: Amazon ECR gives access to nodes of aws, and the data plane is of gcp: choose \
         basic or docker-config, unless its nodes have a credential provider for aws \
         (data-plane-of-another-cloud)",
    );
    assert_eq!(Vendor::of(&host("quay.io")).misfit(Cloud::Aws), None);
}

#[test]
fn lifetimes_are_told_in_their_largest_whole_unit() {
    for (seconds, words) in [
        (1, "1 minute"),
        (60, "1 minute"),
        (900, "15 minutes"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (43_200, "12 hours"),
        (86_400, "1 day"),
        (90_000, "25 hours"),
        (172_800, "2 days"),
    ] {
        assert_eq!(judge::in_words(Duration::from_secs(seconds)), words);
    }
}

#[test]
fn a_password_that_lasts_for_a_month_is_not_short_lived() {
    let of_days = |days: u64| {
        let form = CredentialForm::new("*", "*").with_lifetime(Duration::from_secs(days * 86_400));
        let acme = Vendor::new("acme", "Acme")
            .unwrap()
            .with_credentials([form]);
        let credential = Credential::new("alice", "hunter2").unwrap();
        let findings = acme.judge(&credential, &VendorTable::built_in()).unwrap();
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        of_days(29),
        [
            "warning: such a password for Acme expires after about 29 days: renew the password before \
             it expires, or enter a lasting one: enter what the registry's operator gave you \
             (short-lived-password)"
        ]
    );
    assert_eq!(of_days(30), Vec::<String>::new());
}

#[test]
fn robots_tell_their_vendor_where_hosts_do_not() {
    let table = VendorTable::built_in();
    for (at, username, id) in [
        ("registry.example.com", "robot$ci", "harbor"),
        ("registry.example.com:5000", "robot$acme+ci", "harbor"),
        ("registry.example.com", "gitlab-ci-token", "gitlab"),
        ("registry.example.com", "gitlab+deploy-token-1", "gitlab"),
        ("registry.example.com", "$oauthtoken", "quay"),
        ("registry.example.com", "$app", "quay"),
        ("registry.example.com", "$token", "quay"),
        ("registry.example.com", "alice", "self-hosted"),
        ("registry.example.com", "AWS", "self-hosted"),
        ("nvcr.io", "$oauthtoken", "nvidia"),
    ] {
        let credential = Credential::new(username, "x").unwrap();
        let vendor = table.of_credential(&host(at), &credential);
        assert_eq!(vendor.id(), id, "{at} {username}");
    }
}

#[test]
fn rows_of_operators_come_first_and_replace_their_like() {
    let built_in = VendorTable::built_in();
    let acme = |name: &str| {
        let acme = Vendor::new("acme", name).unwrap();
        acme.with_host("*.azurecr.io".parse().unwrap())
    };
    let table = built_in.with(acme("Acme")).with(acme("Acme again"));
    assert_eq!(table.of(&host("x.azurecr.io")).name(), "Acme again");
    assert_eq!(table.of(&host("x.azurecr.us")).id(), "acr");
    assert_eq!(table.iter().count(), built_in.iter().count() + 1);
    assert_eq!(table.iter().next().map(Vendor::id), Some("acme"));

    let fallback = Vendor::new("self-hosted", "ask us").unwrap();
    let table = table.with(fallback);
    assert_eq!(table.of(&host("registry.example.com")).name(), "ask us");
    assert_eq!(table.get("nobody"), None);
    assert_eq!(VendorTable::default(), built_in);
    assert_ne!(table, built_in);
}

#[test]
fn rows_of_operators_are_rendered_and_judged_like_ours() {
    let form = CredentialForm::new("team-*", "*").with_lifetime(Duration::from_secs(900));
    let acme = Vendor::new("acme", "Acme | Co")
        .unwrap()
        .with_credentials([form])
        .with_token_prefix("acme_");
    let table = VendorTable::built_in().with(acme);
    assert_eq!(
        table.to_markdown().lines().nth(2).unwrap(),
        "| Acme \\| Co (`acme`) | none | `team-*` | any | `acme_` | 15 minutes \
         | basic, docker-config, public | any | as the registry says \
         | enter what the registry's operator gave you |",
    );
    let credential = Credential::new("alice", "acme_0").unwrap();
    let judge = |id: &str| {
        let findings = table.get(id).unwrap().judge(&credential, &table).unwrap();
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        judge("acme"),
        [
            "warning: Acme | Co is not known to accept such a user name and password: enter what \
             the registry's operator gave you (unknown-credential-form)"
        ]
    );
    assert_eq!(
        judge("gitlab"),
        [
            "warning: the password is a token for Acme | Co, and the registry is GitLab: create a \
             deploy token with the scope read_registry (see https://docs.gitlab.com/user/packages/\
             container_registry/authenticate_with_container_registry/) (token-of-another-vendor)"
        ]
    );
    assert_eq!(judge("self-hosted"), Vec::<String>::new());
}

#[test]
fn what_operators_write_stays_in_its_cell() {
    let acme = Vendor::new("acme", "Acme *&* Co").unwrap();
    let acme = acme.with_help("a\n[b] <c> ~d~ | e").with_token_prefix("");
    let acme = acme.with_documentation("https://acme.example/(x)").unwrap();
    let table = VendorTable::built_in().with(acme);
    assert_eq!(
        table.to_markdown().lines().nth(2).unwrap(),
        "| Acme \\*\\&\\* Co (`acme`) | none | any | any | `` | until revoked \
         | basic, docker-config, public | any | as the registry says \
         | [a \\[b\\] \\<c\\> \\~d\\~ \\| e](https://acme.example/%28x%29) |",
    );
    let credential = Credential::new("alice", "hunter2").unwrap();
    let findings = table.get("quay").unwrap().judge(&credential, &table);
    let codes: Vec<_> = findings.unwrap().iter().map(crate::Finding::code).collect();
    assert!(!codes.contains(&Code::TokenOfAnotherVendor), "{codes:?}");
}

#[test]
fn a_token_may_be_for_more_than_one_vendor() {
    let mirror = Vendor::new("mirror", "Mirror").unwrap();
    let table = VendorTable::built_in().with(mirror.with_token_prefix("ghp_"));
    let credential = Credential::new("alice", "ghp_0123456789").unwrap();
    for id in ["ghcr", "mirror"] {
        let findings = table.get(id).unwrap().judge(&credential, &table).unwrap();
        assert!(
            findings
                .iter()
                .all(|found| found.code() != Code::TokenOfAnotherVendor),
            "{id}: {findings:?}"
        );
    }
}

#[test]
fn what_makes_no_row_is_refused() {
    for id in ["", "-", "a-", "-a", "a--b", "A", "a_b", "é"] {
        let error = Vendor::new(id, "Acme").unwrap_err();
        assert_eq!(error, VendorError::Id(id.to_owned()));
    }
    assert!(Vendor::new("a-1-b", "Acme").is_ok());
    for name in ["", " ", "a\nb"] {
        let error = Vendor::new("acme", name).unwrap_err();
        assert_eq!(error, VendorError::Name(name.to_owned()));
    }
    assert_texts! { VendorError:
        VendorError::Id(_) = VendorError::Id("A".to_owned()) =>
            "invalid vendor id \"A\": write lower-case letters and digits, parted by hyphens";
        VendorError::Name(_) = VendorError::Name("a\nb".to_owned()) =>
            "invalid vendor name \"a\\nb\": write a name for people, on one line";
        VendorError::Url(_) = VendorError::Url("x".to_owned()) =>
            "invalid URL \"x\" of a vendor: write one that begins with https:// and a host";
    }
    let acme = || Vendor::new("acme", "Acme").unwrap();
    for url in [
        "",
        "http://acme.example/",
        "https://",
        "https:///docs",
        "https://alice:x@acme.example/",
        "https://acme.example/a b",
        "https://acme.example/\n",
        "javascript:x",
    ] {
        let error = VendorError::Url(url.to_owned());
        assert_eq!(acme().with_documentation(url), Err(error.clone()));
        assert_eq!(acme().with_token_realm(url), Err(error));
    }
    for url in ["https://acme.example", "https://acme.example:8443/a?b#c"] {
        assert_eq!(acme().with_documentation(url).unwrap().documentation(), url);
    }
    assert_eq!(acme().documentation(), "");
    assert_eq!(acme().token_realm(), None);
}

proptest! {
    /// Checks never fail, and a table with another row gives the same results for other hosts.
    #[test]
    fn any_host_has_a_vendor(name in "[a-z0-9.-]{1,30}(\\.azurecr\\.io|\\.amazonaws\\.com|)") {
        if let Ok(host) = name.parse::<RegistryHost>() {
            let acme = Vendor::new("acme", "Acme").unwrap();
            let acme = acme.with_host("registry.acme.example".parse().unwrap());
            let table = VendorTable::built_in().with(acme);
            prop_assert_eq!(table.of(&host), Vendor::of(&host));
        }
    }
}
