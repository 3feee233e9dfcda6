//! The built-in rows. To add a vendor, add a row here, and its samples in `tests/samples.rs`.

use super::credential_form::{ANY, Form, Secret, accepts, doubts, refuses};
use super::{Cloud, CredentialRefusal, HostPattern, TokenRealm, Vendor, acr};
use crate::authentication_type::AuthenticationType;
use crate::finding::Code;

use AuthenticationType::{Basic, DockerConfig, Public, Vendor as NodeIdentity};
use Secret::Like;

/// The facts about a vendor, for constants.
pub(super) struct Row {
    id: &'static str,
    name: &'static str,
    /// [`HostPattern`]s.
    hosts: &'static [&'static str],
    /// The first form that a credential matches decides; narrower forms may follow it, for readers.
    credentials: &'static [Form],
    recommended: &'static [AuthenticationType],
    cloud: Option<Cloud>,
    help: &'static str,
    documentation: &'static str,
    token_realm: Option<&'static str>,
    token_prefixes: &'static [&'static str],
    telling_usernames: &'static [&'static str],
    /// Whether an identity token is a password for the user name of zeros.
    identity_token_is_password: bool,
}

pub(super) const SELF_HOSTED: &str = "self-hosted";
pub(super) const WITHOUT_NODE_IDENTITY: &[AuthenticationType] = &[Basic, DockerConfig, Public];
const ALL_TYPES: &[AuthenticationType] = &[NodeIdentity, Basic, DockerConfig, Public];
const ECR_ID: &str = "ecr";

/// The defaults of all rows.
const ROW: Row = Row {
    id: SELF_HOSTED,
    name: "self-hosted registry",
    hosts: &[],
    credentials: &[accepts("*", ANY, ("any", "password or token"))],
    recommended: WITHOUT_NODE_IDENTITY,
    cloud: None,
    help: "enter what the registry's operator gave you",
    documentation: "https://distribution.github.io/distribution/about/configuration/#auth",
    token_realm: None,
    token_prefixes: &[],
    telling_usernames: &[],
    identity_token_is_password: false,
};

