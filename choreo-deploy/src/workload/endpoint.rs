use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::code::codes;

/// A port at which a component listens.
///
/// ```
/// use choreo_deploy::workload::{Endpoint, Protocol, Visibility};
///
/// let endpoint = Endpoint::new("api".parse()?, 8080.try_into()?, Protocol::Http)
///     .visible(Visibility::Public)
///     .at("/orders");
/// assert_eq!(endpoint.base_path.as_deref(), Some("/orders"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Endpoint {
    /// The name, unique within the component.
    pub name: EndpointName,
    /// The port at which the container listens, 1 to 65,535.
    pub port: NonZeroU16,
    /// The protocol.
    pub protocol: Protocol,
    /// Which components can connect to it. The project by default.
    pub visibility: Visibility,
    /// The common path prefix of its resources; the root by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_path: Option<String>,
}

impl Endpoint {
    /// Creates an endpoint with the visibility of the project.
    #[must_use]
    pub fn new(name: EndpointName, port: NonZeroU16, protocol: Protocol) -> Self {
        Self {
            name,
            port,
            protocol,
            visibility: Visibility::default(),
            base_path: None,
        }
    }

    /// Sets the visibility.
    #[must_use]
    pub fn visible(self, visibility: Visibility) -> Self {
        Self { visibility, ..self }
    }

    /// Sets the common path prefix of its resources.
    #[must_use]
    pub fn at(self, base_path: impl Into<String>) -> Self {
        Self {
            base_path: Some(base_path.into()),
            ..self
        }
    }
}

/// The endpoints of a Service: at least one, with unique names and unique ports.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(into = "Vec<Endpoint>")]
pub struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    /// Creates the list of endpoints.
    ///
    /// # Errors
    ///
    /// Returns [`ParseEndpointError::None`] if the list is empty, [`DuplicateName`] or
    /// [`DuplicatePort`] if two endpoints share one.
    ///
    /// [`DuplicateName`]: ParseEndpointError::DuplicateName
    /// [`DuplicatePort`]: ParseEndpointError::DuplicatePort
    pub fn new(endpoints: Vec<Endpoint>) -> Result<Self, ParseEndpointError> {
        if endpoints.is_empty() {
            return Err(ParseEndpointError::None);
        }
        for (i, endpoint) in endpoints.iter().enumerate() {
            let before = &endpoints[..i];
            if before.iter().any(|other| other.name == endpoint.name) {
                return Err(ParseEndpointError::DuplicateName(endpoint.name.clone()));
            }
            let transport = endpoint.protocol.is_udp();
            let same = |other: &&Endpoint| {
                other.port == endpoint.port && other.protocol.is_udp() == transport
            };
            if before.iter().find(same).is_some() {
                return Err(ParseEndpointError::DuplicatePort(endpoint.port));
            }
        }
        Ok(Self(endpoints))
    }

    /// Returns the endpoints, in their original order.
    #[must_use]
    pub fn as_slice(&self) -> &[Endpoint] {
        &self.0
    }
}

impl From<Endpoint> for Endpoints {
    fn from(endpoint: Endpoint) -> Self {
        Self(vec![endpoint])
    }
}

impl TryFrom<Vec<Endpoint>> for Endpoints {
    type Error = ParseEndpointError;

    fn try_from(endpoints: Vec<Endpoint>) -> Result<Self, ParseEndpointError> {
        Self::new(endpoints)
    }
}

impl From<Endpoints> for Vec<Endpoint> {
    fn from(endpoints: Endpoints) -> Self {
        endpoints.0
    }
}

/// The protocol of an endpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
    /// GraphQL over HTTP.
    GraphQl,
    /// WebSocket over HTTP.
    WebSocket,
    /// Anything over TCP.
    Tcp,
    /// Anything over UDP.
    Udp,
}

codes!(Protocol, "protocol", {
    Http = "http",
    Grpc = "grpc",
    GraphQl = "graphql",
    WebSocket = "websocket",
    Tcp = "tcp",
    Udp = "udp",
});

impl Protocol {
    /// Returns `true` if it uses UDP; all other protocols use TCP.
    #[must_use]
    pub fn is_udp(self) -> bool {
        self == Self::Udp
    }
}

/// The clients that can connect to an endpoint.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Visibility {
    /// Components of the same project.
    #[default]
    Project,
    /// Components of the same organization.
    Organization,
    /// The public internet.
    Public,
}

codes!(Visibility, "visibility", {
    Project = "project",
    Organization = "organization",
    Public = "public",
});

/// The name of an endpoint: 1 to 15 characters of `a`-`z`, `0`-`9` and `-`, with at least one
/// letter, no `-` at an end and no two in a row.
///
/// The rule is that of an IANA service name (<https://www.rfc-editor.org/rfc/rfc6335#section-5.1>),
/// which Kubernetes requires for a named port.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointName(String);

impl EndpointName {
    pub(super) fn http() -> Self {
        Self("http".to_owned())
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointName {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        let fits = (1..=15).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.bytes().any(|b| b.is_ascii_lowercase())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !text.contains("--");
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseEndpointError::Name(text.chars().take(64).collect()))
        }
    }
}

impl TryFrom<String> for EndpointName {
    type Error = ParseEndpointError;

    fn try_from(text: String) -> Result<Self, ParseEndpointError> {
        text.parse()
    }
}

impl From<EndpointName> for String {
    fn from(name: EndpointName) -> Self {
        name.0
    }
}

impl AsRef<str> for EndpointName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why endpoints are not valid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseEndpointError {
    /// Two endpoints share a name.
    #[error("endpoint name \"{0}\" is used twice: give each endpoint a name of its own")]
    DuplicateName(EndpointName),
    /// Two endpoints share a port.
    #[error("endpoint port {0} is used twice: give each endpoint a port of its own")]
    DuplicatePort(NonZeroU16),
    /// The text is not a valid name of an endpoint.
    #[error(
        "endpoint name {0:?} is not valid: use 1 to 15 characters of a-z, 0-9 and single '-', with at least one letter"
    )]
    Name(String),
    /// The Service has no endpoint.
    #[error("endpoints are missing: a Service needs at least one")]
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, port: u16, protocol: Protocol) -> Endpoint {
        Endpoint::new(name.parse().unwrap(), port.try_into().unwrap(), protocol)
    }

    #[test]
    fn names_and_ports_are_unique() {
        let one = endpoint("api", 8080, Protocol::Http);
        assert_eq!(
            Endpoints::new(vec![]).unwrap_err(),
            ParseEndpointError::None
        );
        assert_eq!(
            Endpoints::new(vec![one.clone(), endpoint("api", 9090, Protocol::Grpc)])
                .unwrap_err()
                .to_string(),
            "endpoint name \"api\" is used twice: give each endpoint a name of its own"
        );
        assert_eq!(
            Endpoints::new(vec![one.clone(), endpoint("admin", 8080, Protocol::Grpc)])
                .unwrap_err()
                .to_string(),
            "endpoint port 8080 is used twice: give each endpoint a port of its own"
        );
        assert!(Endpoints::new(vec![one, endpoint("dns", 8080, Protocol::Udp)]).is_ok());
    }

    #[test]
    fn names_are_those_of_kubernetes_ports() {
        for good in ["api", "a", "http-2", "fifteen-letters"] {
            assert!(good.parse::<EndpointName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "8080",
            "API",
            "a--b",
            "-a",
            "a-",
            "sixteen-letters-",
            "a.b",
        ] {
            assert!(bad.parse::<EndpointName>().is_err(), "{bad}");
        }
    }
}
