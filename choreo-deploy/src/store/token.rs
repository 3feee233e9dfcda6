use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::id::{ComponentKey, TokenId};
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

    /// A token's record, live or not, of whichever organization: for whoever checks a token that was
    /// sent. What a tenant asks for goes by [`tokens`](Self::tokens).
    ///
    /// # Errors
    /// Those of the database.
    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError>;

    /// All tokens of a component, newest first, live or not.
    ///
    /// # Errors
    /// Those of the database.
    async fn tokens(&self, component: &ComponentKey) -> Result<Vec<TokenRecord>, StoreError>;

    /// Revokes a token. Says whether it was live.
    ///
    /// # Contract
    /// - Once it has returned, no deployment is accepted with the token.
    /// - Revoking again changes nothing.
    /// - A token of another component or organization is [`NotFound`](super::StoreErrorKind::NotFound),
    ///   as one that does not exist.
    ///
    /// # Errors
    /// As above, and those of the database.
    async fn revoke_token(
        &self,
        component: &ComponentKey,
        id: &TokenId,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Remembers that a token was used.
    ///
    /// # Contract
    /// - Written at most once a minute; more often changes nothing.
    ///
    /// # Errors
    /// Those of the database.
    async fn touch_token(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError>;
}
