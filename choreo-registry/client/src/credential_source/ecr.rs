//! Amazon ECR and ECR Public: `GetAuthorizationToken`, signed with Amazon's credentials.
//!
//! The operations are those of the [ECR](https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html)
//! and [ECR Public](https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_GetAuthorizationToken.html)
//! API references.

mod aws;
mod sigv4;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

pub use self::aws::{AwsCredentialSource, AwsCredentials, InstanceProfile, WebIdentity};
use choreo_registry::{
    Credential, RegistryHost,
    secret_fields::SecretFields,
    vendor_table::{EcrHost, Vendor},
};

use super::exchange::{self, Exchange, invalid, later, unsendable};
use crate::{
    credential_source::{Clock, CredentialSource, SourceError, SourceErrorKind},
    transport::HttpTransport,
};

/// Credentials of Amazon ECR or ECR Public, for 12 hours each.
///
/// The identity needs `ecr:GetAuthorizationToken`, and on the repository `ecr:BatchGetImage` and
/// `ecr:GetDownloadUrlForLayer`; for ECR Public `ecr-public:GetAuthorizationToken` and
/// `sts:GetServiceBearerToken`. The host determines the region and the partition. A host that is not
/// Amazon's is rejected before a request is sent.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use choreo_registry_client::transport::ScriptedTransport;
/// use choreo_registry_client::credential_source::{AwsCredentials, EcrSource};
/// use choreo_registry_client::credential_source::{Clock, CredentialSource};
///
/// // For the real one: `ReqwestTransport::new(Egress::tenant())`.
/// let transport = ScriptedTransport::new().answer(
///     "POST https://api.ecr.eu-west-1.amazonaws.com/",
///     http::Response::new(
///         r#"{"authorizationData":[{"authorizationToken":"QVdTOnRva2Vu","expiresAt":4102444800}]}"#,
///     ),
/// );
/// let keys = AwsCredentials::new("AKIDEXAMPLE", "hunter2".parse()?)?;
/// let registry = "123456789012.dkr.ecr.eu-west-1.amazonaws.com".parse()?;
/// let source = EcrSource::new(registry, Arc::new(keys), Arc::new(transport))?
///     .with_timeout(Duration::from_secs(10))
///     .with_clock(Clock::system());
/// let credential = source.credential().await?;
/// assert_eq!((credential.username(), credential.expose_password()), ("AWS", "token"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EcrSource {
    registry: RegistryHost,
    endpoint: Endpoint,
    aws: Arc<dyn AwsCredentialSource>,
    exchange: Exchange,
}

impl EcrSource {
    /// Creates a source for this registry, with credentials of Amazon's.
    ///
    /// # Errors
    ///
    /// Returns [`SourceErrorKind::WrongRegistry`] if the host is not one of Amazon ECR.
    pub fn new(
        registry: RegistryHost,
        aws: Arc<dyn AwsCredentialSource>,
        transport: Arc<dyn HttpTransport>,
    ) -> Result<Self, SourceError> {
        let endpoint = Endpoint::of(&registry)
            .ok_or_else(|| SourceError::new(SourceErrorKind::WrongRegistry, ECR))?;
        Ok(Self {
            registry,
            endpoint,
            aws,
            exchange: Exchange::new(transport),
        })
    }

    /// Sets the limit of each request. The default is 30 seconds.
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

    fn request(&self, keys: &AwsCredentials) -> Option<http::Request<Bytes>> {
        let Endpoint {
            host,
            region,
            service,
            target,
        } = &self.endpoint;
        let body = b"{}";
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("host", host.as_str()),
            ("x-amz-target", *target),
        ];
        let scope = sigv4::Scope {
            region,
            service,
            now: self.exchange.clock.now(),
        };
        let added = sigv4::sign(keys, &scope, &headers, ("POST", body));
        let mut all = headers.to_vec();
        all.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
        let url = format!("https://{host}/");
        exchange::request(Method::POST, &url, &all, Bytes::from_static(body))
    }
}

