//! The paginated list of tags.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags>

use http::Response;
use serde_json::json;

use super::{Answer, Exchange, name_unknown, set};
use crate::body::Body;
use crate::error::{ApiError, Code};
use crate::name::{RepositoryName, Tag};

pub(super) fn list(exchange: &Exchange<'_>, name: &RepositoryName) -> Answer {
    let limit = match exchange.query("n") {
        None => usize::MAX,
        Some(text) => text.parse().map_err(|_| {
            ApiError::new(Code::PaginationNumberInvalid, "n is not a number of tags")
        })?,
    };
    let last = exchange.query("last").unwrap_or_default();
    let store = exchange.store();
    let repository = store.repository(name).ok_or_else(|| name_unknown(name))?;

    let after = repository
        .tags
        .keys()
        .map(Tag::as_str)
        .filter(|tag| *tag > last.as_str());
    let mut tags: Vec<&str> = after.take(limit.saturating_add(1)).collect();
    let more = tags.len() > limit;
    tags.truncate(limit);
    let page = json!({ "name": name.as_str(), "tags": tags });
    let mut response = Response::new(Body::from(page.to_string()));
    set(&mut response, "content-type", "application/json");
    if let (true, Some(last)) = (more, tags.last()) {
        let link = format!(
            "</v2/{}/tags/list?last={last}&n={limit}>; rel=\"next\"",
            name.as_str()
        );
        set(&mut response, "link", &link);
    }
    Ok(response)
}
