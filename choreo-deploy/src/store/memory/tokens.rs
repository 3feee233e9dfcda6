//! Deploy tokens.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::InMemoryStore;
use crate::id::{ComponentId, ComponentKey, TokenId};
use crate::store::{StoreError, StoreErrorKind, TokenStore};
use crate::token::TokenRecord;

#[async_trait]
impl TokenStore for InMemoryStore {
    async fn issue_token(&self, token: TokenRecord) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.tokens.contains_key(&token.id) {
            let message = format!("token id {} is taken", token.id);
            return Err(StoreError::new(StoreErrorKind::Conflict, message));
        }
        let live = |other: &&TokenRecord| {
            other.component_key() == token.component_key() && other.is_live(token.created_at)
        };
        if state.tokens.values().filter(live).count() >= 2 {
            return Err(too_many_tokens(&token.component));
        }
        state.tokens.insert(token.id.clone(), token);
        Ok(())
    }

    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.lock().tokens.get(id).cloned())
    }

    async fn tokens(&self, component: &ComponentKey) -> Result<Vec<TokenRecord>, StoreError> {
        let state = self.lock();
        let mut tokens: Vec<_> = state
            .tokens
            .values()
            .filter(|token| token.component_key() == *component)
            .cloned()
            .collect();
        tokens.sort_by_key(|token| std::cmp::Reverse((token.created_at, token.id.clone())));
        Ok(tokens)
    }

    async fn revoke_token(
        &self,
        component: &ComponentKey,
        id: &TokenId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let token = state.tokens.get_mut(id);
        let token = token.filter(|token| token.component_key() == *component);
        let token = token.ok_or_else(|| {
            StoreError::new(
                StoreErrorKind::NotFound,
                format!("token {id} does not exist"),
            )
        })?;
        let live = token.is_live(at);
        token.revoked_at.get_or_insert(at);
        Ok(live)
    }

    async fn touch_token(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        if let Some(token) = self.lock().tokens.get_mut(id) {
            let minute = SignedDuration::from_mins(1);
            if token
                .last_used_at
                .is_none_or(|last| at.duration_since(last) >= minute)
            {
                token.last_used_at = Some(at);
            }
        }
        Ok(())
    }
}

fn too_many_tokens(component: &ComponentId) -> StoreError {
    let message = format!("component {component} has two live tokens: revoke one first");
    StoreError::new(StoreErrorKind::Conflict, message)
}
