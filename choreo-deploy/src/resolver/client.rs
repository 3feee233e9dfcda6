use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use choreo_registry::client::{ClientError, ErrorKind, HttpTransport, RegistryClient};
use choreo_registry::image::ResolvedImage;
use choreo_registry::{Credential, ImageReference, RegistryHost};

use super::{ImageResolver, RegistryAccess, ResolveError};
use crate::id::RegistryId;
use crate::reason::{Evidence, Reason, ReasonCode};

/// Reads registries over the client of choreo-registry. Needs the feature `client`.
///
/// Each version of a credential has a client of its own, with its own tokens, so nothing of one
/// tenant ever serves another. The latest 256 are kept, so that a second look needs no new login.
///
/// What the network policy of this place forbids is
/// [`NotCheckable`](ResolveError::NotCheckable), not a failure: the data plane may well pull it.
pub struct ClientResolver {
    transport: Arc<dyn HttpTransport>,
    clients: Mutex<Clients>,
}

type Key = (RegistryId, RegistryHost, u64);

#[derive(Default)]
struct Clients {
    known: HashMap<Key, (u64, Arc<RegistryClient>)>,
    uses: u64,
}

impl ClientResolver {
    /// A resolver that reads registries over this transport.
    #[must_use]
    pub fn new(transport: Arc<dyn HttpTransport>) -> Self {
        Self {
            transport,
            clients: Mutex::default(),
        }
    }

    fn client(&self, access: &RegistryAccess<'_>) -> Arc<RegistryClient> {
        let key = (
            access.registry.clone(),
            access.host.clone(),
            access.credential_version,
        );
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.uses += 1;
        let now = clients.uses;
        if let Some((used, client)) = clients.known.get_mut(&key) {
            *used = now;
            return Arc::clone(client);
        }
        if clients.known.len() >= LIMIT {
            let oldest = clients.known.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                clients.known.remove(&oldest);
            }
        }
        let credential = access.credential.map(Credential::duplicate);
        let transport = Arc::clone(&self.transport);
        let client = Arc::new(RegistryClient::new(
            access.host.clone(),
            credential,
            transport,
        ));
        clients.known.insert(key, (now, Arc::clone(&client)));
        client
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

/// What a registry's answer means for a deployment.
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
        ErrorKind::NotARegistry => ResolveError::Failed(reason(ReasonCode::RegistryUnreachable)),
        ErrorKind::RateLimited => later(ReasonCode::RegistryRateLimited),
        ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Unreachable => {
            later(ReasonCode::RegistryUnreachable)
        }
        // What is forbidden, or not trusted, from here need not be on the data plane.
        ErrorKind::Blocked | ErrorKind::RealmNotTrusted => {
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
    use choreo_registry::client::{ScriptedTransport, TransportErrorKind};

    use super::*;

    const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    const URL: &str = "GET https://registry.example.com/v2/shop/app/manifests/1";

    /// A registry that asks for no login.
    fn open() -> ScriptedTransport {
        let ping = "GET https://registry.example.com/v2/";
        ScriptedTransport::new().answer(ping, http::Response::new(""))
    }

    async fn resolve(transport: ScriptedTransport) -> Result<ResolvedImage, ResolveError> {
        let resolver = ClientResolver::new(Arc::new(transport));
        let registry = "images".parse().unwrap();
        let host = "registry.example.com".parse().unwrap();
        let image = "registry.example.com/shop/app:1".parse().unwrap();
        resolver
            .resolve(&image, &RegistryAccess::new(&registry, &host))
            .await
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
        let registry: RegistryId = "images".parse().unwrap();
        let host: RegistryHost = "registry.example.com".parse().unwrap();
        let of = |version| RegistryAccess {
            credential_version: version,
            ..RegistryAccess::new(&registry, &host)
        };
        let first = resolver.client(&of(1));
        assert!(
            Arc::ptr_eq(&first, &resolver.client(&of(1))),
            "the same version, the same client"
        );
        assert!(
            !Arc::ptr_eq(&first, &resolver.client(&of(2))),
            "another version, another client"
        );
        for version in 3..1000 {
            resolver.client(&of(version));
        }
        assert_eq!(resolver.clients.lock().unwrap().known.len(), LIMIT);
    }
}
