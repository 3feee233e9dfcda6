//! What each vendor is known to refuse or to limit.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::Credential;
use crate::finding::{Code, Finding};
use crate::secret_json::SecretJson;

/// Why a vendor can never accept a credential.
///
/// ```
/// use choreo_registry::vendor::CredentialRefusal;
///
/// assert_eq!(
///     CredentialRefusal::EcrUsername.to_string(),
///     "Amazon ECR accepts no user name but AWS: choose the authentication type vendor, or enter \
///      AWS and the output of aws ecr get-login-password",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialRefusal {
    /// Amazon ECR Public, with a user name other than `AWS`.
    EcrPublicUsername,
    /// Amazon ECR, with a user name other than `AWS`.
    EcrUsername,
    /// GHCR, with a fine-grained personal access token.
    FineGrainedToken,
    /// Google, `_json_key` with a key in base64.
    ServiceAccountKeyInBase64,
    /// Google, `_json_key` or `_json_key_base64` with something that is no service account key.
    ServiceAccountKeyMalformed,
    /// Google, `_json_key_base64` with a key that is not in base64.
    ServiceAccountKeyNotInBase64,
}

impl fmt::Display for CredentialRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcrPublicUsername => {
                "Amazon ECR Public accepts no user name but AWS: choose public access, for \
                 everybody may pull from it"
            }
            Self::EcrUsername => {
                "Amazon ECR accepts no user name but AWS: choose the authentication type vendor, \
                 or enter AWS and the output of aws ecr get-login-password"
            }
            Self::FineGrainedToken => {
                "GHCR accepts no fine-grained token (github_pat_…): create a classic personal \
                 access token with the scope read:packages"
            }
            Self::ServiceAccountKeyInBase64 => {
                "the key for _json_key is in base64: enter the user name _json_key_base64, or the \
                 JSON itself"
            }
            Self::ServiceAccountKeyMalformed => {
                "the password is no service account key: paste the whole JSON file with \
                 \"type\": \"service_account\", \"client_email\" and \"private_key\""
            }
            Self::ServiceAccountKeyNotInBase64 => {
                "the key for _json_key_base64 is not in base64: enter the user name _json_key, or \
                 encode the JSON file"
            }
        })
    }
}

impl std::error::Error for CredentialRefusal {}

/// A vendor's judgement on a credential.
pub(super) type Check = fn(&Credential) -> Result<Vec<Finding>, CredentialRefusal>;

/// <https://learn.microsoft.com/azure/container-registry/container-registry-authentication>
pub(super) fn acr(credential: &Credential) -> Result<Vec<Finding>, CredentialRefusal> {
    let is_token = credential.username() == "00000000-0000-0000-0000-000000000000";
    Ok(is_token
        .then(|| short_lived("ACR's own token holds for about 3 hours"))
        .into_iter()
        .collect())
}

/// <https://docs.docker.com/security/access-tokens/>
pub(super) fn docker_hub(credential: &Credential) -> Result<Vec<Finding>, CredentialRefusal> {
    let is_email = credential.username().contains('@');
    Ok(is_email
        .then(|| {
            Finding::new(
                Code::DockerHubEmailUsername,
                "the user name for Docker Hub is an e-mail address",
                "enter the Docker ID, or the organisation's name with an organisation token",
            )
        })
        .into_iter()
        .collect())
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
pub(super) fn ecr(credential: &Credential) -> Result<Vec<Finding>, CredentialRefusal> {
    if credential.username() != "AWS" {
        return Err(CredentialRefusal::EcrUsername);
    }
    Ok(vec![short_lived(
        "a password for Amazon ECR holds for at most 12 hours",
    )])
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/public/public-registry-auth.html>
pub(super) fn ecr_public(credential: &Credential) -> Result<Vec<Finding>, CredentialRefusal> {
    if credential.username() != "AWS" {
        return Err(CredentialRefusal::EcrPublicUsername);
    }
    Ok(vec![Finding::new(
        Code::ShortLivedPassword,
        "a password for Amazon ECR Public holds for at most 12 hours",
        "choose public access, for everybody may pull from it",
    )])
}

/// <https://docs.github.com/packages/working-with-a-github-packages-registry/working-with-the-container-registry>
pub(super) fn ghcr(credential: &Credential) -> Result<Vec<Finding>, CredentialRefusal> {
    let password = credential.expose_password();
    if password.starts_with("github_pat_") {
        return Err(CredentialRefusal::FineGrainedToken);
    }
    let is_app_token = password.starts_with("ghs_");
    Ok(is_app_token
        .then(|| {
            Finding::new(
                Code::GhcrAppToken,
                "the token is one of a GitHub App or a workflow, which expires and may be denied \
                 pulls",
                "create a classic personal access token with the scope read:packages",
            )
        })
        .into_iter()
        .collect())
}

/// <https://cloud.google.com/artifact-registry/docs/docker/authentication>
pub(super) fn google(credential: &Credential) -> Result<Vec<Finding>, CredentialRefusal> {
    let password = credential.expose_password().trim();
    match credential.username() {
        "_json_key" if is_service_account_key(password) => Ok(Vec::new()),
        "_json_key" if decodes_to_key(password) => {
            Err(CredentialRefusal::ServiceAccountKeyInBase64)
        }
        "_json_key_base64" if decodes_to_key(password) => Ok(Vec::new()),
        "_json_key_base64" if is_service_account_key(password) => {
            Err(CredentialRefusal::ServiceAccountKeyNotInBase64)
        }
        "_json_key" | "_json_key_base64" => Err(CredentialRefusal::ServiceAccountKeyMalformed),
        "oauth2accesstoken" => Ok(vec![short_lived(
            "an access token of Google Cloud holds for about an hour",
        )]),
        _ => Ok(Vec::new()),
    }
}

fn short_lived(message: &str) -> Finding {
    Finding::new(
        Code::ShortLivedPassword,
        message,
        "choose the authentication type vendor, or renew the password before it expires",
    )
}

fn is_service_account_key(text: &str) -> bool {
    let Ok(key) = SecretJson::parse(text) else {
        return false;
    };
    let field = |name| {
        key.get(name)
            .and_then(SecretJson::as_str)
            .unwrap_or_default()
    };
    field("type") == "service_account"
        && !field("client_email").is_empty()
        && !field("private_key").is_empty()
}

fn decodes_to_key(text: &str) -> bool {
    let mut clean = Zeroizing::new(String::with_capacity(text.len()));
    clean.extend(text.split_ascii_whitespace());
    let mut key = Zeroizing::new(Vec::with_capacity(text.len()));
    STANDARD.decode_vec(clean.as_bytes(), &mut key).is_ok()
        && std::str::from_utf8(&key).is_ok_and(is_service_account_key)
}
