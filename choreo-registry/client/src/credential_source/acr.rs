//! Azure Container Registry: a Microsoft Entra token, exchanged for a refresh token of the registry.
//!
//! The exchange is described in [ACR's
//! documentation](https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md); tokens of Microsoft
//! Entra come by [client credentials](https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow)
//! or from a [managed identity](https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use choreo_registry::{
    Credential, RegistryHost, credential::Password, secret_fields::SecretFields,
    vendor_table::Vendor,
};
use jiff::Timestamp;
use url::form_urlencoded;

use super::{
    IdentityToken,
    exchange::{self, Exchange, invalid, later, unsendable},
};
use crate::{
    credential_source::{Clock, CredentialSource, SourceError, SourceErrorKind},
    transport::HttpTransport,
};

/// Credentials of an Azure Container Registry, for about three hours each.
///
/// The identity gets a token of Microsoft Entra for container registries, and the registry
/// exchanges it for a refresh token, which it accepts as the password of the user
/// `00000000-0000-0000-0000-000000000000`. The identity needs the role `AcrPull` (or `Container
/// Registry Repository Reader`) on the registry.
///
/// The token server depends on the cloud of the registry: `*.azurecr.io` (Azure), `*.azurecr.us`
/// (US Government), `*.azurecr.cn` (China). Any other host is rejected before a request is sent.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use choreo_registry_client::transport::ScriptedTransport;
/// use choreo_registry_client::credential_source::{AcrSource, AzureIdentity, Refreshing};
/// use choreo_registry_client::credential_source::CredentialSource;
///
/// // For the real ones: `ReqwestTransport::new(Egress::tenant())`.
/// let transport = ScriptedTransport::new()
///     .answer(
///         "POST https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token",
///         http::Response::new(r#"{"access_token":"entra","expires_in":3599}"#),
///     )
///     .answer(
///         "POST https://acme.azurecr.io/oauth2/exchange",
///         http::Response::new(r#"{"refresh_token":"of-the-registry"}"#),
///     );
///
/// let identity = AzureIdentity::client_secret(
///     "contoso.example",
///     "7f1e6a2c-0000-4000-8000-000000000001",
///     "the client's secret".parse()?,
/// )?;
/// let source = AcrSource::new("acme.azurecr.io".parse()?, identity, Arc::new(transport))?
///     .with_timeout(Duration::from_secs(10));
/// let source = Refreshing::new(source);
///
/// let credential = source.credential().await?;
/// assert_eq!(credential.username(), "00000000-0000-0000-0000-000000000000");
/// assert_eq!(credential.expose_password(), "of-the-registry");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AcrSource {
    registry: RegistryHost,
    authority: &'static str,
    identity: AzureIdentity,
    exchange: Exchange,
}

impl AcrSource {
    /// Creates a source for this registry and this identity.
    ///
    /// # Errors
    ///
    /// Returns [`SourceErrorKind::WrongRegistry`] if the host is not one of Azure Container Registry.
    pub fn new(
        registry: RegistryHost,
        identity: AzureIdentity,
        transport: Arc<dyn HttpTransport>,
    ) -> Result<Self, SourceError> {
        let authority = authority_of(&registry)
            .ok_or_else(|| SourceError::new(SourceErrorKind::WrongRegistry, REGISTRY))?;
        Ok(Self {
            registry,
            authority,
            identity,
            exchange: Exchange::new(transport),
        })
    }

    /// Sets the limit of each call, with all its requests. The default is 30 seconds.
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

    async fn entra_token(&self, deadline: Instant) -> Result<Password, SourceError> {
        let (service, request) = match &self.identity.0 {
            Identity::Managed { client_id } => (METADATA, managed(client_id.as_deref())),
            Identity::Secret { client, secret } => {
                let proof = [("client_secret", secret.expose())];
                (ENTRA, self.client_credentials(client, &proof))
            }
            Identity::Federated { client, assertion } => {
                let assertion = assertion.identity_token().await?;
                let proof = [
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", assertion.expose()),
                ];
                (ENTRA, self.client_credentials(client, &proof))
            }
        };
        let request = request.ok_or_else(|| unsendable(service))?;
        let asked_at = self.exchange.clock.now();
        let answer = self.exchange.send(service, request, deadline).await?;
        let (token, _) = exchange::access_token(service, answer.body(), asked_at)?;
        Ok(token)
    }

