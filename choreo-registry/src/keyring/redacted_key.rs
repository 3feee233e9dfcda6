//! Displays keys without secrets.

use std::borrow::Cow;
use std::fmt;

use crate::quote::Quoted;

/// A key in quotes, without the text before its `@`, which may contain a password.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quoted::new(&without_user(self.0)).fmt(f)
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Replaces the text before the last `@`, except the scheme: a password may contain a slash.
fn without_user(key: &str) -> Cow<'_, str> {
    let Some((user, rest)) = key.rsplit_once('@') else {
        return Cow::Borrowed(key);
    };
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| user.starts_with(scheme))
        .unwrap_or_default();
    Cow::Owned(format!("{scheme}…@{rest}"))
}
