//! Credentials of Amazon's: fixed keys, an instance's profile, a role for a workload's token.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use choreo_registry::{credential::Password, secret_fields::SecretFields};
use http::Method;
use zeroize::Zeroizing;

use super::super::{
    IdentityToken,
    exchange::{self, Exchange, invalid, unsendable},
};
use crate::{
    credential_source::{SourceError, SourceErrorKind},
    transport::HttpTransport,
};

/// A source of Amazon's credentials that can sign a request now. [`AwsCredentials`] is a source of keys
/// that do not change.
#[async_trait]
pub trait AwsCredentialSource: fmt::Debug + Send + Sync {
    /// Returns valid credentials.
    ///
    /// # Errors
    ///
    /// Returns a [`SourceError`] if there are none.
    async fn aws_credentials(&self) -> Result<AwsCredentials, SourceError>;
}

/// An access key of Amazon's: its id, its secret, and the session token of a temporary one. `Debug` shows
/// the id only.
///
/// ```
/// use choreo_registry_client::credential_source::AwsCredentials;
///
/// let keys = AwsCredentials::new("ASIAEXAMPLE", "hunter2".parse()?)?
///     .with_session_token("a session".parse()?);
/// assert!(!format!("{keys:?}").contains("hunter2"));
/// assert!(AwsCredentials::new("no id", "hunter2".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AwsCredentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Password,
    pub(super) session_token: Option<Password>,
}

impl AwsCredentials {
    /// Creates an access key.
    ///
    /// # Errors
    ///
    /// Returns [`SourceErrorKind::Identity`] if the id contains anything but letters and digits.
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: Password,
    ) -> Result<Self, SourceError> {
        let access_key_id = access_key_id.into();
        let sound = access_key_id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric());
        if !sound || !(1..=128).contains(&access_key_id.len()) {
            return Err(SourceError::new(SourceErrorKind::Identity, super::ECR)
                .with_detail("the access key id is not of letters and digits"));
        }
        Ok(Self {
            access_key_id,
            secret_access_key,
            session_token: None,
        })
    }

    /// Sets the session token of a temporary key.
    #[must_use]
    pub fn with_session_token(mut self, token: Password) -> Self {
        self.session_token = Some(token);
        self
    }

    fn read(
        service: &'static str,
        token: &'static str,
        field: impl Fn(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Self, SourceError> {
        let id = field("AccessKeyId").unwrap_or_default();
        let (secret, token) = (field("SecretAccessKey"), field(token));
        let secret = exchange::secret(service, secret)?;
        let token = exchange::secret(service, token)?;
        Self::new(id.as_str(), secret)
            .map(|keys| keys.with_session_token(token))
            .map_err(|_| invalid(service, "it has no usable access key"))
    }
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl AwsCredentialSource for AwsCredentials {
    async fn aws_credentials(&self) -> Result<Self, SourceError> {
        Ok(Self {
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone_secret(),
            session_token: self.session_token.as_ref().map(Password::clone_secret),
        })
    }
}

/// The role of the EC2 instance on which this runs, by [version 2 of its metadata
/// service](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html).
/// The transport needs `Egress::operator()` with plain http to `169.254.169.254`.
///
/// ```
/// use std::sync::Arc;
/// use choreo_registry_client::{egress::Egress, transport::ScriptedTransport};
/// use choreo_registry_client::credential_source::InstanceProfile;
///
/// let egress = Egress::operator().allow_plain_http("169.254.169.254".parse()?);
/// let transport = ScriptedTransport::new().with_egress(egress);
/// let profile = InstanceProfile::new(Arc::new(transport));
/// # let _ = profile;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InstanceProfile {
    exchange: Exchange,
}

impl InstanceProfile {
    /// Creates a source of the instance's role. Each call is limited to 10 seconds.
    #[must_use]
    pub fn new(transport: Arc<dyn HttpTransport>) -> Self {
        let mut exchange = Exchange::new(transport);
        exchange.timeout = Duration::from_secs(10);
        Self { exchange }
    }
}

#[async_trait]
impl AwsCredentialSource for InstanceProfile {
    async fn aws_credentials(&self) -> Result<AwsCredentials, SourceError> {
        let deadline = self.exchange.deadline();
        let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "60")];
        let ask = exchange::request(
            Method::PUT,
            &format!("{IMDS}/api/token"),
            &ttl,
            bytes::Bytes::new(),
        );
        let ask = ask.ok_or_else(|| unsendable(METADATA))?;
        let session = self.exchange.send(METADATA, ask, deadline).await?;
        let session = exchange::secret(METADATA, text(session.body()))?;
        let header = [("x-aws-ec2-metadata-token", session.expose())];
        let get = |path: &str| {
            exchange::get(
                &format!("{IMDS}/meta-data/iam/security-credentials/{path}"),
                &header,
            )
            .ok_or_else(|| unsendable(METADATA))
        };
        let role = self.exchange.send(METADATA, get("")?, deadline).await?;
        let role = text(role.body()).filter(|role| is_role(role));
        let role = role.ok_or_else(|| invalid(METADATA, "it names no role"))?;
        let answer = self.exchange.send(METADATA, get(&role)?, deadline).await?;
        let answer = SecretFields::parse(answer.body())
            .ok_or_else(|| invalid(METADATA, "it is not a JSON object with an access key"))?;
        AwsCredentials::read(METADATA, "Token", |name| answer.text(name))
    }
}

