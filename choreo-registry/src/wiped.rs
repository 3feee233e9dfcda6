//! Memory that is overwritten before it is freed, all at once rather than byte by byte: a value
//! with a token of some thousand bytes is dropped in a hundred nanoseconds.

use zeroize::Zeroize as _;

/// Bytes that are overwritten on drop.
pub(crate) struct Wiped(Vec<u8>);

impl Wiped {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Converts the same memory to text, if it is UTF-8.
    pub(crate) fn into_text(mut self) -> Option<WipedText> {
        match String::from_utf8(std::mem::take(&mut self.0)) {
            Ok(text) => Some(WipedText(text)),
            Err(error) => {
                self.0 = error.into_bytes();
                None
            }
        }
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Text that is overwritten on drop.
pub(crate) struct WipedText(String);

impl WipedText {
    /// Takes ownership of a text, which must not have been reallocated while it grew.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn clone_secret(&self) -> Self {
        Self(self.0.clone())
    }

    /// Removes the NULs at both ends of the text after the first `start` bytes; returns `true` if
    /// there were any.
    pub(crate) fn trim_nuls(&mut self, start: usize) -> bool {
        let rest = &self.0[start..];
        if !rest.starts_with('\0') && !rest.ends_with('\0') {
            return false;
        }
        let end = rest.trim_end_matches('\0').len() + start;
        self.0.truncate(end);
        let leading = end - start - self.0[start..].trim_start_matches('\0').len();
        self.0.drain(start..start + leading);
        true
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Appends within the capacity of the text: reallocation would leave a copy behind.
    pub(crate) fn push_str(&mut self, part: &str) {
        debug_assert!(self.0.len() + part.len() <= self.0.capacity());
        self.0.push_str(part);
    }
}

impl Drop for WipedText {
    fn drop(&mut self) {
        wipe(&mut std::mem::take(&mut self.0).into_bytes());
    }
}

/// Clears the bytes first: all of the memory is then spare, and is overwritten in one step.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.spare_capacity_mut().zeroize();
}