/// Sorted by name. A vendor whose row has no hosts is not recognised by the host.
pub(super) static ROWS: &[Row] = &[
    Row {
        id: "alibaba",
        name: "Alibaba Cloud Container Registry",
        hosts: &[
            "registry.*.aliyuncs.com",
            "registry-vpc.*.aliyuncs.com",
            "registry-internal.*.aliyuncs.com",
            "registry-intl.*.aliyuncs.com",
            "registry-intl-vpc.*.aliyuncs.com",
            "registry-intl-internal.*.aliyuncs.com",
            "*-registry.*.cr.aliyuncs.com",
            "*-registry-vpc.*.cr.aliyuncs.com",
            "*.*.personal.cr.aliyuncs.com",
        ],
        credentials: &[
            accepts(
                "cr_temp_user",
                ANY,
                ("`cr_temp_user`", "temporary password"),
            )
            .hours(1),
            accepts("*", ANY, ("`<user>@<account>`", "registry password")),
        ],
        cloud: Some(Cloud::Alibaba),
        help: "set a password under Access Credential of the instance",
        documentation: "https://www.alibabacloud.com/help/en/acr/user-guide/configure-access-credentials",
        token_realm: Some("https://dockerauth.*.aliyuncs.com/auth"),
        ..ROW
    },
    Row {
        id: ECR_ID,
        name: "Amazon ECR",
        credentials: &[
            UNDECODED_TOKEN,
            accepts(
                "AWS",
                ANY,
                ("`AWS`", "output of `aws ecr get-login-password`"),
            )
            .hours(12),
            refuses("*", ANY, CredentialRefusal::EcrUsername),
        ],
        recommended: &[NodeIdentity, Basic, DockerConfig],
        cloud: Some(Cloud::Aws),
        help: "enter AWS and the output of aws ecr get-login-password",
        documentation: "https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html",
        ..ROW
    },
    Row {
        id: "ecr-public",
        name: "Amazon ECR Public",
        hosts: &["public.ecr.aws", "ecr-public.aws.com"],
        credentials: &[
            UNDECODED_TOKEN,
            accepts(
                "AWS",
                ANY,
                ("`AWS`", "output of `aws ecr-public get-login-password`"),
            )
            .hours(12),
            refuses("*", ANY, CredentialRefusal::EcrPublicUsername),
        ],
        recommended: &[Public, Basic, DockerConfig],
        cloud: Some(Cloud::Aws),
        help: "choose public access, because anyone may pull from it",
        documentation: "https://docs.aws.amazon.com/AmazonECR/latest/public/public-registry-auth.html",
        token_realm: Some("https://public.ecr.aws/token/"),
        ..ROW
    },
    Row {
        id: "acr",
        name: "Azure Container Registry",
        hosts: acr::HOSTS,
        credentials: &[
            accepts(
                "00000000-0000-0000-0000-000000000000",
                ANY,
                (
                    "`00000000-0000-0000-0000-000000000000`",
                    "output of `az acr login --expose-token`",
                ),
            )
            .hours(3),
            accepts(
                "????????-????-????-????-????????????",
                ANY,
                ("`<application id>`", "service principal's secret"),
            ),
            accepts(
                "*",
                ANY,
                (
                    "`<repository token>` or `<registry>`",
                    "token's or admin user's password",
                ),
            ),
        ],
        recommended: ALL_TYPES,
        cloud: Some(Cloud::Azure),
        help: "create a repository token or a service principal with the role AcrPull",
        documentation: "https://learn.microsoft.com/azure/container-registry/container-registry-authentication",
        identity_token_is_password: true,
        ..ROW
    },
    Row {
        id: "chainguard",
        name: "Chainguard",
        hosts: &["cgr.dev"],
        credentials: &[
            accepts(
                "*/*",
                ANY,
                (
                    "`<organisation id>/<token id>`",
                    "pull token, 30 days unless chosen",
                ),
            ),
            accepts("*", ANY, ("any", "token of `chainctl`")),
        ],
        help: "create a pull token with chainctl auth configure-docker --pull-token",
        documentation: "https://edu.chainguard.dev/chainguard/chainguard-images/chainguard-registry/authenticating/",
        ..ROW
    },
    Row {
        id: "digitalocean",
        name: "DigitalOcean Container Registry",
        hosts: &["registry.digitalocean.com"],
        credentials: &[accepts(
            "*",
            ANY,
            ("any; `doctl` writes the token", "API token"),
        )],
        recommended: &[Basic, DockerConfig],
        cloud: Some(Cloud::DigitalOcean),
        help: "enter an API token with read access, or the output of doctl registry docker-config",
        documentation: "https://docs.digitalocean.com/products/container-registry/how-to/use-registry-docker-kubernetes/",
        token_realm: Some("https://api.digitalocean.com/v2/registry/auth"),
        token_prefixes: &["dop_v1_", "doo_v1_"],
        ..ROW
    },
    Row {
        id: "docker-hub",
        name: "Docker Hub",
        hosts: &["docker.io"],
        credentials: &[
            doubts(
                "*@*",
                ANY,
                Code::DockerHubEmailUsername,
                (
                    "the user name for Docker Hub is an e-mail address",
                    "enter the Docker ID, or the organisation's name with an organisation token",
                ),
            ),
            accepts(
                "*",
                Like("dckr_pat_*"),
                ("`<Docker ID>`", "personal access token `dckr_pat_…`"),
            ),
            accepts(
                "*",
                Like("dckr_oat_*"),
                ("`<organisation>`", "organisation access token `dckr_oat_…`"),
            ),
            doubts(
                "*",
                ANY,
                Code::AccountPassword,
                (
                    "the password for Docker Hub is no access token",
                    "enter a personal access token that may only read: it can be revoked alone",
                ),
            ),
        ],
        help: "create a personal access token that may only read",
        documentation: "https://docs.docker.com/security/access-tokens/",
        token_realm: Some("https://auth.docker.io/token"),
        token_prefixes: &["dckr_pat_", "dckr_oat_"],
        ..ROW
    },
    Row {
        id: "elastic",
        name: "Elastic",
        hosts: &["docker.elastic.co"],
        credentials: &[accepts("*", ANY, ("any", "token of Elastic"))],
        recommended: &[Public, Basic, DockerConfig],
        help: "choose public access, because anyone may pull from it",
        documentation: "https://www.docker.elastic.co/",
        token_realm: Some("https://docker-auth.elastic.co/auth"),
        ..ROW
    },
    Row {
        id: "ghcr",
        name: "GitHub Container Registry",
        hosts: &["ghcr.io"],
        credentials: &[
            refuses(
                "*",
                Like("github_pat_*"),
                CredentialRefusal::FineGrainedToken,
            ),
            doubts(
                "*",
                Like("ghs_*"),
                Code::GhcrAppToken,
                (
                    "the token is one of a GitHub App or a workflow, which expires and may be \
                     denied pulls",
                    "create a classic personal access token with the scope read:packages",
                ),
            ),
            doubts(
                "*",
                Like("ghr_*"),
                Code::UnknownCredentialForm,
                (
                    "the password is a refresh token of GitHub, with which nothing can be pulled",
                    "create a classic personal access token with the scope read:packages",
                ),
            ),
            accepts(
                "*",
                Like("gh?_*"),
                ("`<GitHub login>`", "classic personal access token `ghp_…`"),
            ),
            // Personal access tokens from before 2021 are 40 hexadecimal digits.
            accepts(
                "*",
                Like("????????????????????????????????????????"),
                ("", ""),
            ),
        ],
        help: "create a classic personal access token with the scope read:packages",
        documentation: "https://docs.github.com/packages/working-with-a-github-packages-registry/working-with-the-container-registry",
        token_realm: Some("https://ghcr.io/token"),
        token_prefixes: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        ..ROW
    },
    Row {
        id: "gitlab",
        name: "GitLab",
        hosts: &["registry.gitlab.com"],
        credentials: &[
            accepts(
                "gitlab-ci-token",
                ANY,
                ("`gitlab-ci-token`", "token of a CI job"),
            )
            .hours(1),
            accepts(
                "gitlab+deploy-token-*",
                ANY,
                ("`gitlab+deploy-token-<n>`", "deploy token `gldt-…`"),
            ),
            accepts(
                "*",
                ANY,
                ("any", "personal, group or project access token `glpat-…`"),
            ),
        ],
        help: "create a deploy token with the scope read_registry",
        documentation: "https://docs.gitlab.com/user/packages/container_registry/authenticate_with_container_registry/",
        token_realm: Some("https://gitlab.com/jwt/auth"),
        token_prefixes: &["glpat-", "gldt-"],
        telling_usernames: &["gitlab-ci-token", "gitlab+deploy-token-*"],
        ..ROW
    },
    Row {
        id: "gar",
        name: "Google Artifact Registry",
        hosts: &[
            "*-docker.pkg.dev",
            "docker.*.goog",
            "*-docker.s3nsregistry.fr",
        ],
        credentials: GOOGLE,
        recommended: ALL_TYPES,
        cloud: Some(Cloud::Gcp),
        help: "create a key of a service account with the role Artifact Registry Reader",
        documentation: "https://cloud.google.com/artifact-registry/docs/docker/authentication",
        ..ROW
    },
    Row {
        id: "gcr",
        name: "Google gcr.io",
        hosts: &[
            "gcr.io",
            "us.gcr.io",
            "eu.gcr.io",
            "asia.gcr.io",
            "marketplace.gcr.io",
            "container.cloud.google.com",
        ],
        credentials: GOOGLE,
        recommended: ALL_TYPES,
        cloud: Some(Cloud::Gcp),
        help: "create a key of a service account with the role Artifact Registry Reader",
        documentation: "https://cloud.google.com/artifact-registry/docs/transition/transition-from-gcr",
        ..ROW
    },
    Row {
        id: "harbor",
        name: "Harbor",
        credentials: &[
            accepts("robot$*", ANY, ("`robot$<name>`", "robot's secret")),
            accepts(
                "robot$*+*",
                ANY,
                ("`robot$<project>+<name>`", "robot's secret"),
            ),
            accepts("*", ANY, ("`<user>`", "password or CLI secret")),
        ],
        help: "create a robot account of the project that may pull",
        documentation: "https://goharbor.io/docs/latest/working-with-projects/project-configuration/create-robot-accounts/",
        telling_usernames: &["robot$*"],
        ..ROW
    },
    Row {
        id: "heroku",
        name: "Heroku Container Registry",
        hosts: &["registry.heroku.com"],
        credentials: &[accepts(
            "*",
            ANY,
            ("`_`, or any", "output of `heroku auth:token`"),
        )],
        recommended: &[Basic, DockerConfig],
        help: "enter _ and the output of heroku auth:token",
        documentation: "https://devcenter.heroku.com/articles/container-registry-and-runtime",
        ..ROW
    },
    Row {
        id: "ibm",
        name: "IBM Cloud Container Registry",
        hosts: &["icr.io", "*.icr.io", "private.*.icr.io"],
        credentials: &[
            accepts("iamapikey", ANY, ("`iamapikey`", "API key")),
            accepts("iambearer", ANY, ("`iambearer`", "IAM access token")).hours(1),
            accepts("iamrefresh", ANY, ("`iamrefresh`", "IAM refresh token")),
        ],
        cloud: Some(Cloud::Ibm),
        help: "enter iamapikey and the API key of a service ID with the role Reader",
        documentation: "https://cloud.ibm.com/docs/Registry?topic=Registry-registry_access",
        ..ROW
    },
    Row {
        id: "jfrog",
        name: "JFrog Artifactory",
        hosts: &["*.jfrog.io"],
        credentials: &[accepts(
            "*",
            ANY,
            ("`<user>`", "password, access, identity or reference token"),
        )],
        help: "enter a user name and an access token that may read the repository",
        documentation: "https://docs.jfrog.com/artifactory/docs/docker-repositories",
        ..ROW
    },
    Row {
        id: "kubernetes",
        name: "Kubernetes project",
        hosts: &["registry.k8s.io", "k8s.gcr.io"],
        credentials: &[],
        recommended: &[Public],
        help: "choose public access, because anyone may pull from it",
        documentation: "https://github.com/kubernetes/registry.k8s.io",
        ..ROW
    },
    Row {
        id: "mcr",
        name: "Microsoft Artifact Registry",
        hosts: &["mcr.microsoft.com"],
        credentials: &[],
        recommended: &[Public],
        help: "choose public access, because anyone may pull from it",
        documentation: "https://github.com/microsoft/containerregistry",
        ..ROW
    },
    Row {
        id: "nvidia",
        name: "NVIDIA NGC",
        hosts: &["nvcr.io"],
        credentials: &[accepts(
            "$oauthtoken",
            ANY,
            ("`$oauthtoken`", "API key, `nvapi-…` or legacy"),
        )],
        help: "enter $oauthtoken, as it is written here, and an NGC API key",
        documentation: "https://docs.nvidia.com/ngc/gpu-cloud/ngc-user-guide/index.html",
        token_realm: Some("https://nvcr.io/proxy_auth"),
        token_prefixes: &["nvapi-"],
        ..ROW
    },
    Row {
        id: "oracle",
        name: "Oracle Cloud Infrastructure Registry",
        hosts: &["*.ocir.io", "ocir.*.oci.oraclecloud.com"],
        credentials: &[
            accepts("*/*", ANY, ("`<namespace>/<user>`", "auth token")),
            accepts(
                "*/*/*",
                ANY,
                ("`<namespace>/<identity domain>/<user>`", "auth token"),
            ),
        ],
        cloud: Some(Cloud::Oracle),
        help: "enter <tenancy namespace>/<user name> and an auth token",
        documentation: "https://docs.oracle.com/en-us/iaas/Content/Registry/Tasks/registrypushingimagesusingthedockercli.htm",
        ..ROW
    },
    Row {
        id: "quay",
        name: "Quay",
        hosts: &["quay.io"],
        credentials: &[
            accepts("*+*", ANY, ("`<organisation>+<robot>`", "robot's token")),
            accepts(
                "$oauthtoken",
                ANY,
                ("`$oauthtoken`", "OAuth 2 access token"),
            ),
            accepts("$app", ANY, ("`$app`", "application-specific token")),
            accepts("$token", ANY, ("`$token`", "access token")),
            accepts("*", ANY, ("`<user>`", "encrypted password")),
        ],
        help: "create a robot account with read access",
        documentation: "https://docs.quay.io/glossary/robot-accounts.html",
        token_realm: Some("https://quay.io/v2/auth"),
        telling_usernames: &["$oauthtoken", "$app", "$token"],
        ..ROW
    },
    Row {
        id: "redhat",
        name: "Red Hat registry",
        hosts: &[
            "registry.redhat.io",
            "registry.connect.redhat.com",
            "registry.access.redhat.com",
        ],
        credentials: &[
            accepts(
                "*|*",
                ANY,
                ("`<number>|<name>`", "registry service account's token"),
            ),
            doubts(
                "*",
                ANY,
                Code::AccountPassword,
                (
                    "the user name is no registry service account of Red Hat (<number>|<name>)",
                    "create a registry service account: its token can be revoked alone",
                ),
            ),
        ],
        help: "create a registry service account",
        documentation: "https://access.redhat.com/RegistryAuthentication",
        ..ROW
    },
    Row {
        id: "scaleway",
        name: "Scaleway Container Registry",
        hosts: &["rg.*.scw.cloud"],
        credentials: &[accepts("*", ANY, ("any, such as `nologin`", "secret key"))],
        cloud: Some(Cloud::Scaleway),
        help: "enter nologin and the secret key of an API key",
        documentation: "https://www.scaleway.com/en/docs/container-registry/how-to/connect-docker-cli/",
        token_realm: Some("https://api.scaleway.com/registry-internal/v1/"),
        ..ROW
    },
    // The fallback.
    ROW,
];