    fn client_credentials(
        &self,
        client: &Client,
        proof: &[(&str, &str)],
    ) -> Option<http::Request<bytes::Bytes>> {
        let scope = format!("{AUDIENCE}/.default");
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client.id.as_str()),
            ("scope", scope.as_str()),
        ];
        fields.extend_from_slice(proof);
        let (authority, tenant) = (self.authority, &client.tenant);
        let url = format!("https://{authority}/{tenant}/oauth2/v2.0/token");
        exchange::post_form(&url, &fields)
    }

    async fn refresh_token(
        &self,
        entra: &Password,
        deadline: Instant,
    ) -> Result<Password, SourceError> {
        let host = self.registry.api_host();
        let mut fields = vec![("grant_type", "access_token"), ("service", host)];
        if let Some(tenant) = self.identity.tenant() {
            fields.push(("tenant", tenant));
        }
        fields.push(("access_token", entra.expose()));
        let url = format!("https://{host}/oauth2/exchange");
        let request = exchange::post_form(&url, &fields).ok_or_else(|| unsendable(REGISTRY))?;
        let answer = self.exchange.send(REGISTRY, request, deadline).await?;
        let answer = SecretFields::parse(answer.body())
            .ok_or_else(|| invalid(REGISTRY, "it is not a JSON object with a refresh token"))?;
        exchange::secret(REGISTRY, answer.text("refresh_token"))
    }
}

#[async_trait]
impl CredentialSource for AcrSource {
    fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
        let deadline = self.exchange.deadline();
        let entra = self.entra_token(deadline).await?;
        let asked_at = self.exchange.clock.now();
        let token = self.refresh_token(&entra, deadline).await?;
        let end = expiry(token.expose()).unwrap_or_else(|| later(asked_at, USUAL_LIFE));
        let credential = Credential::new(TOKEN_USER, token.expose())
            .map_err(|reason| invalid(REGISTRY, "it has no usable token").with_source(reason))?;
        let end = end.min(later(asked_at, exchange::LONGEST_LIFE));
        Ok(Arc::new(credential.with_expiry(end)))
    }
}

/// An identity at Microsoft Entra. `Debug` shows no secret.
///
/// ```
/// use std::sync::Arc;
/// use choreo_registry_client::credential_source::AzureIdentity;
/// use choreo_registry::credential::Password;
///
/// // On a machine of Azure: its managed identity, or one of several by its client id. The
/// // transport needs Egress::operator() with allow_plain_http("169.254.169.254").
/// let machine = AzureIdentity::managed();
/// let one_of_several = AzureIdentity::managed_as("7f1e6a2c-0000-4000-8000-000000000001")?;
///
/// // Anywhere: an application with a secret, or with tokens of an issuer that it trusts.
/// let (tenant, client) = ("contoso.example", "7f1e6a2c-0000-4000-8000-000000000001");
/// let application = AzureIdentity::client_secret(tenant, client, "hunter2".parse()?)?;
/// let token: Password = "a token of the cluster".parse()?;
/// let workload = AzureIdentity::federated(tenant, client, Arc::new(token))?;
///
/// assert!(!format!("{application:?}{workload:?}").contains("hunter2"));
/// assert_eq!(
///     AzureIdentity::managed_as("a/b").unwrap_err().to_string(),
///     "Microsoft Entra cannot be asked with this identity: the client id is no identifier; check \
///      the identity's key, token or file",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AzureIdentity(Identity);

#[derive(Debug)]
enum Identity {
    Federated {
        client: Client,
        assertion: Arc<dyn IdentityToken>,
    },
    Managed {
        client_id: Option<String>,
    },
    Secret {
        client: Client,
        secret: Password,
    },
}

#[derive(Debug)]
struct Client {
    tenant: String,
    id: String,
}

impl AzureIdentity {
    /// Creates the managed identity of the machine on which this runs.
    #[must_use]
    pub fn managed() -> Self {
        Self(Identity::Managed { client_id: None })
    }

