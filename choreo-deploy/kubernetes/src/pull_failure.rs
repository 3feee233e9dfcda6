//! The reason why an image could not be pulled: a table of the texts of container runtimes.
//!
//! Runtimes report no code, only text, which differs by runtime (containerd, CRI-O, Docker Engine).
//! The first row that matches wins, so the order matters: containerd also reports `not found` for a
//! platform, and `denied` for a registry with a rate limit.

use choreo_deploy::reason::{Evidence, Reason, ReasonCode};

/// A failed pull, and whether it may be transient.
#[derive(Debug)]
pub(crate) struct PullFailure {
    pub(crate) reason: Reason,
    pub(crate) is_transient: bool,
}

struct Row {
    /// One of these texts, in lower case.
    says: &'static [&'static str],
    code: ReasonCode,
    is_transient: bool,
    /// `{}` stands for the image.
    message: &'static str,
    help: &'static str,
}

const TABLE: &[Row] = &[
    Row {
        says: &[
            "no match for platform in manifest",
            "no image found in image index for architecture",
            "no image found in manifest list for architecture",
            "no matching manifest for",
        ],
        code: ReasonCode::ImagePlatformMismatch,
        is_transient: false,
        message: "image {} is not built for the processors of this data plane",
        help: "build and push it for the platform of the data plane, such as linux/amd64",
    },
    Row {
        says: &[
            "429 too many",
            "toomanyrequests",
            "too many requests",
            "rate limit",
        ],
        code: ReasonCode::RegistryRateLimited,
        is_transient: true,
        message: "the registry of image {} limits how often it is asked, and the limit is reached",
        help: "wait, or use a credential with a higher limit",
    },
    Row {
        says: &["pull qps exceeded"],
        code: ReasonCode::ImagePullFailed,
        is_transient: true,
        message: "the node pulls too many images at once to pull {} now",
        help: "it is tried again by itself",
    },
    Row {
        says: &["server gave http response to https client"],
        code: ReasonCode::RegistryTls,
        is_transient: false,
        message: "the registry of image {} speaks plain HTTP, and nodes pull over HTTPS",
        help: "give the registry a certificate, or ask the operator to allow plain HTTP to it on the nodes",
    },
    Row {
        says: &["x509:", "tls:", "certificate"],
        code: ReasonCode::RegistryTls,
        is_transient: false,
        message: "the nodes do not trust the TLS certificate of the registry of image {}",
        help: "ask the operator to add the registry's certificate authority to the nodes, or renew the certificate",
    },
    Row {
        says: &[
            "image verifier",
            "source image rejected",
            "signature validation failed",
        ],
        code: ReasonCode::AdmissionRefused,
        is_transient: false,
        message: "a policy of the data plane refuses image {}",
        help: "sign the image as the operator asks for",
    },
    Row {
        says: &[
            "schema 1 image manifests",
            "media type is no longer supported",
        ],
        code: ReasonCode::ImagePullFailed,
        is_transient: false,
        message: "image {} is in a format that is not supported any more",
        help: "build and push it again with a current tool",
    },
    Row {
        says: &[
            "failed to fetch oauth token",
            "invalid username/password",
            "incorrect username or password",
            "401 unauthorized",
        ],
        code: ReasonCode::RegistryCredentialRefused,
        is_transient: false,
        message: "the registry of image {} does not accept the credential",
        help: "check the username and the password or token of the container registry",
    },
    Row {
        says: &["no basic auth credentials", "authentication required"],
        code: ReasonCode::RegistryCredentialMissing,
        is_transient: false,
        message: "the registry of image {} asks for a credential and got none",
        help: "check that the pull secret is for the host of the image",
    },
    Row {
        says: &[
            "failed to fetch anonymous token",
            "pull access denied",
            "insufficient_scope",
            "403 forbidden",
            "access to the resource is denied",
            "denied:",
            "unauthorized:",
        ],
        code: ReasonCode::RegistryPullDenied,
        is_transient: false,
        message: "the credential may not pull image {}, or there is no such image",
        help: "check the name of the image, and that the credential may pull it",
    },
    Row {
        says: &[
            "no such host",
            "server misbehaving",
            "connection refused",
            "connection reset",
            "no route to host",
            "network is unreachable",
            "i/o timeout",
            "tls handshake timeout",
            "context deadline exceeded",
            "unexpected eof",
            "500 internal server error",
            "502 bad gateway",
            "503 service unavailable",
            "504 gateway timeout",
            "registry is unavailable",
            "received unexpected http status",
            ": eof",
        ],
        code: ReasonCode::RegistryUnreachable,
        is_transient: true,
        message: "the nodes cannot reach the registry of image {}",
        help: "check the host of the container registry, and that the data plane may reach it",
    },
    Row {
        says: &["manifest unknown", "name unknown", "not found", " 404"],
        code: ReasonCode::ImageNotFound,
        is_transient: false,
        message: "image {} does not exist in the registry",
        help: "check the name and the tag, or push the image first",
    },
];

