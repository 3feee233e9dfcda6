//! Samples for every row: hosts that match it and hosts that do not, and credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::CredentialRefusal;
use crate::finding::Code;
use crate::finding::Code::{
    AccountPassword, CredentialUnneeded, DockerHubEmailUsername, GhcrAppToken,
    NodeIdentityAvailable, ShortLivedPassword, TokenAsUsername, TokenOfAnotherVendor,
    UnknownCredentialForm,
};

pub(super) const ECR: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

pub(super) const KEY: &str = r#"{"type":"service_account","client_email":"ci@acme.example","private_key":"-----BEGIN PRIVATE KEY-----\nMII"}"#;

pub(super) fn key_in_base64() -> String {
    STANDARD.encode(KEY)
}

type Hosts = &'static [&'static str];

/// The id of a row, its hosts, and hosts that only resemble them.
pub(super) const HOSTS: &[(&str, Hosts, Hosts)] = &[
    (
        "acr",
        &[
            "acme.azurecr.io",
            "acme.azurecr.us",
            "acme.azurecr.cn",
            "acme.azurecr.de",
            "contosoacrregistry-e7ggejfuhzhgedc8.azurecr.io",
            "acme.westeurope.geo.azurecr.io",
            "acme.usgovvirginia.geo.azurecr.us",
            "acme.chinanorth.geo.azurecr.cn",
            "acme.germanycentral.geo.azurecr.de",
        ],
        &[
            "azurecr.io",
            "acme.azurecr.io.example.com",
            "acmeazurecr.io",
            "acme.azurecr.io:5000",
            "acme.azurecr.fr",
        ],
    ),
    (
        "alibaba",
        &[
            "registry.cn-hangzhou.aliyuncs.com",
            "registry-vpc.cn-hangzhou.aliyuncs.com",
            "registry-internal.cn-hangzhou.aliyuncs.com",
            "registry-intl.ap-southeast-1.aliyuncs.com",
            "registry-intl-vpc.ap-southeast-1.aliyuncs.com",
            "registry-intl-internal.ap-southeast-1.aliyuncs.com",
            "crpi-lx9i6atrn34g.cn-hangzhou.personal.cr.aliyuncs.com",
            "acme-registry.cn-hangzhou.cr.aliyuncs.com",
            "acme-registry-vpc.cn-hangzhou.cr.aliyuncs.com",
        ],
        &["registry.aliyuncs.com", "oss.cn-hangzhou.aliyuncs.com"],
    ),
    ("chainguard", &["cgr.dev"], &["acme.cgr.dev"]),
    (
        "digitalocean",
        &["registry.digitalocean.com"],
        &["digitalocean.com", "acme.registry.digitalocean.com"],
    ),
    (
        "docker-hub",
        &[
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
            "registry.hub.docker.com",
            "https://index.docker.io/v1/",
        ],
        &["docker.io.example", "auth.docker.io", "docker.io:5000"],
    ),
    (
        "ecr",
        &[
            ECR,
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "123456789012.dkr-ecr.us-west-2.on.aws",
            "123456789012.dkr-ecr-fips.us-gov-east-1.on.aws",
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
            "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
            "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
            "123456789012.dkr.ecr.us-isof-east-1.csp.hci.ic.gov",
            "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
        ],
        &[
            "1234567890123.dkr.ecr.us-east-1.amazonaws.com",
            "12345678901.dkr.ecr.us-east-1.amazonaws.com",
            "12345678901a.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.hacker.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.fake.example.com",
            "123456789012.dkr-ecr.us-west-2.on.aws.com.cn",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.ecr.us-east-1.amazonaws.com",
            "dkr.ecr.not-real.amazonaws.com",
            "dog.ecr",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com:5000",
        ],
    ),
    (
        "ecr-public",
        &["public.ecr.aws", "ecr-public.aws.com"],
        &["ecr.aws", "acme.public.ecr.aws"],
    ),
    (
        "gar",
        &[
            "europe-west1-docker.pkg.dev",
            "us-docker.pkg.dev",
            "u-france-east1-docker.s3nsregistry.fr",
            "docker.pkg-acme.goog",
        ],
        &[
            "a.b-docker.pkg.dev",
            "pkg.dev",
            "us-python.pkg.dev",
            "docker.goog",
        ],
    ),
    (
        "gcr",
        &[
            "gcr.io",
            "us.gcr.io",
            "eu.gcr.io",
            "asia.gcr.io",
            "marketplace.gcr.io",
            "container.cloud.google.com",
        ],
        &["k8s.gcr.io", "mirror.gcr.io", "gcr.io.example"],
    ),
    (
        "ghcr",
        &["ghcr.io", "GHCR.io:443"],
        &["x.ghcr.io", "ghcr.io:5000"],
    ),
    (
        "gitlab",
        &["registry.gitlab.com"],
        &["gitlab.com", "registry.gitlab.example"],
    ),
    (
        "heroku",
        &["registry.heroku.com"],
        &["heroku.com", "registry.heroku.com.example"],
    ),
    (
        "elastic",
        &["docker.elastic.co"],
        &[
            "docker-auth.elastic.co",
            "elastic.co",
            "docker.elastic.co.evil.example",
        ],
    ),
    (
        "ibm",
        &[
            "icr.io",
            "us.icr.io",
            "uk.icr.io",
            "de.icr.io",
            "jp.icr.io",
            "private.us.icr.io",
        ],
        &["a.us.icr.io", "acmeicr.io"],
    ),
    (
        "jfrog",
        &["acme.jfrog.io", "acme-docker.jfrog.io"],
        &["jfrog.io", "a.acme.jfrog.io"],
    ),
    (
        "kubernetes",
        &["registry.k8s.io", "k8s.gcr.io"],
        &["k8s.io", "europe.registry.k8s.io"],
    ),
    (
        "mcr",
        &["mcr.microsoft.com"],
        &["microsoft.com", "westeurope.data.mcr.microsoft.com"],
    ),
    ("nvidia", &["nvcr.io"], &["acme.nvcr.io"]),
    (
        "oracle",
        &[
            "iad.ocir.io",
            "phx.ocir.io",
            "fra.ocir.io",
            "ocir.eu-frankfurt-1.oci.oraclecloud.com",
        ],
        &["ocir.io", "eu-frankfurt-1.oci.oraclecloud.com"],
    ),
    ("quay", &["quay.io"], &["cdn.quay.io", "quay.example"]),
    (
        "redhat",
        &[
            "registry.redhat.io",
            "registry.connect.redhat.com",
            "registry.access.redhat.com",
        ],
        &["redhat.io", "access.redhat.com"],
    ),
    (
        "scaleway",
        &[
            "rg.fr-par.scw.cloud",
            "rg.nl-ams.scw.cloud",
            "rg.pl-waw.scw.cloud",
        ],
        &["rg.scw.cloud", "s3.fr-par.scw.cloud"],
    ),
];

