//! The stored record of a deploy token, without the token itself.
//!
//! The webhook defines the format of tokens, mints and checks them. The record is here because a store
//! checks the token again in the transaction that accepts a deployment.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{ComponentId, ComponentKey, OrganizationId, TokenId};

/// The record of a deploy token, which is bound to one component. It contains only a digest of the
/// token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The public half of the token.
    pub id: TokenId,
    /// The organization.
    pub organization: OrganizationId,
    /// The one component that the token deploys.
    pub component: ComponentId,
    /// The name for people.
    pub name: String,
    /// The digest of the secret half.
    pub digest: TokenDigest,
    /// The time of its creation.
    pub created_at: Timestamp,
    /// The time at which it expires.
    pub expires_at: Timestamp,
    /// The time at which it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The time of its last use, accurate to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Creates the record of a new token.
    #[must_use]
    pub fn new(
        id: TokenId,
        owner: ComponentKey,
        digest: TokenDigest,
        validity: (Timestamp, Timestamp),
    ) -> Self {
        let (created_at, expires_at) = validity;
        Self {
            name: id.to_string(),
            id,
            organization: owner.organization,
            component: owner.component,
            digest,
            created_at,
            expires_at,
            revoked_at: None,
            last_used_at: None,
        }
    }

    /// Sets the name for people.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// The one component that the token deploys.
    #[must_use]
    pub fn component_key(&self) -> ComponentKey {
        ComponentKey::new(self.organization.clone(), self.component.clone())
    }

    /// Returns `true` if the token is valid at a time: neither revoked nor expired.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// The digest of the secret half of a token, 32 bytes.
///
/// It is not secret, because the secret half has too many bits to be guessed. Still, it is not shown,
/// and it has no `==`, which could leak it through timing.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Creates a digest from 32 bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}