/// The meaning of a rejection by a registry that got no credential.
const WITHOUT_SECRET: &[(ReasonCode, ReasonCode, &str, &str)] = &[
    (
        ReasonCode::RegistryCredentialMissing,
        ReasonCode::RegistryCredentialMissing,
        "the registry of image {} asks for a credential, and none is registered for it",
        REGISTER,
    ),
    (
        ReasonCode::RegistryCredentialRefused,
        ReasonCode::RegistryCredentialMissing,
        "the registry of image {} asks for a credential, and none is registered for it",
        REGISTER,
    ),
    (
        ReasonCode::RegistryPullDenied,
        ReasonCode::RegistryPullDenied,
        "image {} may not be pulled without a credential, or there is no such image",
        "check the name of the image; if it is private, register the container registry with a credential",
    ),
];
const REGISTER: &str =
    "register the container registry with a credential, or let the nodes have one";

/// Classifies a container runtime's text about an image that was pulled with a pull secret or
/// without.
pub(crate) fn classify(image: &str, text: &str, has_secret: bool) -> PullFailure {
    // The text contains the name of the image, which may contain any of these words.
    let said = text.replace(image, "IMAGE").to_ascii_lowercase();
    let row = TABLE
        .iter()
        .find(|row| row.says.iter().any(|words| said.contains(words)));
    let (code, is_transient, message, help) = match row {
        Some(row) => (row.code, row.is_transient, row.message, row.help),
        None => (
            ReasonCode::ImagePullFailed,
            true,
            "image {} cannot be pulled",
            "see what the data plane reports",
        ),
    };
    let without = WITHOUT_SECRET
        .iter()
        .find(|(of, ..)| !has_secret && *of == code);
    let (code, message, help) = without.map_or((code, message, help), |row| (row.1, row.2, row.3));
    let reason = Reason::new(code, message.replace("{}", image)).with_help(help);
    let evidence = (!text.is_empty()).then(|| Evidence::from_untrusted(text));
    let reason = match evidence {
        Some(evidence) => reason.with_evidence(evidence),
        None => reason,
    };
    PullFailure {
        reason,
        is_transient,
    }
}

#[cfg(test)]
mod tests {
    use ReasonCode as Code;

    use super::*;

    const IMAGE: &str = "registry.example.com/shop/not-found:1";

    /// Returns an error of containerd with this cause.
    fn containerd(cause: &str) -> String {
        format!(
            "rpc error: code = Unknown desc = failed to pull and unpack image \"{IMAGE}\": failed to resolve reference \"{IMAGE}\": {cause}"
        )
    }

