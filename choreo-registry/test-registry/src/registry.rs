//! The running registry.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::auth::Login;
use crate::builder::Builder;
use crate::fault::Fault;
use crate::image::{Image, Manifest, Platform, index};
use crate::lock::lock;
use crate::log::Recorded;
use crate::name::{Reference, RepositoryName};
use crate::server::Shared;
use crate::store::Repository;

/// A registry that runs until it is dropped. The crate documentation has an example with a client.
///
/// Its methods write directly into its memory, without a request, a login or an entry in the log.
///
/// ```
/// use choreo_test_registry::{Image, TestRegistry};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
///
/// let registry = TestRegistry::builder().start().await?;
/// let image = Image::builder().build();
/// let digest = registry.push("team/app", "v1", &image)?;
/// assert_eq!(digest, image.digest());
/// assert_eq!(registry.digest("team/app", "v1"), Some(digest));
/// registry.shutdown().await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct TestRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl TestRegistry {
    /// Creates a builder of a registry that is open to everyone on a free port.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        address: SocketAddr,
        shared: Arc<Shared>,
        tasks: Vec<JoinHandle<()>>,
    ) -> Self {
        Self {
            address,
            shared,
            tasks,
        }
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the host for image references: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns the `realm` of the challenge of a registry with tokens.
    pub fn realm(&self) -> Option<&str> {
        match &self.shared.gate.login {
            Login::Bearer(tokens) => Some(tokens.realm()),
            Login::Basic | Login::Open => None,
        }
    }

    /// Stores an image under a tag or its digest, and returns its digest.
    ///
    /// # Errors
    ///
    /// Returns an error if the repository or the tag is not a valid name.
    pub fn push(
        &self,
        repository: &str,
        reference: &str,
        image: &Image,
    ) -> Result<String, InvalidTarget> {
        let (name, reference) = target(repository, reference)?;
        let mut store = lock(&self.shared.store);
        let repository = store.repository_mut(&name);
        store_blobs(repository, image);
        let digest = repository.put_manifest(&reference, image.manifest());
        Ok(digest.as_str().to_owned())
    }

    /// Stores images and an index of them, and returns the digest of the index. The index contains
    /// the given platforms, even if the configurations of the images differ.
    ///
    /// # Errors
    ///
    /// Returns an error if the repository or the tag is not a valid name.
    pub fn push_index(
        &self,
        repository: &str,
        reference: &str,
        images: &[(Platform, Image)],
    ) -> Result<String, InvalidTarget> {
        let (name, reference) = target(repository, reference)?;
        let mut store = lock(&self.shared.store);
        let repository = store.repository_mut(&name);
        for (_, image) in images {
            store_blobs(repository, image);
            repository.add_manifest(image.manifest());
        }
        let digest = repository.put_manifest(&reference, index(images));
        Ok(digest.as_str().to_owned())
    }

    /// Stores a manifest without a check, and returns its digest: the one in `reference`, even if
    /// it is wrong, or that of the bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the repository or the tag is not a valid name.
    pub fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: Manifest,
    ) -> Result<String, InvalidTarget> {
        let (name, reference) = target(repository, reference)?;
        let mut store = lock(&self.shared.store);
        let digest = store
            .repository_mut(&name)
            .put_manifest(&reference, manifest);
        Ok(digest.as_str().to_owned())
    }

    /// Stores a blob, and returns its digest.
    ///
    /// # Errors
    ///
    /// Returns an error if the repository is not a valid name.
    pub fn push_blob(
        &self,
        repository: &str,
        content: impl Into<Bytes>,
    ) -> Result<String, InvalidTarget> {
        let name = repository_name(repository)?;
        let mut store = lock(&self.shared.store);
        let digest = store.repository_mut(&name).put_blob(content.into());
        Ok(digest.as_str().to_owned())
    }

    /// Deletes a tag, or a manifest with all its tags. Returns `false` if it does not exist.
    pub fn delete(&self, repository: &str, reference: &str) -> bool {
        let Ok((name, reference)) = target(repository, reference) else {
            return false;
        };
        let mut store = lock(&self.shared.store);
        store
            .known_mut(&name)
            .is_some_and(|repository| repository.delete_manifest(&reference))
    }

    /// Returns the current digest of a tag.
    pub fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let (name, reference) = target(repository, tag).ok()?;
        let store = lock(&self.shared.store);
        let (digest, _) = store.repository(&name)?.manifest(&reference)?;
        Some(digest.as_str().to_owned())
    }

    /// Adds a fault after the existing ones.
    pub fn inject(&self, fault: Fault) {
        lock(&self.shared.faults).add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Returns the requests in the order of arrival, including those to the token server, since the
    /// start or the last [`clear_requests`](Self::clear_requests).
    pub fn requests(&self) -> Vec<Recorded> {
        let log = lock(&self.shared.log);
        log.iter().map(|entry| lock(entry).clone()).collect()
    }

    /// Clears the log of requests.
    pub fn clear_requests(&self) {
        lock(&self.shared.log).clear();
    }

    /// Invalidates every issued token, as if it had expired.
    pub fn revoke_tokens(&self) {
        if let Login::Bearer(tokens) = &self.shared.gate.login {
            tokens.revoke();
        }
    }

    /// Stops listening, closes all connections, and returns when this is complete. Dropping the
    /// registry does the same without waiting.
    pub async fn shutdown(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // The task is awaited only until it ends, and it ends by cancellation.
            let _ = task.await;
        }
    }
}

impl fmt::Debug for TestRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRegistry")
            .field("address", &self.address)
            .field("gate", &self.shared.gate)
            .finish_non_exhaustive()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The error for an invalid repository name or reference.
///
/// ```
/// use choreo_test_registry::{Image, TestRegistry};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
///
/// let registry = TestRegistry::builder().start().await?;
/// let error = registry.push("Team/App", "v1", &Image::builder().build()).unwrap_err();
/// assert_eq!(error.to_string(), "invalid repository \"Team/App\": write lower-case path components");
/// # Ok::<_, std::io::Error>(()) })?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// The reference is neither a tag nor a digest.
    Reference(String),
    /// The repository name is not valid.
    Repository(String),
}

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounded = |text: &str| text.chars().take(64).collect::<String>();
        match self {
            Self::Reference(text) => {
                write!(
                    f,
                    "invalid reference {:?}: write a tag or a digest",
                    bounded(text)
                )
            }
            Self::Repository(text) => {
                let text = bounded(text);
                write!(
                    f,
                    "invalid repository {text:?}: write lower-case path components"
                )
            }
        }
    }
}

impl std::error::Error for InvalidTarget {}

fn store_blobs(repository: &mut Repository, image: &Image) {
    repository.put_blob(image.config().clone());
    for layer in image.layers() {
        repository.put_blob(layer.clone());
    }
}

fn target(repository: &str, reference: &str) -> Result<(RepositoryName, Reference), InvalidTarget> {
    let name = repository_name(repository)?;
    let invalid = || InvalidTarget::Reference(reference.to_owned());
    Ok((name, Reference::parse(reference).ok_or_else(invalid)?))
}

fn repository_name(text: &str) -> Result<RepositoryName, InvalidTarget> {
    RepositoryName::parse(text).ok_or_else(|| InvalidTarget::Repository(text.to_owned()))
}
