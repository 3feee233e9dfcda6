//! The idempotency keys: a repeated request is one deployment.

use choreo_deploy::store::{AcceptError, Accepted, Idempotency, NewDeployment};
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, named_params};

use crate::deployments;
use crate::error::Failure;
use crate::row::nanoseconds;
use crate::writer::Session;

/// The number of expired keys that one acceptance removes: more than it adds, so that they do not
/// accumulate, and few enough to be cheap.
const TAKEN_AWAY: i64 = 4;

/// The query of the keys that expired first.
pub(crate) const EXPIRED: &str = "SELECT organization, component, key FROM idempotency
    WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";

/// Returns the deployment that an earlier request with the key stored.
pub(crate) fn replayed(
    session: &Session<'_>,
    new: &NewDeployment,
) -> Result<Option<Accepted>, Failure> {
    let Some(idempotency) = &new.idempotency else {
        return Ok(None);
    };
    let known = session
        .prepare(
            "SELECT fingerprint, deployment FROM idempotency
             WHERE organization = ?1 AND component = ?2 AND key = ?3 AND expires_at > ?4",
        )?
        .query_row(
            (
                new.target.organization.as_str(),
                new.target.component.as_str(),
                &idempotency.key,
                nanoseconds(new.accepted_at),
            ),
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?)),
        )
        .optional()?;
    let Some((fingerprint, id)) = known else {
        return Ok(None);
    };
    let deployment = deployments::one(session.connection(), &id)?
        .ok_or_else(|| Failure::conflict(format!("deployment {id} of the key does not exist")))?;
    if fingerprint == idempotency.fingerprint {
        Ok(Some(Accepted::replayed(deployment)))
    } else {
        Err(AcceptError::KeyReused(Box::new(deployment)).into())
    }
}

/// Stores the key of a new deployment, and removes a few keys that expired long ago.
pub(crate) fn remember(session: &Session<'_>, new: &NewDeployment) -> Result<(), Failure> {
    let Some(Idempotency {
        key,
        fingerprint,
        expires_at,
        ..
    }) = &new.idempotency
    else {
        return Ok(());
    };
    forget_expired(session, new.accepted_at)?;
    // A key that has expired can still be stored, so it is replaced.
    session.execute(
        "INSERT INTO idempotency (organization, component, key, fingerprint, deployment, expires_at)
         VALUES (:organization, :component, :key, :fingerprint, :deployment, :expires_at)
         ON CONFLICT (organization, component, key) DO UPDATE SET fingerprint = excluded.fingerprint,
             deployment = excluded.deployment, expires_at = excluded.expires_at",
        named_params! {
            ":organization": new.target.organization.as_str(),
            ":component": new.target.component.as_str(),
            ":key": key,
            ":fingerprint": fingerprint,
            ":deployment": new.id.as_str(),
            ":expires_at": nanoseconds(*expires_at),
        },
    )?;
    Ok(())
}

fn forget_expired(session: &Session<'_>, now: Timestamp) -> Result<(), Failure> {
    let over = now
        .checked_sub(Idempotency::SPARE)
        .unwrap_or(Timestamp::MIN);
    let mut statement = session.prepare(EXPIRED)?;
    let keys = statement.query_map((nanoseconds(over), TAKEN_AWAY), |row| row.try_into())?;
    for key in keys {
        let key: (String, String, String) = key?;
        session.execute(
            "DELETE FROM idempotency WHERE organization = ?1 AND component = ?2 AND key = ?3",
            key,
        )?;
    }
    Ok(())
}
