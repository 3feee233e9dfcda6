//! Queries a cluster for its version, the user, the permissions and the namespaces.

use std::collections::BTreeSet;

use choreo_deploy_kubernetes::policy::Namespaces;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::task::JoinSet;

use super::connections::{Connection, State};
use super::permissions::{IN_NAMESPACES, OF_NAMESPACES, Permission};
use crate::config::{Configuration, DataPlaneEntry};
use crate::failure::with_causes;

/// The user in messages if the API server does not name it.
const UNKNOWN_USER: &str = "an unknown user";

/// Checks everything about a cluster that can be checked without a change to it.
pub(super) async fn look(
    configuration: &Configuration,
    entry: &DataPlaneEntry,
    client: &Client,
) -> Vec<Connection> {
    let id = entry.data_plane.id.as_str();
    let failed = |message: String| vec![Connection::data_plane(id, State::Failed, message)];
    let version = match client.apiserver_version().await {
        Ok(version) => version.git_version,
        Err(kube::Error::Api(status)) if status.code == 401 => {
            return failed(
                "the API server rejects the credential: renew the one in the kubeconfig".to_owned(),
            );
        }
        Err(error) => {
            return failed(format!(
                "the API server does not answer: {}",
                with_causes(&error)
            ));
        }
    };
    let who = match whoami(client).await {
        Ok(who) => who,
        Err(kube::Error::Api(status)) if status.code == 401 => {
            return failed(format!(
                "Kubernetes {version} rejects the credential: renew the one in the kubeconfig"
            ));
        }
        // The review itself may be forbidden.
        Err(_) => UNKNOWN_USER.to_owned(),
    };
    let message = format!("Kubernetes {version} answers as {who}");
    let mut looked = vec![Connection::data_plane(id, State::Ok, message)];
    match namespaces(configuration, entry) {
        Scope::Everywhere => {
            let all = IN_NAMESPACES.iter().chain([&OF_NAMESPACES]);
            looked.push(permitted(id, client, (None, all)).await);
        }
        Scope::In { names, unnamed } => {
            for place in unnamed {
                let message = format!("no namespace is configured for {place}");
                let look = Connection::data_plane(id, State::Failed, message);
                looked.push(look.with_help("add one to policy.namespaces.map"));
            }
            for name in names {
                looked.extend(missing(id, client, &name).await);
                let all = IN_NAMESPACES.iter();
                looked.push(permitted(id, client, (Some(&name), all)).await);
            }
        }
    }
    looked
}

/// The namespaces of the targets of a data plane.
enum Scope {
    /// Namespaces that are created for them.
    Everywhere,
    /// These, which exist. Some places may have none.
    In {
        names: BTreeSet<String>,
        unnamed: BTreeSet<String>,
    },
}

fn namespaces(configuration: &Configuration, entry: &DataPlaneEntry) -> Scope {
    let policy = &entry.policy.namespaces;
    if matches!(policy, Namespaces::Create { .. }) {
        return Scope::Everywhere;
    }
    let (mut names, mut unnamed) = (BTreeSet::new(), BTreeSet::new());
    let environments = configuration.environments.iter();
    let environments = environments.filter(|known| known.data_plane == entry.data_plane.id);
    let environments: Vec<_> = environments.map(|known| &known.id).collect();
    for component in configuration.components.iter() {
        for environment in &environments {
            let target = component.component.target((*environment).clone());
            match policy.of(&target) {
                Some(name) => _ = names.insert(name),
                None => {
                    _ = unnamed.insert(format!("{} of {}", target.environment, target.project));
                }
            }
        }
    }
    Scope::In { names, unnamed }
}

async fn whoami(client: &Client) -> Result<String, kube::Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let (params, review) = (PostParams::default(), SelfSubjectReview::default());
    let answer = reviews.create(&params, &review).await?;
    let user = answer.status.and_then(|status| status.user_info);
    let name = user.and_then(|user| user.username);
    Ok(name.unwrap_or_else(|| UNKNOWN_USER.to_owned()))
}

/// Returns a failure if a namespace does not exist. If the user may not read namespaces, the
/// permissions show it.
async fn missing(id: &str, client: &Client, name: &str) -> Option<Connection> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.get_opt(name).await {
        Ok(None) => {
            let message = format!("namespace {name} does not exist");
            let look = Connection::data_plane(id, State::Failed, message);
            Some(look.with_help("create it, or choose another in policy.namespaces"))
        }
        _ => None,
    }
}

/// Checks that all of this is permitted, in one namespace or in all.
async fn permitted(
    id: &str,
    client: &Client,
    (namespace, all): (Option<&str>, impl Iterator<Item = &'static Permission>),
) -> Connection {
    let mut asked = JoinSet::new();
    for permission in all {
        for verb in permission.verbs {
            let (client, namespace) = (client.clone(), namespace.map(str::to_owned));
            asked.spawn(async move {
                let may = may(&client, (permission, verb), namespace).await;
                (permission, *verb, may)
            });
        }
    }
    let (mut denied, mut helpful) = (BTreeSet::new(), BTreeSet::new());
    for (permission, verb, may) in asked.join_all().await {
        let resource = match permission.group {
            "" => permission.resource.to_owned(),
            group => format!("{}.{group}", permission.resource),
        };
        match may {
            Ok(true) => {}
            Ok(false) if permission.is_needed => _ = denied.insert(format!("{verb} {resource}")),
            Ok(false) => _ = helpful.insert(format!("{verb} {resource}")),
            Err(error) => {
                let why = with_causes(&error);
                let message = format!("the permissions cannot be read: {why}");
                return Connection::data_plane(id, State::Unknown, message);
            }
        }
    }
    let place = match namespace {
        Some(name) => format!("in namespace {name}"),
        None => "in all namespaces".to_owned(),
    };
    let list = |verbs: BTreeSet<String>| verbs.into_iter().collect::<Vec<_>>().join(", ");
    if !denied.is_empty() {
        let message = format!("permissions are missing {place}: {}", list(denied));
        let look = Connection::data_plane(id, State::Failed, message);
        return look.with_help("grant them with a Role or ClusterRole");
    }
    let message = format!("all needed permissions are granted {place}");
    let look = Connection::data_plane(id, State::Ok, message);
    match helpful.is_empty() {
        true => look,
        false => look.with_help(format!(
            "for more precise reasons, also grant {}",
            list(helpful)
        )),
    }
}

async fn may(
    client: &Client,
    (permission, verb): (&Permission, &str),
    namespace: Option<String>,
) -> Result<bool, kube::Error> {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, part)) => (resource, Some(part.to_owned())),
        None => (permission.resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(permission.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.to_owned()),
        namespace,
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
