//! Answers that are not what a registry stores: pages of something in its place or in front of it, and
//! content that something on the way has compressed. What they hold says nothing about the image.

use std::borrow::Cow;

use choreo_registry::quote::Quoted;
use http::{HeaderMap, header::CONTENT_ENCODING};

use crate::session::content_type;

/// Whether the answer is a web page: a sign-in, a firewall's refusal, a proxy's error.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    const HTML: &str = "text/html";
    content_type(headers)
        .and_then(|value| value.get(..HTML.len()))
        .is_some_and(|value| value.eq_ignore_ascii_case(HTML))
}

/// Why the content of an answer is not that of the registry, in plain words; `None` when it may be.
pub(super) fn of(headers: &HeaderMap) -> Option<Cow<'static, str>> {
    if is_page(headers) {
        return Some(PAGE.into());
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

pub(super) const PAGE: &str = "it answers with a web page";
