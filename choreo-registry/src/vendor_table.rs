//! Registry vendors: who runs a registry, which credentials it accepts and when they expire.
//!
//! All facts are in one table, with a row for each vendor; operators add and override rows at run
//! time ([`VendorTable::with`]). This module does not contact a registry: a fact of which the table
//! cannot be sure is a [`Finding`](crate::Finding), and only a registry that can never work is
//! rejected. No rule depends on the length of a token.
//!
//! # The built-in table
//!
//! In hosts, `*` matches one or more characters within a label; hosts have no port. The hosts of
//! Amazon ECR have an account of 12 digits, and also match in their FIPS, dual-stack and partition
//! forms. A password that is valid "until revoked" may also expire on a date that its owner chose.
//!
#![doc = include_str!("vendor_table/table.md")]

mod acr;
mod cloud;
mod credential_form;
mod ecr;
mod google;
mod host_pattern;
mod judge;
mod markdown;
mod refusal;
mod rows;
mod table;
#[cfg(test)]
mod tests;
mod wildcard;

use std::borrow::Cow;
use std::fmt;

pub(crate) use self::acr::is_data_endpoint;
pub use self::cloud::{Cloud, ParseCloudError};
pub use self::credential_form::CredentialForm;
pub use self::ecr::EcrHost;
pub use self::host_pattern::{HostPattern, ParseHostPatternError};
pub use self::refusal::CredentialRefusal;
pub use self::table::VendorTable;
use crate::RegistryHost;
use crate::authentication_type::AuthenticationType;
use crate::quote::Quoted;

/// The facts about one vendor: a row of the [`VendorTable`].
///
/// ```
/// use choreo_registry::authentication::AuthenticationType;
/// use choreo_registry::vendor_table::{Cloud, Vendor};
///
/// let acr = Vendor::of(&"acme.azurecr.io".parse()?);
/// assert_eq!(acr.id(), "acr");
/// assert_eq!(acr.name(), "Azure Container Registry");
/// assert_eq!(acr.to_string(), acr.name());
/// assert_eq!(acr.cloud(), Some(Cloud::Azure));
/// assert!(acr.offers_node_identity());
/// assert_eq!(acr.recommended()[0], AuthenticationType::Vendor);
/// assert_eq!(acr.hosts()[0].as_str(), "*.azurecr.io");
/// assert!(acr.documentation().starts_with("https://learn.microsoft.com/"));
///
/// assert_eq!(Vendor::of(&"registry.example.com".parse()?).id(), "self-hosted");
/// # Ok::<(), choreo_registry::host::ParseHostError>(())
/// ```
///
/// To describe your own vendor, or one whose product runs under your hosts:
///
/// ```
/// use choreo_registry::authentication::AuthenticationType;
/// use choreo_registry::vendor_table::{Cloud, CredentialForm, Vendor, VendorTable};
///
/// let acme = Vendor::new("acme-registry", "Acme Registry")?
///     .with_host("*.registry.acme.example".parse()?)
///     .with_credentials([CredentialForm::new("team-*", "acme_*")])
///     .with_token_prefix("acme_")
///     .with_recommended([AuthenticationType::Basic])
///     .with_cloud(Cloud::Aws)
///     .with_help("ask the platform team for a token")
///     .with_documentation("https://docs.acme.example/registry")?
///     .with_token_realm("https://login.acme.example/token")?;
/// let built_in = VendorTable::built_in();
/// let harbor = built_in.get("harbor").unwrap().clone();
/// let table = built_in.with(acme).with(harbor.with_host("images.acme.example".parse()?));
///
/// let acme = table.of(&"eu.registry.acme.example".parse()?);
/// assert_eq!(acme.help(), "ask the platform team for a token");
/// assert_eq!(acme.token_realm(), Some("https://login.acme.example/token"));
/// assert_eq!(acme.credentials().len(), 1);
/// assert_eq!(table.of(&"images.acme.example".parse()?).id(), "harbor");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it does not do
///
/// It cannot recognise Harbor by the host alone, nor GitLab, Quay and JFrog under your own hosts:
/// they are `self-hosted` unless a row contains the host, as above. [`VendorTable::of_credential`]
/// also uses the user name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vendor {
    id: Cow<'static, str>,
    name: Cow<'static, str>,
    hosts: Vec<HostPattern>,
    credentials: Vec<CredentialForm>,
    recommended: Cow<'static, [AuthenticationType]>,
    cloud: Option<Cloud>,
    help: Cow<'static, str>,
    documentation: Option<Cow<'static, str>>,
    token_realm: Option<TokenRealm>,
    token_prefixes: Vec<Cow<'static, str>>,
    /// User names that identify the vendor under a host that no row contains.
    telling_usernames: &'static [&'static str],
    identity_token_is_password: bool,
}