#[async_trait]
impl CredentialSource for EcrSource {
    fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    async fn credential(&self) -> Result<Arc<Credential>, SourceError> {
        let keys = self.aws.aws_credentials().await?;
        let request = self.request(&keys).ok_or_else(|| unsendable(ECR))?;
        let answer = self
            .exchange
            .send(ECR, request, self.exchange.deadline())
            .await?;
        let (credential, end) = read(answer.body())?;
        // The expiry is limited, so that the credential is renewed within a day.
        let end = end.min(later(self.exchange.clock.now(), exchange::LONGEST_LIFE));
        Ok(Arc::new(credential.with_expiry(end)))
    }
}

/// Reads the response: ECR returns a list with one token, ECR Public the token itself.
fn read(body: &[u8]) -> Result<(Credential, Timestamp), SourceError> {
    let no_token = || invalid(ECR, "it is not a JSON object with an authorization token");
    let answer = SecretFields::parse(body).ok_or_else(no_token)?;
    let mut data = answer.json("authorizationData").ok_or_else(no_token)?;
    if data.starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(data).map_err(|_| no_token())?;
        let first = list.first().map(|first| first.get());
        data = first.ok_or_else(|| invalid(ECR, "it has no authorization token"))?;
    }
    let data = SecretFields::parse(data.as_bytes()).ok_or_else(no_token)?;
    let token = data.text("authorizationToken").ok_or_else(no_token)?;
    let undecodable = || invalid(ECR, "the authorization token is not base64 of a login");
    let plain = Zeroizing::new(
        STANDARD
            .decode(token.as_bytes())
            .map_err(|_| undecodable())?,
    );
    let plain = std::str::from_utf8(&plain).map_err(|_| undecodable())?;
    let (user, password) = plain.split_once(':').ok_or_else(undecodable)?;
    if user != "AWS" {
        return Err(undecodable());
    }
    let credential = Credential::new(user, password).map_err(|_| undecodable())?;
    // Seconds since 1970, with a fraction of thousandths.
    let end = data
        .json("expiresAt")
        .and_then(|json| json.parse::<f64>().ok())
        .filter(|seconds| (0.0..1e11).contains(seconds));
    let end = end.and_then(|seconds| {
        let milliseconds = Duration::from_secs_f64(seconds).as_millis();
        Timestamp::from_millisecond(milliseconds.try_into().ok()?).ok()
    });
    let end = end.ok_or_else(|| invalid(ECR, "it does not say when the token ends"))?;
    Ok((credential, end))
}

/// The API of a registry.
#[derive(Debug)]
struct Endpoint {
    host: String,
    region: String,
    service: &'static str,
    target: &'static str,
}

impl Endpoint {
    /// Only the built-in table counts: rows that operators add do not decide who may see a request
    /// signed for Amazon.
    fn of(registry: &RegistryHost) -> Option<Self> {
        if Vendor::of(registry).id() == "ecr-public" {
            return Some(Self {
                host: "api.ecr-public.us-east-1.amazonaws.com".to_owned(),
                region: "us-east-1".to_owned(),
                service: "ecr-public",
                target: "SpencerFrontendService.GetAuthorizationToken",
            });
        }
        let ecr = EcrHost::of(registry)?;
        is_region(ecr.region()).then(|| Self {
            host: ecr.api_host(),
            region: ecr.region().to_owned(),
            service: "ecr",
            target: "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
        })
    }
}

/// Returns `true` if a region has the form of Amazon's: `eu-west-1`, `us-iso-east-1`, `eusc-de-east-1`.
fn is_region(region: &str) -> bool {
    let Some((words, number)) = region.rsplit_once('-') else {
        return false;
    };
    let is_word =
        |word: &str| word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.contains('-')
        && words.split('-').all(is_word)
        && matches!(number.len(), 1 | 2)
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

const ECR: &str = "Amazon ECR";

#[cfg(test)]
#[path = "ecr/tests.rs"]
mod tests;
