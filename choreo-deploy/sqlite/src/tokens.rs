//! The table of deploy tokens. It contains their records, never the tokens.

use choreo_deploy::deployment::Cause;
use choreo_deploy::id::{ComponentKey, TokenId};
use choreo_deploy::store::{AcceptError, NewDeployment};
use choreo_deploy::token::{TokenDigest, TokenRecord};
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};

use crate::audit;
use crate::error::Failure;
use crate::row::{Entry, moment, nanoseconds, readable};
use crate::writer::Session;

pub(crate) const TABLE: &str = "tokens";

/// One token in use and one for rotation.
const LIVE: i64 = 2;
const MINUTE: i64 = 60_000_000_000;

const COLUMNS: &str =
    "id, organization, component, name, digest, created_at, expires_at, revoked_at,
    last_used_at";

/// Rejects a deployment from CI whose token is not live or belongs to another component.
pub(crate) fn check(session: &Session<'_>, new: &NewDeployment) -> Result<(), Failure> {
    let Cause::Ci(id) = &new.cause else {
        return Ok(());
    };
    let live = session
        .prepare(
            "SELECT 1 FROM tokens WHERE id = ?1 AND organization = ?2 AND component = ?3
                 AND revoked_at IS NULL AND expires_at > ?4",
        )?
        .exists((
            id.as_str(),
            new.target.organization.as_str(),
            new.target.component.as_str(),
            nanoseconds(new.accepted_at),
        ))?;
    if live {
        Ok(())
    } else {
        Err(AcceptError::TokenRefused.into())
    }
}

pub(crate) fn issue(session: &Session<'_>, token: &TokenRecord) -> Result<(), Failure> {
    if one(session.connection(), &token.id)?.is_some() {
        return Err(Failure::conflict(format!("token id {} is taken", token.id)));
    }
    let live: i64 = session
        .prepare(
            "SELECT count(*) FROM tokens
             WHERE organization = ?1 AND component = ?2 AND revoked_at IS NULL AND expires_at > ?3",
        )?
        .query_row(
            (
                token.organization.as_str(),
                token.component.as_str(),
                nanoseconds(token.created_at),
            ),
            |row| row.get(0),
        )?;
    if live >= LIVE {
        let message = format!(
            "component {} has two live tokens: revoke one first",
            token.component
        );
        return Err(Failure::conflict(message));
    }
    session.execute(
        "INSERT INTO tokens (id, organization, component, name, digest, created_at, expires_at,
             revoked_at, last_used_at)
         VALUES (:id, :organization, :component, :name, :digest, :created_at, :expires_at,
             :revoked_at, :last_used_at)",
        named_params! {
            ":id": token.id.as_str(),
            ":organization": token.organization.as_str(),
            ":component": token.component.as_str(),
            ":name": token.name,
            ":digest": token.digest.as_bytes(),
            ":created_at": nanoseconds(token.created_at),
            ":expires_at": nanoseconds(token.expires_at),
            ":revoked_at": token.revoked_at.map(nanoseconds),
            ":last_used_at": token.last_used_at.map(nanoseconds),
        },
    )?;
    audit::Entry::new(token.created_at, "token-issued", subject(&token.id))
        .with(format!("component {}", token.component))
        .write(session)
}

pub(crate) fn revoke(
    session: &Session<'_>,
    component: &ComponentKey,
    id: &TokenId,
    at: Timestamp,
) -> Result<bool, Failure> {
    let token = one(session.connection(), id)?
        .filter(|token| token.component_key() == *component)
        .ok_or_else(|| Failure::not_found(format!("token {id} does not exist")))?;
    if token.revoked_at.is_some() {
        return Ok(false);
    }
    session.execute(
        "UPDATE tokens SET revoked_at = ?2 WHERE id = ?1",
        (id.as_str(), nanoseconds(at)),
    )?;
    audit::Entry::new(at, "token-revoked", subject(id)).write(session)?;
    Ok(token.is_live(at))
}

pub(crate) fn touch(session: &Session<'_>, id: &TokenId, at: Timestamp) -> Result<(), Failure> {
    let at = nanoseconds(at);
    // The condition on `last_used_at` limits the writes to one per minute.
    session.execute(
        "UPDATE tokens SET last_used_at = ?2
         WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at <= ?3)",
        (id.as_str(), at, at.saturating_sub(MINUTE)),
    )?;
    Ok(())
}

pub(crate) fn one(connection: &Connection, id: &TokenId) -> Result<Option<TokenRecord>, Failure> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(read).transpose()
}

pub(crate) fn all(
    connection: &Connection,
    component: &ComponentKey,
) -> Result<Vec<TokenRecord>, Failure> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tokens WHERE organization = ?1 AND component = ?2
         ORDER BY created_at DESC, id DESC"
    ))?;
    let key = [
        component.organization.as_str(),
        component.component.as_str(),
    ];
    let mut rows = statement.query(key)?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next()? {
        tokens.extend(readable(read(row))?);
    }
    Ok(tokens)
}

pub(crate) fn read(row: &Row<'_>) -> Result<TokenRecord, Failure> {
    let entry = Entry::new(TABLE, row.get::<_, String>("id")?, row);
    let owner = ComponentKey::new(entry.parsed("organization")?, entry.parsed("component")?);
    let validity = (entry.moment("created_at")?, entry.moment("expires_at")?);
    let digest = TokenDigest::new(entry.get("digest")?);
    let token = TokenRecord::new(entry.parsed("id")?, owner, digest, validity);
    let mut token = token.with_name(entry.get::<String>("name")?);
    token.revoked_at = entry.get::<Option<i64>>("revoked_at")?.map(moment);
    token.last_used_at = entry.get::<Option<i64>>("last_used_at")?.map(moment);
    Ok(token)
}

fn subject(id: &TokenId) -> String {
    format!("token {id}")
}
