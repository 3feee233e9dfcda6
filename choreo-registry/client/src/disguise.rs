//! Answers that do not come from the registry itself: pages of a firewall, a proxy or a website, and
//! content that a proxy has compressed. They say nothing about the image or the login.

use std::borrow::Cow;

use bytes::Bytes;
use choreo_registry::quote::Quoted;
use http::{HeaderMap, header::CONTENT_ENCODING};

use crate::session::content_type;

/// The page that an answer carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Page {
    /// A line of text that [Cloudflare sends to
    /// programs](https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/)
    /// in place of its error page.
    Cloudflare,
    /// HTML: a sign-in, a firewall's refusal, a proxy's error.
    Web,
}

impl Page {
    /// Returns the page that a response contains. Frameworks announce HTML for empty bodies and JSON
    /// as well, so the body decides.
    pub(super) fn of(response: &http::Response<Bytes>) -> Option<Self> {
        let body = response.body().trim_ascii_start();
        if is_page(response.headers()) && body.starts_with(b"<") {
            return Some(Self::Web);
        }
        let number = body.strip_prefix(b"error code: ")?.trim_ascii_end();
        let is_number = number.len() == 4 && number.iter().all(u8::is_ascii_digit);
        is_number.then_some(Self::Cloudflare)
    }

    /// Returns the page with its article.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cloudflare => "an error page of Cloudflare",
            Self::Web => "a web page",
        }
    }
}

/// Returns `true` if the headers announce a web page.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    const HTML: &str = "text/html";
    content_type(headers)
        .and_then(|value| value.get(..HTML.len()))
        .is_some_and(|value| value.eq_ignore_ascii_case(HTML))
}

/// Returns `true` if the headers of a response without a body permit a [`Page`]: registries write errors
/// in JSON.
pub(super) fn may_hide_page(headers: &HeaderMap) -> bool {
    is_page(headers) || content_type(headers).is_some_and(|value| value.starts_with("text/plain"))
}

/// Returns the reason why the content does not come from the registry; `None` if it may.
pub(super) fn of(headers: &HeaderMap) -> Option<Cow<'static, str>> {
    if is_page(headers) {
        return Some("it answers with a web page".into());
    }
    let encoding = headers.get(CONTENT_ENCODING)?.to_str().ok()?.trim();
    // Amazon S3 keeps `aws-chunked`, the framing of an upload, as if it were an encoding.
    const PLAIN: [&str; 3] = ["", "identity", "aws-chunked"];
    let is_plain = PLAIN
        .iter()
        .any(|plain| encoding.eq_ignore_ascii_case(plain));
    (!is_plain).then(|| {
        let encoding = Quoted::new(encoding);
        format!("it compresses its answer in a way that was not asked for, {encoding}").into()
    })
}
