use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use choreo_registry::image::ResolvedImage;
use choreo_registry::{Credential, ImageReference, RegistryHost};
use choreo_registry_client::{
    ClientError, ErrorKind, RegistryClient, egress::Egress, transport::HttpTransport,
};
use subtle::ConstantTimeEq as _;

use super::{ImageResolver, RegistryAccess, ResolveError};
use crate::id::{OrganizationId, RegistryId};
use crate::reason::{Evidence, Reason, ReasonCode};

/// Resolves images with choreo-registry-client. Requires the feature `client`.
///
/// Each credential has its own client with its own tokens. A client is reused only for the same
/// organization, registry, host and version, and only with an identical credential. So organizations
/// share nothing, and an old password does not serve for a new one. The latest 256 clients are kept,
/// so that the next resolution needs no login.
///
/// An image that the network policy forbids is [`NotCheckable`](ResolveError::NotCheckable) and not a
/// failure, because the data plane may be able to pull it.
pub struct ClientResolver {
    transport: Arc<dyn HttpTransport>,
    clients: Mutex<Clients>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct Key {
    organization: OrganizationId,
    registry: RegistryId,
    host: RegistryHost,
    version: u64,
}

impl Key {
    fn of(access: &RegistryAccess<'_>) -> Self {
        Self {
            organization: access.organization.clone(),
            registry: access.registry.clone(),
            host: access.host.clone(),
            version: access.credential_version,
        }
    }
}

struct Known {
    used: u64,
    /// The credential of the client.
    credential: Option<Credential>,
    /// The network policy at its creation.
    egress: Egress,
    client: Arc<RegistryClient>,
}

#[derive(Default)]
struct Clients {
    known: HashMap<Key, Known>,
    uses: u64,
}

impl ClientResolver {
    /// Creates a resolver that uses this transport.
    #[must_use]
    pub fn new(transport: Arc<dyn HttpTransport>) -> Self {
        Self {
            transport,
            clients: Mutex::default(),
        }
    }

    fn client(&self, access: &RegistryAccess<'_>) -> Arc<RegistryClient> {
        let key = Key::of(access);
        // A client keeps the URL scheme that its policy allowed.
        let egress = self.transport.egress();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.uses += 1;
        let used = clients.uses;
        if let Some(known) = clients.known.get_mut(&key)
            && is_same(known.credential.as_ref(), access.credential)
            && known.egress.is_same(&egress)
        {
            known.used = used;
            return Arc::clone(&known.client);
        }
        if clients.known.len() >= LIMIT {
            let oldest = clients.known.iter().min_by_key(|(_, known)| known.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                clients.known.remove(&oldest);
            }
        }
        let credential = || access.credential.map(Credential::clone_secret);
        let transport = Arc::clone(&self.transport);
        let client = RegistryClient::new(access.host.clone(), credential(), transport);
        let client = Arc::new(client);
        let known = Known {
            used,
            credential: credential(),
            egress,
            client: Arc::clone(&client),
        };
        clients.known.insert(key, known);
        client
    }
}

/// Compares two credentials in a time that does not depend on the position of a difference.
fn is_same(one: Option<&Credential>, other: Option<&Credential>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            let username = one.username().as_bytes().ct_eq(other.username().as_bytes());
            let password = one.expose_password().as_bytes();
            (username & password.ct_eq(other.expose_password().as_bytes())).into()
        }
        _ => false,
    }
}

const LIMIT: usize = 256;

#[async_trait]
impl ImageResolver for ClientResolver {
    async fn resolve(
        &self,
        image: &ImageReference,
        access: &RegistryAccess<'_>,
    ) -> Result<ResolvedImage, ResolveError> {
        let client = self.client(access);
        client.resolve(image).await.map_err(|error| judge(&error))
    }
}