impl Vendor {
    /// Returns the vendor of the built-in table for a host; `self-hosted` if there is none.
    ///
    /// It does not allocate.
    #[must_use]
    pub fn of(host: &RegistryHost) -> &'static Self {
        VendorTable::built_in_ref().of(host)
    }

    /// Creates a row without hosts that accepts any credential: basic, docker config and public
    /// access are recommended, in this order, and nodes have no access of their own. The help is
    /// "enter what the registry's operator gave you", without a link.
    ///
    /// ```
    /// use choreo_registry::vendor_table::Vendor;
    ///
    /// assert_eq!(
    ///     Vendor::new("Acme", "Acme").unwrap_err().to_string(),
    ///     "invalid vendor id \"Acme\": write lower-case letters and digits, parted by hyphens",
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the id contains anything but lower-case letters and digits separated by
    /// single hyphens, or if the name is empty or contains control characters.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Result<Self, VendorError> {
        let (id, name) = (id.into(), name.into());
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if !id.split('-').all(is_word) {
            return Err(VendorError::Id(id));
        }
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(VendorError::Name(name));
        }
        Ok(Self {
            id: id.into(),
            name: name.into(),
            hosts: Vec::new(),
            credentials: vec![CredentialForm::new("*", "*")],
            recommended: Cow::Borrowed(rows::WITHOUT_NODE_IDENTITY),
            cloud: None,
            help: Cow::Borrowed("enter what the registry's operator gave you"),
            documentation: None,
            token_realm: None,
            token_prefixes: Vec::new(),
            telling_usernames: &[],
            identity_token_is_password: false,
        })
    }

    /// Adds a host pattern.
    #[must_use]
    pub fn with_host(mut self, pattern: HostPattern) -> Self {
        self.hosts.push(pattern);
        self
    }

    /// Replaces the forms of credentials. The first form that a credential matches determines its
    /// lifetime.
    ///
    /// Registering any other credential results in the finding
    /// [`UnknownCredentialForm`](crate::finding::Code::UnknownCredentialForm); a last
    /// `CredentialForm::new("*", "*")` accepts all.
    #[must_use]
    pub fn with_credentials(mut self, forms: impl IntoIterator<Item = CredentialForm>) -> Self {
        self.credentials = forms.into_iter().collect();
        self
    }

    /// Adds a prefix that only this vendor's tokens have, such as `ghp_`. An empty prefix matches
    /// no token.
    #[must_use]
    pub fn with_token_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.token_prefixes.push(prefix.into().into());
        self
    }

    /// Replaces the recommended authentication types.
    ///
    /// Registrations are checked against them: without `Vendor` among them, that type is rejected,
    /// because nodes have no access of their own; without `Public`, that type results in the
    /// finding [`AnonymousPullUnlikely`](crate::finding::Code::AnonymousPullUnlikely); with
    /// `Public` alone, any credential results in the finding
    /// [`CredentialUnneeded`](crate::finding::Code::CredentialUnneeded).
    #[must_use]
    pub fn with_recommended(mut self, types: impl IntoIterator<Item = AuthenticationType>) -> Self {
        self.recommended = types.into_iter().collect();
        self
    }

    /// Sets the cloud to which the registry belongs, for [`misfit`](Self::misfit). To let its nodes
    /// have access of their own, use [`with_recommended`](Self::with_recommended).
    #[must_use]
    pub fn with_cloud(mut self, cloud: Cloud) -> Self {
        self.cloud = Some(cloud);
        self
    }

    /// Sets what people should enter, in words that can follow "see" or a colon.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into().into();
        self
    }

    /// Sets the link to the vendor's documentation.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL does not begin with `https://` and a host.
    pub fn with_documentation(mut self, url: impl Into<String>) -> Result<Self, VendorError> {
        self.documentation = Some(https(url.into())?.into());
        Ok(self)
    }

    /// Sets the URL to which clients may send credentials in exchange for a token, if its origin is
    /// not that of the registry. Its host may be a [`HostPattern`]; the path is for readers.
    ///
    /// The client uses the rows of the table in its policy: add this row to it with
    /// `Egress::with_vendors`.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL does not begin with `https://` and a host or a pattern of hosts.
    pub fn with_token_realm(mut self, url: impl Into<String>) -> Result<Self, VendorError> {
        self.token_realm = Some(TokenRealm::new(url.into().into())?);
        Ok(self)
    }

    /// Returns the stable id, for programs: `acr`, `docker-hub`, `self-hosted`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the display name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the hosts by which the vendor is recognised.
    #[must_use]
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// Returns the known forms of credentials, in the order in which they are tried.
    #[must_use]
    pub fn credentials(&self) -> &[CredentialForm] {
        &self.credentials
    }

    /// Returns the recommended authentication types, the best first.
    #[must_use]
    pub fn recommended(&self) -> &[AuthenticationType] {
        &self.recommended
    }

    /// Returns the cloud to which the registry belongs.
    /// [`offers_node_identity`](Self::offers_node_identity) returns whether its nodes have access
    /// of their own.
    #[must_use]
    pub fn cloud(&self) -> Option<Cloud> {
        self.cloud
    }

    /// Returns what people should enter.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Returns the link to the vendor's documentation; empty if an added row has none.
    #[must_use]
    pub fn documentation(&self) -> &str {
        self.documentation.as_deref().unwrap_or_default()
    }

    /// Returns the URL of the token service, with a `*` in its host if there is one in each region;
    /// `None` if it has the registry's own origin, or is not known.
    ///
    /// ```
    /// use choreo_registry::vendor_table::Vendor;
    ///
    /// let hub = Vendor::of(&"docker.io".parse()?);
    /// assert_eq!(hub.token_realm(), Some("https://auth.docker.io/token"));
    /// # Ok::<(), choreo_registry::host::ParseHostError>(())
    /// ```
    #[must_use]
    pub fn token_realm(&self) -> Option<&str> {
        self.token_realm.as_ref().map(|realm| &*realm.url)
    }

    /// Returns `true` if the [token service](Self::token_realm) has this host, and this port if its
    /// URL contains one.
    ///
    /// ```
    /// use choreo_registry::vendor_table::Vendor;
    ///
    /// let hub = Vendor::of(&"docker.io".parse()?);
    /// assert!(hub.trusts_token_server("auth.docker.io", None));
    /// assert!(!hub.trusts_token_server("auth.docker.io.example.com", None));
    /// # Ok::<(), choreo_registry::host::ParseHostError>(())
    /// ```
    #[must_use]
    pub fn trusts_token_server(&self, host: &str, port: Option<u16>) -> bool {
        let realm = self.token_realm.as_ref();
        realm.is_some_and(|realm| realm.host.matches_authority(host, port))
    }

    /// Returns `true` if an identity token is a password for the user name of zeros.
    pub(crate) fn identity_token_is_password(&self) -> bool {
        self.identity_token_is_password
    }

    /// Returns `true` if nodes of the vendor's cloud can pull from this registry without a pull
    /// secret.
    #[must_use]
    pub fn offers_node_identity(&self) -> bool {
        self.recommended.contains(&AuthenticationType::Vendor)
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// The address at which a vendor exchanges credentials for tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
struct TokenRealm {
    url: Cow<'static, str>,
    host: HostPattern,
}

impl TokenRealm {
    fn new(url: Cow<'static, str>) -> Result<Self, VendorError> {
        let host = url.strip_prefix("https://").and_then(|rest| {
            let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            let host = host.parse().ok()?;
            path.bytes()
                .all(|byte| byte.is_ascii_graphic())
                .then_some(host)
        });
        match host {
            Some(host) => Ok(Self { url, host }),
            None => Err(VendorError::Url(url.into_owned())),
        }
    }
}

/// Why a value is not valid in a row of the [`VendorTable`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum VendorError {
    /// The id is not words of lower-case letters and digits, separated by hyphens.
    Id(String),
    /// The name is empty or contains control characters.
    Name(String),
    /// The URL does not begin with `https://` and a host.
    Url(String),
}

impl fmt::Display for VendorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(
                f,
                "invalid vendor id {}: write lower-case letters and digits, parted by hyphens",
                Quoted::new(id)
            ),
            Self::Name(name) => write!(
                f,
                "invalid vendor name {}: write a name for people, on one line",
                Quoted::new(name)
            ),
            Self::Url(url) => write!(
                f,
                "invalid URL {} of a vendor: write one that begins with https:// and a host",
                Quoted::new(url)
            ),
        }
    }
}

impl std::error::Error for VendorError {}

/// Returns an absolute `https` URL without user information unchanged.
fn https(url: String) -> Result<String, VendorError> {
    let is_sound = url.strip_prefix("https://").is_some_and(|rest| {
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        host.parse::<RegistryHost>().is_ok() && path.bytes().all(|byte| byte.is_ascii_graphic())
    });
    if is_sound {
        Ok(url)
    } else {
        Err(VendorError::Url(url))
    }
}
