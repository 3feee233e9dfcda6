//! Timestamps as the API server writes them.

use jiff::Timestamp;

/// Parses a time in the format of the API server.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