/// A role that trusts the tokens of another issuer: [IAM roles for service
/// accounts](https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html),
/// or any OpenID Connect provider, by
/// [`AssumeRoleWithWebIdentity`](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html).
///
/// ```
/// use std::sync::Arc;
/// use choreo_registry_client::transport::ScriptedTransport;
/// use choreo_registry_client::credential_source::WebIdentity;
/// use choreo_registry::credential::Password;
///
/// let token: Password = "a.b.c".parse()?;
/// let transport = Arc::new(ScriptedTransport::new());
/// let role = "arn:aws:iam::123456789012:role/puller";
/// WebIdentity::new("eu-west-1", role, Arc::new(token.clone_secret()), transport.clone())?;
/// assert!(WebIdentity::new("evil.example/", role, Arc::new(token), transport).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WebIdentity {
    host: String,
    role: String,
    token: Arc<dyn IdentityToken>,
    exchange: Exchange,
}

impl WebIdentity {
    /// Creates a source that assumes a role at the security token service of this region.
    ///
    /// # Errors
    ///
    /// Returns [`SourceErrorKind::Identity`] if the region is not valid.
    pub fn new(
        region: &str,
        role_arn: impl Into<String>,
        token: Arc<dyn IdentityToken>,
        transport: Arc<dyn HttpTransport>,
    ) -> Result<Self, SourceError> {
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(sound) {
            return Err(SourceError::new(SourceErrorKind::Identity, STS)
                .with_detail("the region is none of Amazon's"));
        }
        let domain = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        Ok(Self {
            host: format!("sts.{region}.{domain}"),
            role: role_arn.into(),
            token,
            exchange: Exchange::new(transport),
        })
    }
}

#[async_trait]
impl AwsCredentialSource for WebIdentity {
    async fn aws_credentials(&self) -> Result<AwsCredentials, SourceError> {
        let deadline = self.exchange.deadline();
        let token = self.token.identity_token().await?;
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", self.role.as_str()),
            ("RoleSessionName", "choreo-registry"),
            ("WebIdentityToken", token.expose()),
        ];
        let mut request = exchange::post_form(&format!("https://{}/", self.host), &fields)
            .ok_or_else(|| unsendable(STS))?;
        let xml = http::HeaderValue::from_static("text/xml");
        request.headers_mut().insert(http::header::ACCEPT, xml);
        let answer = self.exchange.send(STS, request, deadline).await?;
        let answer = text(answer.body()).unwrap_or_default();
        let keys = element(&answer, "Credentials").unwrap_or_default();
        let field = |name: &str| {
            let value = element(keys, name)?.trim();
            Some(Zeroizing::new(value.to_owned()))
        };
        AwsCredentials::read(STS, "SessionToken", field)
    }
}

/// Returns the text of the first element with this name. It is base64, which XML does not escape.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

fn text(body: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(body).ok()?;
    Some(Zeroizing::new(text.trim().to_owned()))
}

/// Returns `true` if the name of a role is valid, so that it can be a part of a path.
fn is_role(role: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    !role.is_empty() && role.len() <= 64 && role.bytes().all(sound) && !role.starts_with('.')
}

const IMDS: &str = "http://169.254.169.254/latest";
const METADATA: &str = "Amazon's metadata service";
const STS: &str = "Amazon's security token service";
