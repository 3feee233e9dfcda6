//! Tokens of another issuer, by which a cloud identifies a workload.

use std::fmt;

use async_trait::async_trait;

use crate::credential_source::SourceError;
use choreo_registry::credential::Password;

/// A source of tokens of another issuer: Kubernetes mounts one for a service account, and a CI system
/// passes one to a job.
///
/// **Contract**
/// - The token is the current one. It is read for every renewal, because such files are rewritten.
/// - It is exact: a line feed at the end of the file is not part of it.
/// - Dropping the future cancels the call.
///
/// A [`Password`] is a token that never changes, for tests and short programs.
///
/// # Example
///
/// The file that Kubernetes mounts. This crate does not read files itself:
///
/// ```
/// use std::path::PathBuf;
/// use choreo_registry_client::credential_source::IdentityToken;
/// use choreo_registry::credential::Password;
/// use choreo_registry_client::credential_source::{SourceError, SourceErrorKind};
///
/// #[derive(Debug)]
/// struct TokenFile(PathBuf);
///
/// #[async_trait::async_trait]
/// impl IdentityToken for TokenFile {
///     async fn identity_token(&self) -> Result<Password, SourceError> {
///         let unreadable = || SourceError::new(SourceErrorKind::Identity, "the token's file");
///         let text = std::fs::read_to_string(&self.0)
///             .map_err(|error| unreadable().with_source(error))?;
///         text.trim_end().parse().map_err(|error| unreadable().with_source(error))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let missing = TokenFile("/no/such/file".into());
/// assert_eq!(missing.identity_token().await.unwrap_err().kind(), SourceErrorKind::Identity);
///
/// let fixed: Password = "a.b.c".parse()?;
/// assert_eq!(fixed.identity_token().await?.expose(), "a.b.c");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait IdentityToken: fmt::Debug + Send + Sync {
    /// Returns the current token.
    ///
    /// # Errors
    ///
    /// Returns a [`SourceError`] if there is none.
    async fn identity_token(&self) -> Result<Password, SourceError>;
}

#[async_trait]
impl IdentityToken for Password {
    async fn identity_token(&self) -> Result<Self, SourceError> {
        Ok(self.clone_secret())
    }
}
