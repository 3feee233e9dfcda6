//! What is stored of a deploy token: everything but the token.
//!
//! How a token looks, is minted and is checked belongs to the webhook. Here is the record, because
//! accepting a deployment checks the token again within its transaction.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{ComponentId, ComponentKey, OrganizationId, TokenId};

/// The record of a deploy token. The token is bound to one component, and only its digest is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The public half of the token.
    pub id: TokenId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The one component that the token deploys.
    pub component: ComponentId,
    /// What people call it.
    pub name: String,
    /// The digest of the secret half.
    pub digest: TokenDigest,
    /// When it was minted.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl TokenRecord {
    /// A token of a component that has just been minted.
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

    /// Gives it a name for people.
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

    /// Whether it may be used at this moment: neither revoked nor expired.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// The digest of the secret half of a token, 32 bytes.
///
/// Not a secret by itself, for the secret has too many bits to be guessed; still neither shown nor
/// compared by `==`, so that it takes part in no timing channel.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// A digest of 32 bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
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
