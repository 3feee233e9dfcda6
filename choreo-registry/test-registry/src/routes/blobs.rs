//! Blobs, which are pulled completely or in part.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs>

use http::header::RANGE;
use http::{Method, Response, StatusCode};

use super::{Answer, Exchange, name_unknown, set, status};
use crate::body::Body;
use crate::error::{ApiError, Code};
use crate::name::{Digest, RepositoryName};

pub(super) fn get(exchange: &Exchange<'_>, name: &RepositoryName, digest: &Digest) -> Answer {
    let store = exchange.store();
    let repository = store.repository(name).ok_or_else(|| name_unknown(name))?;
    let content = repository.blobs.get(digest).ok_or_else(unknown)?;
    let range = exchange
        .headers
        .get(RANGE)
        .and_then(|value| value.to_str().ok());
    let range = range.filter(|_| exchange.method == Method::GET);

    let mut response = match range.map(|range| Part::of(range, content.len())) {
        None | Some(Part::All) => Response::new(Body::from(content.clone())),
        Some(Part::None) => {
            let mut response = status(StatusCode::RANGE_NOT_SATISFIABLE);
            set(
                &mut response,
                "content-range",
                &format!("bytes */{}", content.len()),
            );
            response
        }
        Some(Part::Some(first, last)) => {
            let mut response = Response::new(Body::from(content.slice(first..=last)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let value = format!("bytes {first}-{last}/{}", content.len());
            set(&mut response, "content-range", &value);
            response
        }
    };
    set(&mut response, "accept-ranges", "bytes");
    set(&mut response, "content-type", "application/octet-stream");
    set(&mut response, "docker-content-digest", digest.as_str());
    Ok(response)
}

pub(super) fn delete(exchange: &Exchange<'_>, name: &RepositoryName, digest: &Digest) -> Answer {
    let mut store = exchange.store();
    let repository = store.known_mut(name).ok_or_else(|| name_unknown(name))?;
    let deleted = repository.blobs.remove(digest);
    deleted
        .map(|_| status(StatusCode::ACCEPTED))
        .ok_or_else(unknown)
}

/// The part of the content that a `Range` header requests.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#name-range-requests>
#[derive(Debug, Eq, PartialEq)]
enum Part {
    /// All of it: the header requests several ranges, or must be ignored.
    All,
    /// No part, because the range is beyond the end.
    None,
    /// The bytes from the first through the last.
    Some(usize, usize),
}

impl Part {
    fn of(range: &str, length: usize) -> Self {
        let Some((first, last)) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-'))
        else {
            return Self::All;
        };
        let end = length.saturating_sub(1);
        let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last => (first, last.min(end)),
            // HTTP allows both; distribution refuses it.
            (Ok(_), Ok(_)) => return Self::None,
            (Ok(first), Err(_)) if last.is_empty() => (first, end),
            (Err(_), Ok(0)) if first.is_empty() => return Self::None,
            (Err(_), Ok(count)) if first.is_empty() => (length.saturating_sub(count), end),
            _ => return Self::All,
        };
        if first < length {
            Self::Some(first, last)
        } else {
            Self::None
        }
    }
}

fn unknown() -> ApiError {
    ApiError::new(Code::BlobUnknown, "blob unknown to the repository")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (range, part) in [
            ("bytes=0-0", Part::Some(0, 0)),
            ("bytes=2-4", Part::Some(2, 4)),
            ("bytes=2-99", Part::Some(2, 9)),
            ("bytes=9-", Part::Some(9, 9)),
            ("bytes=-3", Part::Some(7, 9)),
            ("bytes=-99", Part::Some(0, 9)),
            ("bytes=-0", Part::None),
            ("bytes=10-", Part::None),
            ("bytes=4-2", Part::None),
            ("bytes=0-1,3-4", Part::All),
            ("bytes=a-b", Part::All),
            ("lines=0-1", Part::All),
        ] {
            assert_eq!(Part::of(range, 10), part, "{range}");
        }
        assert_eq!(Part::of("bytes=0-", 0), Part::None);
    }
}
