use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::id::{ComponentId, TokenId};
use crate::token::TokenRecord;

/// Stores deploy tokens, without the tokens.
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a token that was minted.
    ///
    /// # Contract
    /// - A component has at most two live tokens, one to use and one to rotate to; a third is a
    ///   [`Conflict`](super::StoreErrorKind::Conflict), judged at [`TokenRecord::created_at`].
    /// - An id that is taken is a [`Conflict`](super::StoreErrorKind::Conflict).
    ///
    /// # Errors
    /// As above, and those of the database.
    async fn issue_token(&self, token: TokenRecord) -> Result<(), StoreError>;

    /// A token's record, live or not.
    ///
    /// # Errors
    /// Those of the database.
    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError>;

    /// All tokens of a component, newest first, live or not.
    ///
    /// # Errors
    /// Those of the database.
    async fn tokens(&self, component: &ComponentId) -> Result<Vec<TokenRecord>, StoreError>;

    /// Revokes a token. Says whether it was live.
    ///
    /// # Contract
    /// - Once it has returned, no deployment is accepted with the token.
    /// - Revoking again changes nothing.
    ///
    /// # Errors
    /// [`NotFound`](super::StoreErrorKind::NotFound), and those of the database.
    async fn revoke_token(&self, id: &TokenId, at: Timestamp) -> Result<bool, StoreError>;

    /// Remembers that a token was used.
    ///
    /// # Contract
    /// - Written at most once a minute; more often changes nothing.
    ///
    /// # Errors
    /// Those of the database.
    async fn touch_token(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError>;
}