/// `authorizationToken` of `aws ecr get-authorization-token`: base64 of `AWS:` and the password.
const UNDECODED_TOKEN: Form = doubts(
    "AWS",
    Like("QVdTO*"),
    Code::EcrTokenUndecoded,
    (
        "the password is the authorizationToken of Amazon ECR as it comes, base64 of AWS: and the \
         password",
        "decode it and enter what follows AWS:, or the output of aws ecr get-login-password",
    ),
);

/// Forms that both of Google's registries accept.
const GOOGLE: &[Form] = &[
    accepts(
        "_json_key",
        Secret::Key,
        ("`_json_key`", "service account key, JSON"),
    ),
    refuses(
        "_json_key",
        Secret::KeyInBase64,
        CredentialRefusal::ServiceAccountKeyInBase64,
    ),
    refuses(
        "_json_key",
        ANY,
        CredentialRefusal::ServiceAccountKeyMalformed,
    ),
    accepts(
        "_json_key_base64",
        Secret::KeyInBase64,
        ("`_json_key_base64`", "the same in base64"),
    ),
    refuses(
        "_json_key_base64",
        Secret::Key,
        CredentialRefusal::ServiceAccountKeyNotInBase64,
    ),
    refuses(
        "_json_key_base64",
        ANY,
        CredentialRefusal::ServiceAccountKeyMalformed,
    ),
    accepts(
        "oauth2accesstoken",
        ANY,
        (
            "`oauth2accesstoken`",
            "output of `gcloud auth print-access-token`",
        ),
    )
    .hours(1),
    accepts("_token", ANY, ("`_token`", "access token")).hours(1),
];

impl From<&'static Row> for Vendor {
    fn from(row: &'static Row) -> Self {
        let pattern = |pattern: &&str| -> HostPattern {
            pattern
                .parse()
                .expect("a test reads all patterns of the built-in table")
        };
        let hosts = if row.id == ECR_ID {
            vec![HostPattern::ecr()]
        } else {
            row.hosts.iter().map(pattern).collect()
        };
        Self {
            id: row.id.into(),
            name: row.name.into(),
            hosts,
            credentials: row.credentials.iter().map(Into::into).collect(),
            recommended: row.recommended.into(),
            cloud: row.cloud,
            help: row.help.into(),
            documentation: Some(row.documentation.into()),
            token_realm: row.token_realm.map(|url| {
                TokenRealm::new(url.into()).expect("a test reads all realms of the built-in table")
            }),
            token_prefixes: row.token_prefixes.iter().map(|&it| it.into()).collect(),
            telling_usernames: row.telling_usernames,
            identity_token_is_password: row.identity_token_is_password,
        }
    }
}
