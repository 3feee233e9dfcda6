//! Responses with unrequested compression: some proxies send them, and nodes read them.

use std::io::{ErrorKind, Read as _};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::CONTENT_ENCODING;

use crate::transport::{TransportError, TransportErrorKind};

/// Decompresses a response with `Content-Encoding: gzip`, and returns others unchanged.
///
/// # Errors
///
/// Returns an error if the content exceeds the limit or is not gzip. A missing end is an error of the
/// connection, so that the request is retried.
pub(super) fn decoded(
    mut response: http::Response<Bytes>,
    limit: usize,
) -> Result<http::Response<Bytes>, TransportError> {
    let encoding = response.headers().get(CONTENT_ENCODING);
    let is_gzip = encoding.is_some_and(|value| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip")
    });
    // A response to HEAD has the header, but no content.
    if !is_gzip || response.body().is_empty() {
        return Ok(response);
    }
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    MultiGzDecoder::new(&response.body()[..])
        .take(most)
        .read_to_end(&mut content)
        .map_err(|error| {
            let kind = match error.kind() {
                ErrorKind::UnexpectedEof if begins_as_gzip(response.body()) => {
                    TransportErrorKind::Connect
                }
                _ => TransportErrorKind::Protocol,
            };
            TransportError::new(kind).with_source(error)
        })?;
    if content.len() > limit {
        return Err(TransportError::new(TransportErrorKind::TooLarge));
    }
    *response.body_mut() = content.into();
    response.headers_mut().remove(CONTENT_ENCODING);
    Ok(response)
}

/// Returns whether the body may be the beginning of a gzip stream. Some proxies declare gzip and
/// send plain text.
fn begins_as_gzip(body: &[u8]) -> bool {
    const MAGIC: [u8; 2] = [0x1f, 0x8b];
    std::iter::zip(body, MAGIC).all(|(byte, magic)| *byte == magic)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(encoding: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, TransportErrorKind> {
        let response = http::Response::builder()
            .header(CONTENT_ENCODING, encoding)
            .body(Bytes::copy_from_slice(body))
            .unwrap();
        let decoded = decoded(response, limit).map_err(|error| error.kind())?;
        Ok(decoded.body().to_vec())
    }

    #[test]
    fn content_is_read_as_it_was_before_it_was_compressed() {
        let content = br#"{"schemaVersion":2}"#;
        for encoding in ["gzip", "GZIP", " x-gzip"] {
            assert_eq!(read(encoding, &gzip(content), 100), Ok(content.to_vec()));
        }
        let twice = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read("gzip", &twice, 100), Ok(b"one two".to_vec()));
        // Other encodings pass unchanged: the caller that knows the digest detects a mismatch.
        for encoding in ["identity", "br", ""] {
            assert_eq!(read(encoding, content, 100), Ok(content.to_vec()));
        }
        assert_eq!(read("gzip", b"", 100), Ok(Vec::new()), "an answer to HEAD");
    }

    #[test]
    fn a_small_answer_with_large_content_is_too_large() {
        let bomb = gzip(&vec![b' '; 10_000_000]);
        assert!(bomb.len() < 20_000);
        let limit = 4 * 1024 * 1024;
        assert_eq!(
            read("gzip", &bomb, limit),
            Err(TransportErrorKind::TooLarge)
        );
        let exact = gzip(&[b' '; 1000]);
        assert_eq!(read("gzip", &exact, 1000).unwrap().len(), 1000);
        assert_eq!(read("gzip", &exact, 999), Err(TransportErrorKind::TooLarge));
    }

    #[test]
    fn what_only_claims_to_be_gzip_breaks_the_protocol() {
        let mut damaged = gzip(b"content");
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        for body in [&b"{}"[..], br#"{"schemaVersion":2}"#, &damaged] {
            assert_eq!(read("gzip", body, 100), Err(TransportErrorKind::Protocol));
        }
    }

    #[test]
    fn what_ends_too_early_is_a_connection_that_broke() {
        let whole = gzip(b"content");
        for kept in 1..whole.len() {
            let read = read("gzip", &whole[..kept], 100);
            assert_eq!(read, Err(TransportErrorKind::Connect), "{kept}");
        }
    }
}
