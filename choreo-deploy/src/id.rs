//! Opaque, immutable identifiers.
//!
//! Names are for people and may change; ids never do. Every id is a DNS-1123 label
//! (<https://www.rfc-editor.org/rfc/rfc1123>): 1 to 63 characters, `a`-`z`, `0`-`9` and `-`, with a
//! letter or digit at both ends. So an id is a valid Kubernetes label value, and UUIDs are valid
//! ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a valid id.
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

/// Defines one type per kind of id, so that a component's id cannot be used as an environment's.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Returns the id as text.
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
    /// The id of an organization: the tenant.
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
    /// The id of a project: a group of components within an organization. Unique within it.
    ProjectId, "project id"
}
id! {
    /// The id of a component: one thing that is deployed. Unique within its organization;
    /// [`ComponentKey`] contains both.
    ComponentId, "component id"
}
id! {
    /// The id of an environment, such as development or production. Unique within its organization.
    EnvironmentId, "environment id"
}
id! {
    /// The id of a data plane, which runs environments. Unique within the platform.
    DataPlaneId, "data plane id"
}
id! {
    /// The id of a registered container registry. Unique within its organization.
    RegistryId, "registry id"
}
id! {
    /// The id of one deployment: the platform's record of one attempt. The platform creates it;
    /// unique within the platform.
    DeploymentId, "deployment id"
}
id! {
    /// The id of one run of a task. The platform creates it; unique within the platform.
    RunId, "run id"
}
id! {
    /// The public half of a deploy token. Not a secret. The platform creates it; unique within the
    /// platform.
    TokenId, "token id"
}

/// A component of an organization: identifies one component within the whole platform.
///
/// Two organizations may each have a component with the same id, so everything that acts on a
/// component takes both. An embedder cannot omit the organization, which isolates tenants.
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
    /// The id of the component within the organization.
    pub component: ComponentId,
}

impl ComponentKey {
    /// Creates the key of a component of an organization.
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