/// Returns the error of a deployment for an error of a registry.
fn judge(error: &ClientError) -> ResolveError {
    let reason = |code| {
        let evidence = error.evidence();
        let seen = [
            Some(evidence.host().to_owned()),
            evidence.status().map(|status| format!("status {status}")),
            evidence.code().map(str::to_owned),
        ];
        let seen = seen.into_iter().flatten().collect::<Vec<_>>().join(", ");
        Reason::new(code, error.message())
            .with_help(error.help())
            .with_evidence(Evidence::from_untrusted(&seen))
    };
    let later = |code| ResolveError::TryLater {
        reason: reason(code),
        retry_after: error.retry_after(),
    };
    match error.kind() {
        ErrorKind::CredentialRefused | ErrorKind::Unauthorized => {
            ResolveError::Failed(reason(ReasonCode::RegistryCredentialRefused))
        }
        ErrorKind::Denied => ResolveError::Failed(reason(ReasonCode::RegistryPullDenied)),
        ErrorKind::NotFound => ResolveError::Failed(reason(ReasonCode::ImageNotFound)),
        ErrorKind::RateLimited => later(ReasonCode::RegistryRateLimited),
        ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Unreachable => {
            later(ReasonCode::RegistryUnreachable)
        }
        // The data plane has its own network policy, certificates and client.
        ErrorKind::Blocked
        | ErrorKind::InvalidResponse
        | ErrorKind::NotARegistry
        | ErrorKind::RealmNotTrusted => {
            ResolveError::NotCheckable(reason(ReasonCode::RegistryUnreachable))
        }
        ErrorKind::Tls => ResolveError::NotCheckable(reason(ReasonCode::RegistryTls)),
        _ => ResolveError::Failed(reason(ReasonCode::ImagePullFailed)),
    }
}

impl fmt::Debug for ClientResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientResolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use choreo_registry_client::transport::{ScriptedTransport, TransportErrorKind};

    use super::*;

    const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    const URL: &str = "GET https://registry.example.com/v2/shop/app/manifests/1";

    /// A registry that requires no login.
    fn open() -> ScriptedTransport {
        let ping = "GET https://registry.example.com/v2/";
        ScriptedTransport::new().answer(ping, http::Response::new(""))
    }

    async fn resolve(transport: ScriptedTransport) -> Result<ResolvedImage, ResolveError> {
        let resolver = ClientResolver::new(Arc::new(transport));
        let (organization, registry) = ("acme".parse().unwrap(), "images".parse().unwrap());
        let host = "registry.example.com".parse().unwrap();
        let image = "registry.example.com/shop/app:1".parse().unwrap();
        let access = RegistryAccess::new(&organization, &registry, &host);
        resolver.resolve(&image, &access).await
    }

    #[tokio::test]
    async fn a_manifest_that_was_read_is_resolved() {
        let answer = http::Response::builder()
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .body(MANIFEST)
            .unwrap();
        let resolved = resolve(open().answer(URL, answer)).await.unwrap();
        assert!(resolved.digest().matches(MANIFEST.as_bytes()));
    }

    #[tokio::test]
    async fn what_is_missing_has_failed_and_what_is_down_is_asked_again() {
        let status = |status: u16| http::Response::builder().status(status).body("").unwrap();
        let missing = resolve(open().answer(URL, status(404))).await;
        assert!(
            matches!(&missing, Err(ResolveError::Failed(reason)) if reason.code == ReasonCode::ImageNotFound),
            "{missing:?}"
        );
        let limited = resolve(open().answer(URL, status(429))).await;
        assert!(
            matches!(&limited, Err(ResolveError::TryLater { reason, .. }) if reason.code == ReasonCode::RegistryRateLimited),
            "{limited:?}"
        );
        let down = open().fail(URL, TransportErrorKind::Connect);
        let down = resolve(down).await;
        assert!(
            matches!(&down, Err(ResolveError::TryLater { reason, .. }) if reason.code == ReasonCode::RegistryUnreachable),
            "{down:?}"
        );
    }

    #[test]
    fn clients_are_kept_apart_and_not_for_ever() {
        let resolver = ClientResolver::new(Arc::new(ScriptedTransport::new()));
        let [acme, globex] = ["acme", "globex"].map(|id| id.parse::<OrganizationId>().unwrap());
        let registry: RegistryId = "images".parse().unwrap();
        let host: RegistryHost = "registry.example.com".parse().unwrap();
        let [ada, bob] = ["ada", "bob"].map(|name| Credential::new(name, "secret").unwrap());
        let other_password = Credential::new("ada", "another").unwrap();
        let of = |organization, credential, version| {
            let access = RegistryAccess::new(organization, &registry, &host);
            access.with_credential(credential, version)
        };
        let first = resolver.client(&of(&acme, &ada, 1));
        let again = |access: &RegistryAccess<'_>| Arc::ptr_eq(&first, &resolver.client(access));
        assert!(again(&of(&acme, &ada, 1)), "the same login");
        assert!(!again(&of(&acme, &ada, 2)), "another version");
        assert!(!again(&of(&globex, &ada, 1)), "another tenant");
        for credential in [Some(&bob), Some(&other_password), None] {
            let access = RegistryAccess {
                credential,
                ..of(&acme, &ada, 1)
            };
            assert!(!again(&access), "another credential under the version");
        }
        for version in 3..1000 {
            resolver.client(&of(&acme, &ada, version));
        }
        assert_eq!(resolver.clients.lock().unwrap().known.len(), LIMIT);
    }
}
