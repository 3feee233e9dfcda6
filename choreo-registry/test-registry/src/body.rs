//! The body of a response, and how it ends.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// A body that is sent at once and then completes, breaks off, or never ends.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Bytes,
    end: End,
    sized: bool,
}

/// The end of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The body is complete.
    Complete,
    /// The connection closes.
    Cut,
    /// Nothing more is sent, and the connection stays open.
    Stalled,
    /// The time between the last bytes and the cut, so that the bytes are written first.
    Flushing,
}

impl Body {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sends at most `count` bytes, and then ends with `end`.
    pub(crate) fn break_after(mut self, count: usize, end: End) -> Self {
        self.bytes.truncate(count);
        self.end = end;
        self
    }

    /// Hides the length, so that the body is sent chunked.
    pub(crate) fn chunked(mut self) -> Self {
        self.sized = false;
        self
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            end: End::Complete,
            sized: true,
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.end {
            End::Complete => Poll::Ready(None),
            End::Cut => {
                self.end = End::Flushing;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Stalled => Poll::Pending,
            End::Flushing => Poll::Ready(Some(Err(Broken))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sized && self.end == End::Complete && self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized && self.end == End::Complete {
            SizeHint::with_exact(self.bytes.len() as u64)
        } else {
            SizeHint::default()
        }
    }
}

/// The error of a body that breaks off because of a fault.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is cut short by a fault")
    }
}

impl std::error::Error for Broken {}