    #[test]
    fn containerd_texts() {
        for (cause, code) in [
            (
                "failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://auth.example/token: 401 Unauthorized",
                Code::RegistryCredentialRefused,
            ),
            (
                "unexpected status from HEAD request to https://registry.example.com/v2/shop/x/manifests/1: 401 Unauthorized",
                Code::RegistryCredentialRefused,
            ),
            (
                "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 403 Forbidden",
                Code::RegistryPullDenied,
            ),
            (
                "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
                Code::RegistryCredentialMissing,
            ),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                Code::RegistryPullDenied,
            ),
            (
                "unexpected status from HEAD request to https://registry.example.com/v2/x/manifests/1: 403 Forbidden",
                Code::RegistryPullDenied,
            ),
            (
                "registry.example.com/shop/x:1: not found",
                Code::ImageNotFound,
            ),
            (
                "no match for platform in manifest sha256:00: not found",
                Code::ImagePlatformMismatch,
            ),
            (
                "unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 429 Too Many Requests\ntoomanyrequests: denied: slow down",
                Code::RegistryRateLimited,
            ),
            (
                "failed to do request: Head \"https://r.example/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Code::RegistryTls,
            ),
            (
                "failed to do request: Head \"https://r.example/v2/\": http: server gave HTTP response to HTTPS client",
                Code::RegistryTls,
            ),
            (
                "failed to do request: Head \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
                Code::RegistryUnreachable,
            ),
            (
                "failed to do request: Head \"https://r.example/v2/\": dial tcp 10.0.0.1:443: i/o timeout",
                Code::RegistryUnreachable,
            ),
            (
                "unexpected status from HEAD request to https://r.example/v2/: 503 Service Unavailable",
                Code::RegistryUnreachable,
            ),
            (
                "image verifier v blocked pull of x with digest sha256:0 for reason: unsigned",
                Code::AdmissionRefused,
            ),
            ("something new", Code::ImagePullFailed),
        ] {
            assert_eq!(
                classify(IMAGE, &containerd(cause), true).reason.code,
                code,
                "{cause}"
            );
        }
    }

    #[test]
    fn texts_of_cri_o_and_docker() {
        for (text, code) in [
            (
                "unable to retrieve auth token: invalid username/password: unauthorized: no",
                Code::RegistryCredentialRefused,
            ),
            (
                "reading manifest 1 in r.example/x: unauthorized: authentication required",
                Code::RegistryCredentialMissing,
            ),
            (
                "requested access to the resource is denied",
                Code::RegistryPullDenied,
            ),
            (
                "reading manifest 1 in r.example/x: manifest unknown",
                Code::ImageNotFound,
            ),
            (
                "choosing an image from manifest list docker://r.example/x: no image found in image index for architecture \"arm64\", variant \"v8\", OS \"linux\"",
                Code::ImagePlatformMismatch,
            ),
            (
                "pinging container registry r.example: Get \"https://r.example/v2/\": x509: certificate has expired",
                Code::RegistryTls,
            ),
            ("too many requests to registry", Code::RegistryRateLimited),
            (
                "pull access denied for x, repository does not exist or may require 'docker login'",
                Code::RegistryPullDenied,
            ),
            (
                "no matching manifest for linux/arm64 in the manifest list entries",
                Code::ImagePlatformMismatch,
            ),
            (
                "error from registry: You have reached your unauthenticated pull rate limit",
                Code::RegistryRateLimited,
            ),
        ] {
            assert_eq!(classify(IMAGE, text, true).reason.code, code, "{text}");
        }
    }

    #[test]
    fn what_may_pass_is_waited_for() {
        assert!(classify(IMAGE, "429 Too Many Requests", true).is_transient);
        assert!(classify(IMAGE, "dial tcp: i/o timeout", true).is_transient);
        assert!(
            classify(IMAGE, "", true).is_transient,
            "an unknown cause is no verdict"
        );
        assert!(!classify(IMAGE, "manifest unknown", true).is_transient);
    }

    #[test]
    fn evidence_has_no_secrets() {
        let text = "Head \"https://u:pw@r.example/v2/?X-Amz-Signature=abc\": 403 Forbidden";
        let reason = classify(IMAGE, text, true).reason;
        assert_eq!(
            reason.evidence.unwrap().as_str(),
            "Head \"https://r.example/v2/\": 403 Forbidden"
        );
        assert_eq!(
            reason.message,
            format!("the credential may not pull image {IMAGE}, or there is no such image")
        );
    }
}