type Expected = Result<&'static [Code], CredentialRefusal>;

const FINE: Expected = Ok(&[]);
const SHORT_LIVED: Expected = Ok(&[ShortLivedPassword]);

/// The id of a row, a user name, a password, and the expected result.
pub(super) const CREDENTIALS: &[(&str, &str, &str, Expected)] = &[
    (
        "acr",
        "00000000-0000-0000-0000-000000000000",
        "eyJx",
        SHORT_LIVED,
    ),
    (
        "acr",
        "8f14e45f-ceea-467f-a0e6-1b1b1b1b1b1b",
        "x",
        Ok(&[NodeIdentityAvailable]),
    ),
    ("acr", "acme", "x", Ok(&[NodeIdentityAvailable])),
    ("alibaba", "cr_temp_user", "x", SHORT_LIVED),
    ("alibaba", "alice@acme", "x", FINE),
    ("chainguard", "45a0/8f14", "eyJx", FINE),
    ("chainguard", "_token", "eyJx", FINE),
    ("digitalocean", "unused", "dop_v1_0", FINE),
    ("digitalocean", "alice@acme.example", "x", FINE),
    (
        "digitalocean",
        "dop_v1_0",
        "dop_v1_0",
        Ok(&[TokenAsUsername]),
    ),
    ("docker-hub", "alice", "dckr_pat_0", FINE),
    ("docker-hub", "acme", "dckr_oat_0", FINE),
    ("docker-hub", "alice", "\ndckr_pat_0\n", FINE),
    ("docker-hub", "alice", "x", Ok(&[AccountPassword])),
    (
        "docker-hub",
        "alice@acme.example",
        "dckr_pat_0",
        Ok(&[DockerHubEmailUsername]),
    ),
    (
        "docker-hub",
        "alice",
        "glpat-0",
        Ok(&[TokenOfAnotherVendor]),
    ),
    (
        "docker-hub",
        "dckr_pat_0",
        "x",
        Ok(&[AccountPassword, TokenAsUsername]),
    ),
    (
        "docker-hub",
        "admin",
        "admin",
        Ok(&[AccountPassword, TokenAsUsername]),
    ),
    ("ecr", "AWS", "eyJx", SHORT_LIVED),
    ("ecr", "aws", "x", Err(CredentialRefusal::EcrUsername)),
    ("ecr", "AWS ", "x", Err(CredentialRefusal::EcrUsername)),
    ("ecr", "alice", "ghp_0", Err(CredentialRefusal::EcrUsername)),
    ("ecr-public", "AWS", "eyJx", SHORT_LIVED),
    (
        "ecr-public",
        "alice",
        "x",
        Err(CredentialRefusal::EcrPublicUsername),
    ),
    ("gar", "_json_key", KEY, Ok(&[NodeIdentityAvailable])),
    ("gar", "oauth2accesstoken", "ya29.x", SHORT_LIVED),
    ("gar", "_token", "ya29.x", SHORT_LIVED),
    ("gar", "alice", KEY, Ok(&[UnknownCredentialForm])),
    ("gcr", "oauth2accesstoken", "ya29.x", SHORT_LIVED),
    ("ghcr", "alice", "ghp_0", FINE),
    ("ghcr", "alice", "gho_0", FINE),
    ("ghcr", "alice", "ghu_0", FINE),
    (
        "ghcr",
        "alice",
        "0123456789abcdef0123456789abcdef01234567",
        FINE,
    ),
    ("ghcr", "alice", "ghs_eyJ.a.b", Ok(&[GhcrAppToken])),
    ("ghcr", "alice", "ghr_0", Ok(&[UnknownCredentialForm])),
    ("ghcr", "alice", "hunter2", Ok(&[UnknownCredentialForm])),
    ("ghcr", "alice", "dckr_pat_0", Ok(&[TokenOfAnotherVendor])),
    (
        "ghcr",
        "alice",
        "github_pat_0",
        Err(CredentialRefusal::FineGrainedToken),
    ),
    ("gitlab", "gitlab-ci-token", "eyJx", SHORT_LIVED),
    ("gitlab", "gitlab+deploy-token-1", "gldt-0", FINE),
    ("gitlab", "alice", "glpat-0.1.2", FINE),
    ("gitlab", "alice", "hunter2", FINE),
    ("gitlab", "glpat-0", "x", Ok(&[TokenAsUsername])),
    ("harbor", "robot$ci", "x", FINE),
    ("harbor", "robot$acme+ci", "x", FINE),
    ("harbor", "alice", "x", FINE),
    ("heroku", "_", "x", FINE),
    ("elastic", "alice", "x", FINE),
    ("ibm", "iamapikey", "x", FINE),
    ("ibm", "iambearer", "x", SHORT_LIVED),
    ("ibm", "iamrefresh", "x", FINE),
    ("ibm", "alice", "x", Ok(&[UnknownCredentialForm])),
    ("jfrog", "alice", "x", FINE),
    ("kubernetes", "alice", "x", Ok(&[CredentialUnneeded])),
    ("mcr", "alice", "x", Ok(&[CredentialUnneeded])),
    ("nvidia", "$oauthtoken", "nvapi-0", FINE),
    ("nvidia", "$oauthtoken", "x", FINE),
    ("nvidia", "alice", "nvapi-0", Ok(&[UnknownCredentialForm])),
    ("oracle", "acme/alice", "x;y", FINE),
    ("oracle", "acme/oracleidentitycloudservice/alice", "x", FINE),
    ("oracle", "alice", "x", Ok(&[UnknownCredentialForm])),
    ("quay", "acme+ci", "x", FINE),
    ("quay", "$oauthtoken", "x", FINE),
    ("quay", "$app", "x", FINE),
    ("quay", "$token", "x", FINE),
    ("quay", "alice", "x", FINE),
    ("redhat", "14498751|-futurama", "eyJx", FINE),
    ("redhat", "alice", "x", Ok(&[AccountPassword])),
    ("scaleway", "nologin", "x", FINE),
    ("self-hosted", "alice", "hunter2", FINE),
    ("self-hosted", "alice", "ghp_0", FINE),
    ("self-hosted", "ghp_0", "x", Ok(&[TokenAsUsername])),
];
