//! Opaque, immutable identities.
//!
//! Names are for people and may change; ids never do. Every id is a DNS-1123 label
//! (<https://www.rfc-editor.org/rfc/rfc1123>): 1 to 63 characters, `a`-`z`, `0`-`9` and `-`, with a
//! letter or digit at both ends. So an id is a Kubernetes label value as it stands, and UUIDs fit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{kind} {text:?} is not valid: use 1 to 63 characters of a-z, 0-9 and '-', with a letter or digit at both ends"
)]
pub struct ParseIdError {
    kind: &'static str,
    text: String,
}

impl ParseIdError {
    fn new(kind: &'static str, text: &str) -> Self {
        Self {
            kind,
            text: text.chars().take(64).collect(),
        }
    }
}

fn is_label(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || *b == b'-')
}

/// One type per kind of id, so that a component's id never stands where an environment's belongs.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if is_label(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(ParseIdError::new($kind, text))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// An organization: the tenant.
    ///
    /// ```
    /// use choreo_deploy::id::OrganizationId;
    ///
    /// let organization: OrganizationId = "acme".parse()?;
    /// assert_eq!(organization.as_str(), "acme");
    /// # Ok::<(), choreo_deploy::id::ParseIdError>(())
    /// ```
    OrganizationId, "organization id"
}
id! {
    /// A project: a group of components within an organization. Unique within it.
    ProjectId, "project id"
}
id! {
    /// A component: one thing that is deployed. Unique within its organization;
    /// [`ComponentKey`] has both.
    ComponentId, "component id"
}
id! {
    /// An environment, such as development or production. Unique within its organization.
    EnvironmentId, "environment id"
}
id! {
    /// A data plane: where environments run. Unique within the platform.
    DataPlaneId, "data plane id"
}
id! {
    /// A registered container registry. Unique within its organization.
    RegistryId, "registry id"
}
id! {
    /// One deployment: the platform's record of one attempt. Unique within the platform, which makes
    /// it.
    DeploymentId, "deployment id"
}
id! {
    /// One run of a task. Unique within the platform, which makes it.
    RunId, "run id"
}
id! {
    /// The public half of a deploy token. Not a secret. Unique within the platform, which makes it.
    TokenId, "token id"
}

/// A component of an organization: what tells one component from every other of the platform.
///
/// Two organizations may each have a component of the same id, so whatever acts on a component takes
/// both. That an embedder cannot forget the organization is what keeps tenants apart.
///
/// ```
/// use choreo_deploy::id::ComponentKey;
///
/// let orders = ComponentKey::new("acme".parse()?, "orders".parse()?);
/// assert_eq!(orders.to_string(), "acme/orders");
/// # Ok::<(), choreo_deploy::id::ParseIdError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComponentKey {
    /// The tenant.
    pub organization: OrganizationId,
    /// The component, by its id within the organization.
    pub component: ComponentId,
}

impl ComponentKey {
    /// A component of an organization.
    #[must_use]
    pub fn new(organization: OrganizationId, component: ComponentId) -> Self {
        Self {
            organization,
            component,
        }
    }
}

impl fmt::Display for ComponentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organization, self.component)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn says_which_id_and_what_is_allowed() {
        let error = "Acme".parse::<OrganizationId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "organization id \"Acme\" is not valid: use 1 to 63 characters of a-z, 0-9 and '-', \
             with a letter or digit at both ends"
        );
    }

    #[test]
    fn accepts_labels_only() {
        for good in [
            "a",
            "7",
            "a-b",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            &"x".repeat(63),
        ] {
            assert!(good.parse::<ComponentId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "ä",
            "a b",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<ComponentId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn display_parses_back(text in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?") {
            let id: ComponentId = text.parse().unwrap();
            prop_assert_eq!(id.to_string().parse::<ComponentId>().unwrap(), id);
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = text.parse::<ComponentId>();
        }
    }
}
