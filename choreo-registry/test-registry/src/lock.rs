//! Access to the state that connections share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic in another thread, because the data is consistent after each
/// statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
