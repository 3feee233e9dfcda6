//! The bodies of requests and responses.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::pace::Answering;

/// The body of a request that a [`Server`](super::Server) received. It fails with an error after
/// [`ServerLimits::body`](super::ServerLimits::body).
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    until: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, until: Instant) -> Self {
        Self {
            incoming,
            until,
            timer: None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Checked first: a client that trickles bytes always has a frame ready.
        if Instant::now() >= self.until {
            return Poll::Ready(Some(Err(BodyError { source: None })));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            let failed = |source| BodyError {
                source: Some(source),
            };
            return Poll::Ready(frame.map(|frame| frame.map_err(failed)));
        }
        let until = self.until;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        timer
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(BodyError { source: None })))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The error of a request's body that did not arrive completely.
#[derive(Debug)]
pub struct BodyError {
    source: Option<hyper::Error>,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Some(_) => "body is incomplete",
            None => "body did not arrive in time",
        })
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_ref()?;
        Some(source)
    }
}

/// The body of a response. The connection is busy until it is sent or dropped.
#[derive(Debug)]
pub(super) struct AnswerBody<B> {
    content: Content<B>,
    _answering: Answering,
}

#[derive(Debug)]
pub(super) enum Content<B> {
    Text(&'static str),
    Service(Pin<Box<B>>),
}

impl<B> AnswerBody<B> {
    pub(super) fn new(content: Content<B>, answering: Answering) -> Self {
        Self {
            content,
            _answering: answering,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.content {
            Content::Text(text) => {
                let text = Bytes::from_static(std::mem::take(text).as_bytes());
                Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
            }
            Content::Service(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) => text.is_empty(),
            Content::Service(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.len() as u64),
            Content::Service(body) => body.size_hint(),
        }
    }
}
