//! Google's Artifact Registry: an access token of a service account.
//!
//! Access tokens are the password of the user `oauth2accesstoken`
//! ([authentication](https://cloud.google.com/artifact-registry/docs/docker/authentication#token)).
//! They come from the [metadata server](https://cloud.google.com/compute/docs/access/authenticate-workloads)
//! of a machine of Google's, or in exchange for a [signed
//! assertion](https://developers.google.com/identity/protocols/oauth2/service-account#httprest).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use choreo_registry::{
    Credential, RegistryHost, secret_fields::SecretFields, vendor_table::Vendor,
};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::exchange::{self, Exchange, invalid, unsendable};
use crate::{
    credential_source::{Clock, CredentialSource, SourceError, SourceErrorKind},
    transport::HttpTransport,
};

/// Credentials of Google's Artifact Registry, for about an hour each.
///
/// The service account needs the role `roles/artifactregistry.reader` on the repository. Only
/// `*-docker.pkg.dev` and the hosts of `gcr.io` are accepted, so that no other host gets a token of
/// Google's.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use choreo_registry_client::{egress::Egress, transport::ScriptedTransport};
/// use choreo_registry_client::credential_source::{GarSource, GoogleIdentity};
/// use choreo_registry_client::credential_source::{Clock, CredentialSource};
///
/// // For the real one: `ReqwestTransport::new(egress)`.
/// let egress = Egress::operator().allow_plain_http("metadata.google.internal".parse()?);
/// let answer = http::Response::builder()
///     .header("metadata-flavor", "Google")
///     .body(r#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#)?;
/// let transport = ScriptedTransport::new().with_egress(egress).answer(
///     "GET http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token",
///     answer,
/// );
///
/// let registry = "europe-west1-docker.pkg.dev".parse()?;
/// let source = GarSource::new(registry, GoogleIdentity::metadata(), Arc::new(transport))?
///     .with_timeout(Duration::from_secs(10))
///     .with_clock(Clock::system());
/// let credential = source.credential().await?;
/// assert_eq!(credential.username(), "oauth2accesstoken");
/// assert_eq!(credential.expose_password(), "ya29.x");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GarSource {
    registry: RegistryHost,
    identity: GoogleIdentity,
    exchange: Exchange,
}

impl GarSource {
    /// Creates a source for this registry and this identity.
    ///
    /// # Errors
    ///
    /// Returns [`SourceErrorKind::WrongRegistry`] if the host is not one of Google's public cloud.
    pub fn new(
        registry: RegistryHost,
        identity: GoogleIdentity,
        transport: Arc<dyn HttpTransport>,
    ) -> Result<Self, SourceError> {
        if is_google(&registry) {
            Ok(Self {
                registry,
                identity,
                exchange: Exchange::new(transport),
            })
        } else {
            Err(SourceError::new(
                SourceErrorKind::WrongRegistry,
                "Google's Artifact Registry",
            ))
        }
    }

    /// Sets the limit of each call. The default is 30 seconds.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.exchange.timeout = timeout;
        self
    }

    /// Sets another clock than the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.exchange.clock = clock;
        self
    }

    async fn by_metadata(
        &self,
        deadline: Instant,
    ) -> Result<http::Response<bytes::Bytes>, SourceError> {
        let request = exchange::get(METADATA_URL, &[("metadata-flavor", "Google")])
            .ok_or_else(|| unsendable(METADATA))?;
        let answer = self.exchange.send(METADATA, request, deadline).await?;
        // Another server at this address, such as a captive portal, does not send this.
        if answer
            .headers()
            .get("metadata-flavor")
            .is_some_and(|flavor| flavor == "Google")
        {
            Ok(answer)
        } else {
            Err(invalid(
                METADATA,
                "it lacks the header Metadata-Flavor: Google",
            ))
        }
    }

    async fn by_key(
        &self,
        key: &ServiceAccountKey,
        deadline: Instant,
    ) -> Result<http::Response<bytes::Bytes>, SourceError> {
        let assertion = key.assertion(self.exchange.clock.now())?;
        let fields = [("grant_type", GRANT), ("assertion", assertion.as_str())];
        let request =
            exchange::post_form(&key.token_uri, &fields).ok_or_else(|| unsendable(OAUTH))?;
        self.exchange.send(OAUTH, request, deadline).await
    }
}

#[async_trait]
impl CredentialSource for GarSource {
    fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
        let deadline = self.exchange.deadline();
        let asked_at = self.exchange.clock.now();
        let (service, answer) = match &self.identity.0 {
            Identity::Metadata => (METADATA, self.by_metadata(deadline).await?),
            Identity::Key(key) => (OAUTH, self.by_key(key, deadline).await?),
        };
        let (token, end) = exchange::access_token(service, answer.body(), asked_at)?;
        let credential = Credential::new("oauth2accesstoken", token.expose())
            .map_err(|reason| invalid(service, "it has no usable token").with_source(reason))?;
        Ok(Arc::new(credential.with_expiry(end)))
    }
}

