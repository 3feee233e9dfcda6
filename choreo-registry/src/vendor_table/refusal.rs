//! Why a vendor can never accept a credential.

use std::fmt;

/// Why a vendor can never accept a credential.
///
/// ```
/// use choreo_registry::vendor_table::CredentialRefusal;
///
/// assert_eq!(
///     CredentialRefusal::EcrUsername.to_string(),
///     "Amazon ECR accepts no user name but AWS: choose the authentication type vendor, or enter \
///      AWS and the output of aws ecr get-login-password",
/// );
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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
    /// Google, `_json_key` or `_json_key_base64` with a password that is not a service account key.
    ServiceAccountKeyMalformed,
    /// Google, `_json_key_base64` with a key that is not in base64.
    ServiceAccountKeyNotInBase64,
}

impl fmt::Display for CredentialRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcrPublicUsername => {
                "Amazon ECR Public accepts no user name but AWS: choose public access, because \
                 anyone may pull from it"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_macros::assert_texts;

    #[test]
    fn each_variant_has_its_text() {
        use CredentialRefusal as C;

        assert_texts! { C:
            C::EcrPublicUsername = C::EcrPublicUsername =>
                "Amazon ECR Public accepts no user name but AWS: choose public access, because anyone \
                 may pull from it";
            C::EcrUsername = C::EcrUsername =>
                "Amazon ECR accepts no user name but AWS: choose the authentication type vendor, or \
                 enter AWS and the output of aws ecr get-login-password";
            C::FineGrainedToken = C::FineGrainedToken =>
                "GHCR accepts no fine-grained token (github_pat_…): create a classic personal access \
                 token with the scope read:packages";
            C::ServiceAccountKeyInBase64 = C::ServiceAccountKeyInBase64 =>
                "the key for _json_key is in base64: enter the user name _json_key_base64, or the \
                 JSON itself";
            C::ServiceAccountKeyMalformed = C::ServiceAccountKeyMalformed =>
                "the password is no service account key: paste the whole JSON file with \"type\": \
                 \"service_account\", \"client_email\" and \"private_key\"";
            C::ServiceAccountKeyNotInBase64 = C::ServiceAccountKeyNotInBase64 =>
                "the key for _json_key_base64 is not in base64: enter the user name _json_key, or \
                 encode the JSON file";
        }
    }
}
