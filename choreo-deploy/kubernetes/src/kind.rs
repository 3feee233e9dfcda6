//! The kinds of objects that this crate reads or writes: a closed list.

use std::fmt;
use std::str::FromStr;

use kube::core::{ApiResource, GroupVersionKind};

macro_rules! kinds {
    ($($name:ident = $group:literal $version:literal $plural:literal,)*) => {
        /// A kind of Kubernetes object.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub(crate) enum Kind {
            $($name,)*
        }

        impl Kind {
            const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Returns the resource without discovery: group, version and plural of these kinds are
            /// stable.
            pub(crate) fn resource(self) -> ApiResource {
                let (group, version, plural) = match self {
                    $(Self::$name => ($group, $version, $plural),)*
                };
                let kind = GroupVersionKind::gvk(group, version, self.as_str());
                ApiResource::from_gvk_with_plural(&kind, plural)
            }

            pub(crate) fn api_version(self) -> &'static str {
                match self {
                    $(Self::$name if $group.is_empty() => $version,)*
                    $(Self::$name => concat!($group, "/", $version),)*
                }
            }
        }
    };
}

kinds! {
    ConfigMap = "" "v1" "configmaps",
    CronJob = "batch" "v1" "cronjobs",
    Deployment = "apps" "v1" "deployments",
    Event = "" "v1" "events",
    HorizontalPodAutoscaler = "autoscaling" "v2" "horizontalpodautoscalers",
    Job = "batch" "v1" "jobs",
    Namespace = "" "v1" "namespaces",
    Pod = "" "v1" "pods",
    PodDisruptionBudget = "policy" "v1" "poddisruptionbudgets",
    ReplicaSet = "apps" "v1" "replicasets",
    Secret = "" "v1" "secrets",
    Service = "" "v1" "services",
    ServiceAccount = "" "v1" "serviceaccounts",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind and a name: one object in a namespace that the context knows.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct ObjectId {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl ObjectId {
    pub(crate) fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl FromStr for ObjectId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, name) = text.split_once('/').ok_or(())?;
        let kind = Kind::ALL
            .iter()
            .find(|known| known.as_str() == kind)
            .ok_or(())?;
        Ok(Self::new(*kind, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_back() {
        for kind in Kind::ALL {
            let id = ObjectId::new(*kind, "orders-0a1b");
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("Gizmo/orders".parse::<ObjectId>(), Err(()));
    }

    #[test]
    fn api_versions_are_those_of_the_resources() {
        for kind in Kind::ALL {
            assert_eq!(kind.resource().api_version, kind.api_version(), "{kind}");
        }
    }
}
