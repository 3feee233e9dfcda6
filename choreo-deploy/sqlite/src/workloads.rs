//! The table of workloads. Each workload is stored once, because the deployments of a component and
//! their releases mostly have the same one.

use choreo_deploy::workload::Workload;
use rusqlite::OptionalExtension as _;
use sha2::{Digest as _, Sha256};

use crate::error::Failure;
use crate::row::json;
use crate::writer::Session;

/// The column with the document of the workload that a row refers to.
pub(crate) const DOCUMENT: &str =
    "(SELECT document FROM workloads WHERE id = workload) AS workload_document";

/// A serialized workload.
#[derive(Debug)]
pub(crate) struct Written {
    document: String,
    /// The SHA-256 digest of the document.
    digest: [u8; 32],
}

impl Written {
    /// Serializes a workload. This happens before the writer's thread, because every caller waits
    /// for it.
    pub(crate) fn of(workload: &Workload) -> Result<Self, Failure> {
        let document = json(workload)?;
        let digest = Sha256::digest(&document).into();
        Ok(Self { document, digest })
    }

    /// Returns the id of the workload's row, and inserts the row if it does not exist.
    pub(crate) fn store(&self, session: &Session<'_>) -> Result<i64, Failure> {
        let known = session
            .prepare("SELECT id FROM workloads WHERE digest = ?1")?
            .query_row([&self.digest], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            return Ok(id);
        }
        Ok(session
            .prepare("INSERT INTO workloads (digest, document) VALUES (?1, ?2) RETURNING id")?
            .query_row((&self.digest, &self.document), |row| row.get(0))?)
    }
}