    /// Creates one of several managed identities of the machine, by its client id.
    ///
    /// # Errors
    ///
    /// Returns [`SourceErrorKind::Identity`] if the id is not valid.
    pub fn managed_as(client_id: impl Into<String>) -> Result<Self, SourceError> {
        let client_id = Some(identifier(
            client_id.into(),
            "the client id is no identifier",
        )?);
        Ok(Self(Identity::Managed { client_id }))
    }

    /// Creates an application of a tenant (its id or domain) with a secret.
    ///
    /// # Errors
    ///
    /// Returns [`SourceErrorKind::Identity`] if the tenant or the client id is not valid.
    pub fn client_secret(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        secret: Password,
    ) -> Result<Self, SourceError> {
        let client = Client::new(tenant.into(), client_id.into())?;
        Ok(Self(Identity::Secret { client, secret }))
    }

    /// Creates an application of a tenant that trusts the tokens of another issuer: [workload identity
    /// federation](https://learn.microsoft.com/entra/workload-id/workload-identity-federation).
    ///
    /// # Errors
    ///
    /// Returns [`SourceErrorKind::Identity`] if the tenant or the client id is not valid.
    pub fn federated(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        assertion: Arc<dyn IdentityToken>,
    ) -> Result<Self, SourceError> {
        let client = Client::new(tenant.into(), client_id.into())?;
        Ok(Self(Identity::Federated { client, assertion }))
    }

    fn tenant(&self) -> Option<&str> {
        match &self.0 {
            Identity::Federated { client, .. } | Identity::Secret { client, .. } => {
                Some(&client.tenant)
            }
            Identity::Managed { .. } => None,
        }
    }
}

impl Client {
    fn new(tenant: String, id: String) -> Result<Self, SourceError> {
        Ok(Self {
            tenant: identifier(tenant, "the tenant is neither an id nor a domain")?,
            id: identifier(id, "the client id is no identifier")?,
        })
    }
}

/// Checks an id or domain, which is a part of URLs: letters, digits, dots and hyphens.
fn identifier(text: String, refusal: &'static str) -> Result<String, SourceError> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_one = text.bytes().all(sound) && text.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if is_one && text.len() <= 253 {
        Ok(text)
    } else {
        Err(SourceError::new(SourceErrorKind::Identity, ENTRA).with_detail(refusal))
    }
}

/// Returns the token server of the cloud to which a registry belongs.
///
/// Only the built-in table counts: rows that operators add do not decide who may have a token of
/// Microsoft's.
fn authority_of(registry: &RegistryHost) -> Option<&'static str> {
    if Vendor::of(registry).id() != "acr" {
        return None;
    }
    match registry.name().rsplit('.').next()? {
        "io" => Some("login.microsoftonline.com"),
        "us" => Some("login.microsoftonline.us"),
        "cn" => Some("login.chinacloudapi.cn"),
        // The cloud of `azurecr.de` closed in 2021.
        _ => None,
    }
}

fn managed(client_id: Option<&str>) -> Option<http::Request<bytes::Bytes>> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("api-version", "2018-02-01");
    query.append_pair("resource", AUDIENCE);
    if let Some(client_id) = client_id {
        query.append_pair("client_id", client_id);
    }
    let url = format!(
        "http://169.254.169.254/metadata/identity/oauth2/token?{}",
        query.finish()
    );
    exchange::get(&url, &[("metadata", "true")])
}

/// Returns the expiry of a JSON web token. The token is not verified: TLS has identified the server, and
/// a wrong time only makes the renewal early or late.
fn expiry(token: &str) -> Option<Timestamp> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = zeroize::Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
    let end = SecretFields::parse(&claims)?.json("exp")?.parse().ok()?;
    Timestamp::from_second(end).ok()
}

/// The audience of tokens for container registries only, in every cloud. A token for the resource
/// manager would also work, but permits much more.
const AUDIENCE: &str = "https://containerregistry.azure.net";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// The lifetime of a refresh token that does not contain its expiry.
const USUAL_LIFE: Duration = Duration::from_secs(3 * 60 * 60);

const ENTRA: &str = "Microsoft Entra";
const METADATA: &str = "Azure's metadata service";
const REGISTRY: &str = "Azure Container Registry";

#[cfg(test)]
#[path = "acr/tests.rs"]
mod tests;
