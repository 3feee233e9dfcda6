use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::id::{ComponentKey, TokenId};
use crate::token::TokenRecord;

/// A store for the records of deploy tokens. It never stores the tokens themselves.
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the record of a new token.
    ///
    /// # Contract
    /// - A component has at most two live tokens at [`TokenRecord::created_at`], one in use and one
    ///   for rotation. Returns [`Conflict`](super::StoreErrorKind::Conflict) for a third one.
    /// - Returns [`Conflict`](super::StoreErrorKind::Conflict) if the id is already used.
    ///
    /// # Errors
    ///
    /// Returns the errors above and those of the database.
    async fn issue_token(&self, token: TokenRecord) -> Result<(), StoreError>;

    /// Returns the record of a token of any organization, live or not, to check a token that a
    /// client sent. For requests of a tenant, use [`tokens`](Self::tokens).
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError>;

    /// Returns all tokens of a component, live or not, newest first.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn tokens(&self, component: &ComponentKey) -> Result<Vec<TokenRecord>, StoreError>;

    /// Revokes a token. Returns `true` if it was live.
    ///
    /// # Contract
    /// - Once it has returned, no deployment with the token is accepted.
    /// - To revoke a token again changes nothing.
    /// - Returns [`NotFound`](super::StoreErrorKind::NotFound) for a token of another component or
    ///   organization, as for one that does not exist.
    ///
    /// # Errors
    ///
    /// Returns the errors above and those of the database.
    async fn revoke_token(
        &self,
        component: &ComponentKey,
        id: &TokenId,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Records that a token was used.
    ///
    /// # Contract
    /// - The use is recorded at most once per minute. More frequent calls change nothing.
    ///
    /// # Errors
    ///
    /// Returns the errors of the database.
    async fn touch_token(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError>;
}
