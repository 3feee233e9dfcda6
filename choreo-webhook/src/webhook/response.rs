use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

/// The body of a response: a short JSON text in one frame.
#[derive(Clone, Debug, Default)]
pub struct ResponseBody(Bytes);

impl ResponseBody {
    /// Returns the rest of the body that has not been polled.
    ///
    /// ```
    /// use choreo_webhook::problem::ProblemType;
    ///
    /// let response = ProblemType::NotFound.response("path does not exist");
    /// assert!(response.body().as_bytes().starts_with(br#"{"type":"urn:choreo:problem:not-found""#));
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn json(
        status: StatusCode,
        content_type: &'static str,
        document: &impl Serialize,
    ) -> Response<Self> {
        let text = serde_json::to_vec(document).expect("texts and numbers become JSON");
        let mut response = Response::new(Self(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers choose the framing of a response from these.
    #[test]
    fn length_and_end_are_known() {
        let mut body = ResponseBody(Bytes::from_static(b"{}"));
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(2));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let frame = Pin::new(&mut body).poll_frame(&mut context);
        let Poll::Ready(Some(Ok(frame))) = frame else {
            panic!("{frame:?}");
        };
        assert_eq!(frame.into_data().unwrap(), "{}");
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}
