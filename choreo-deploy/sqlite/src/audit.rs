//! The audit log. Each entry is written in the transaction of its action.

use jiff::Timestamp;
use rusqlite::named_params;

use crate::error::Failure;
use crate::row::nanoseconds;
use crate::writer::Session;

/// An entry of the audit log. It contains no secrets.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    at: Timestamp,
    action: &'static str,
    actor: Option<&'a str>,
    subject: String,
    detail: Option<String>,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(at: Timestamp, action: &'static str, subject: impl Into<String>) -> Self {
        Self {
            at,
            action,
            actor: None,
            subject: subject.into(),
            detail: None,
        }
    }

    pub(crate) fn by(self, actor: &'a str) -> Self {
        Self {
            actor: Some(actor),
            ..self
        }
    }

    pub(crate) fn with(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    pub(crate) fn write(self, session: &Session<'_>) -> Result<(), Failure> {
        session.execute(
            "INSERT INTO audit (at, action, actor, subject, detail)
             VALUES (:at, :action, :actor, :subject, :detail)",
            named_params! {
                ":at": nanoseconds(self.at),
                ":action": self.action,
                ":actor": self.actor,
                ":subject": self.subject,
                ":detail": self.detail,
            },
        )?;
        Ok(())
    }
}