/// An identity at Google. `Debug` shows no secret.
#[derive(Debug)]
pub struct GoogleIdentity(Identity);

#[derive(Debug)]
enum Identity {
    Key(ServiceAccountKey),
    Metadata,
}

impl GoogleIdentity {
    /// Creates the default service account of the machine of Google's on which this runs. The
    /// transport needs `Egress::operator()` with plain HTTP to `metadata.google.internal`.
    #[must_use]
    pub fn metadata() -> Self {
        Self(Identity::Metadata)
    }

    /// Creates a service account from its key.
    #[must_use]
    pub fn service_account(key: ServiceAccountKey) -> Self {
        Self(Identity::Key(key))
    }
}

/// The key of a service account, from the JSON file that Google issues. It signs assertions and is never
/// sent.
///
/// The assertion is sent to the `token_uri` of the file, which must be Google's, because users paste
/// such files. Tokens are requested with the scope `devstorage.read_only`, which permits reading
/// images only.
///
/// ```
/// use choreo_registry_client::credential_source::ServiceAccountKey;
///
/// let pasted = r#"{"type": "service_account", "client_email": "a@b.example", "private_key": "hunter2",
///                  "token_uri": "https://evil.example/token"}"#;
/// assert_eq!(
///     pasted.parse::<ServiceAccountKey>().unwrap_err().to_string(),
///     "Google's token service cannot be asked with this identity: the key's token_uri is not \
///      Google's; check the identity's key, token or file",
/// );
/// ```
pub struct ServiceAccountKey {
    email: String,
    key_id: Option<String>,
    token_uri: String,
    key: RsaKeyPair,
}

impl ServiceAccountKey {
    /// Returns a signed assertion, which is valid for an hour.
    fn assertion(&self, now: Timestamp) -> Result<Zeroizing<String>, SourceError> {
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let issued = now.as_second();
        let claims = serde_json::json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri,
            "iat": issued, "exp": issued.saturating_add(3600),
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| unusable("the key cannot sign"))?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(Zeroizing::new(format!("{signed}.{signature}")))
    }
}

impl std::str::FromStr for ServiceAccountKey {
    type Err = SourceError;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        let no_file = || unusable("it is not the JSON file of a service account's key");
        let file = SecretFields::parse(json.as_bytes()).ok_or_else(no_file)?;
        let text = |name| file.text(name).ok_or_else(no_file);
        let (email, pem) = (text("client_email")?, text("private_key")?);
        if *text("type")? != "service_account" {
            return Err(unusable("the file's type is not service_account"));
        }
        let optional = |name| file.text(name).map(|text| text.as_str().to_owned());
        let token_uri = optional("token_uri").unwrap_or_else(|| TOKEN_URIS[0].to_owned());
        if !TOKEN_URIS.contains(&token_uri.as_str()) {
            return Err(unusable("the key's token_uri is not Google's"));
        }
        let no_key = || unusable("the private_key is no RSA key in PEM (PKCS #8)");
        let der = pkcs8(&pem).ok_or_else(no_key)?;
        let key = RsaKeyPair::from_pkcs8(&der).map_err(|_| no_key())?;
        Ok(Self {
            email: email.as_str().to_owned(),
            key_id: optional("private_key_id"),
            token_uri,
            key,
        })
    }
}

impl fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccountKey")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// Decodes the only block of a PEM text ([RFC 7468](https://www.rfc-editor.org/rfc/rfc7468#section-10)).
fn pkcs8(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = pem
        .trim()
        .strip_prefix("-----BEGIN PRIVATE KEY-----")?
        .strip_suffix("-----END PRIVATE KEY-----")?;
    let mut joined = Zeroizing::new(String::with_capacity(body.len()));
    joined.extend(body.split_ascii_whitespace());
    STANDARD.decode(joined.as_bytes()).ok().map(Zeroizing::new)
}

/// Returns `true` for registries of Google's public cloud. Its sovereign clouds have other operators.
///
/// Only the built-in table counts: rows that operators add do not decide who may have a token of
/// Google's.
fn is_google(registry: &RegistryHost) -> bool {
    let is_public_cloud = |name: &str| name.ends_with(".pkg.dev") || name.ends_with("gcr.io");
    matches!(Vendor::of(registry).id(), "gar" | "gcr") && is_public_cloud(registry.name())
}

fn unusable(detail: &'static str) -> SourceError {
    SourceError::new(SourceErrorKind::Identity, OAUTH).with_detail(detail)
}

const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const METADATA_URL: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";

/// The addresses of Google's token service in key files, old and new.
const TOKEN_URIS: [&str; 3] = [
    "https://oauth2.googleapis.com/token",
    "https://accounts.google.com/o/oauth2/token",
    "https://www.googleapis.com/oauth2/v4/token",
];

const METADATA: &str = "Google's metadata server";
const OAUTH: &str = "Google's token service";

#[cfg(test)]
#[path = "gar/tests.rs"]
mod tests;
