//! Workloads, each stored once: the deployments of a component and their releases mostly run the
//! same one.

use choreo_deploy::workload::Workload;
use rusqlite::OptionalExtension as _;
use sha2::{Digest as _, Sha256};

use crate::error::Failure;
use crate::row::json;
use crate::writer::Session;

/// The document of the workload that a row refers to, as a column.
pub(crate) const DOCUMENT: &str =
    "(SELECT document FROM workloads WHERE id = workload) AS workload_document";

/// The row of a workload, which is made when there is none.
pub(crate) fn store(session: &Session<'_>, workload: &Workload) -> Result<i64, Failure> {
    let document = json(workload)?;
    let digest = Sha256::digest(&document);
    let known = session
        .prepare("SELECT id FROM workloads WHERE digest = ?1")?
        .query_row([digest.as_slice()], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    Ok(session
        .prepare("INSERT INTO workloads (digest, document) VALUES (?1, ?2) RETURNING id")?
        .query_row((digest.as_slice(), &document), |row| row.get(0))?)
}
