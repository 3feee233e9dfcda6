//! The tags of a repository.

use std::{fmt, time::Instant};

use choreo_registry::{
    ImageReference,
    reference::{RepositoryRef, Tag},
};
use http::StatusCode;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use tracing::Instrument as _;
use url::Url;

use crate::{ClientError, ErrorKind, RegistryClient, link, request::Resource, session::Answer};

/// The tags of a repository, in the order of the registry.
///
/// See [`RegistryClient::tags`] for an example.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TagList {
    tags: Vec<Tag>,
    cut: Option<String>,
}

impl TagList {
    /// Returns the tags.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Returns `true` if the list contains all tags. The client stops after 100 pages or 100,000 tags,
    /// and if a page cannot be read; see [`cut`](Self::cut).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.cut.is_none()
    }

    /// Returns the reason why the list is not complete; `None` if it is.
    #[must_use]
    pub fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    /// Converts the list to its tags.
    #[must_use]
    pub fn into_tags(self) -> Vec<Tag> {
        self.tags
    }
}

impl RegistryClient {
    /// Lists the tags of an image's repository. A tag or digest of the reference is ignored.
    ///
    /// Registries return pages
    /// ([OCI](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags)),
    /// each with one request. The next page is requested at the registry's own origin, because
    /// registries behind proxies often name an internal host. Strings that are not valid tags are
    /// skipped. If a later page cannot be read, the list contains the earlier ones and is not
    /// [complete](TagList::is_complete).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use choreo_registry_client::{RegistryClient, transport::ScriptedTransport};
    ///
    /// let list = "https://registry.example.com/v2/team/app/tags/list";
    /// let more = http::Response::builder()
    ///     .header("link", r#"</v2/team/app/tags/list?n=1000&last=1.1>; rel="next""#)
    ///     .body(r#"{"name": "team/app", "tags": ["1.0", "1.1"]}"#)?;
    /// let last = http::Response::new(r#"{"name": "team/app", "tags": ["latest"]}"#);
    /// let transport = ScriptedTransport::new()
    ///     .answer("GET https://registry.example.com/v2/", http::Response::new(""))
    ///     .answer(&format!("GET {list}?n=1000"), more)
    ///     .answer(&format!("GET {list}?n=1000&last=1.1"), last);
    /// let client = RegistryClient::new("registry.example.com".parse()?, None, Arc::new(transport));
    ///
    /// let list = client.tags(&"registry.example.com/team/app".parse()?).await?;
    /// assert!(list.is_complete());
    /// assert_eq!(list.tags()[2].as_str(), "latest");
    /// assert_eq!(list.into_tags().len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`ClientError`] of any kind if the first page cannot be read. [`ErrorKind::Denied`]
    /// does not imply that pulling is denied: Amazon ECR and Azure Container Registry have separate
    /// permissions.
    pub async fn tags(&self, image: &ImageReference) -> Result<TagList, ClientError> {
        let span = tracing::debug_span!("tags", registry = self.registry().as_str());
        let read = self.read_tags(image, self.deadline()).instrument(span);
        read.await
            .map_err(|error| error.about_a_list().about(image))
    }

    async fn read_tags(
        &self,
        image: &ImageReference,
        deadline: Instant,
    ) -> Result<TagList, ClientError> {
        self.check_registry(image)?;
        let repository = image.repository();
        let (mut page, mut answer) = self.first_page(repository, deadline).await?;
        let mut tags = self.tags_of(&answer)?;
        let mut pages: Vec<Url> = Vec::new();
        let cut = loop {
            if tags.len() > MAX_TAGS {
                tags.truncate(MAX_TAGS);
                break Some(TOO_MANY.to_owned());
            }
            let next = match next_page(repository, &page, &answer) {
                Ok(None) => break None,
                Ok(Some(next)) => next,
                Err(detail) => break Some(detail.to_owned()),
            };
            pages.push(page);
            if pages.contains(&next) {
                break Some("the registry's list of tags goes in circles".to_owned());
            }
            if pages.len() >= MAX_PAGES || tags.len() == MAX_TAGS {
                break Some(TOO_MANY.to_owned());
            }
            let resource = Resource::more_tags(repository, &next);
            let more = self.fetch(&resource, deadline).await;
            let more = more.and_then(|answer| Ok((self.tags_of(&answer)?, answer)));
            match more {
                Ok((mut more, further)) => {
                    tags.append(&mut more);
                    (page, answer) = (next, further);
                }
                Err(error) => break Some(error.message()),
            }
        };
        Ok(TagList { tags, cut })
    }

    /// Reads the first page, with the largest page size, or without one if that is rejected.
    async fn first_page(
        &self,
        repository: RepositoryRef<'_>,
        deadline: Instant,
    ) -> Result<(Url, Answer), ClientError> {
        let mut resource = Resource::tags(repository);
        let mut answer = self.session.get(&resource, deadline).await?;
        if REFUSES_SIZE.contains(&answer.response.status()) {
            resource = Resource::tags_of_any_number(repository);
            answer = self.session.get(&resource, deadline).await?;
        }
        if answer.response.status() != StatusCode::OK {
            return Err(self.session.failure(&answer));
        }
        Ok((self.page_url(&resource)?, answer))
    }

    fn tags_of(&self, answer: &Answer) -> Result<Vec<Tag>, ClientError> {
        let page: Page = serde_json::from_slice(answer.response.body())
            .map_err(|_| self.invalid(answer, "its list of tags cannot be read"))?;
        Ok(page.tags.map(|tags| tags.0).unwrap_or_default())
    }

    fn page_url(&self, resource: &Resource<'_>) -> Result<Url, ClientError> {
        let base = self.session.base()?;
        resource
            .url(base)
            .ok_or_else(|| self.session.error(ErrorKind::NotARegistry))
    }

    fn invalid(&self, answer: &Answer, detail: &str) -> ClientError {
        let error = self.session.error(ErrorKind::InvalidResponse);
        error.with_evidence(answer.evidence()).with_detail(detail)
    }
}

/// Returns the next page at the origin of this one; `None` if this is the last page.
///
/// If a link ends with the path of this repository's list, only its query counts: a proxy may have
/// changed the host and the start of the path.
fn next_page(
    repository: RepositoryRef<'_>,
    page: &Url,
    answer: &Answer,
) -> Result<Option<Url>, &'static str> {
    let Some(target) = link::next(answer.response.headers()) else {
        return Ok(None);
    };
    let next = page
        .join(target)
        .map_err(|_| "the registry's list of tags goes on at an unreadable address")?;
    let list = format!("/v2/{}/tags/list", repository.as_str());
    if matches!(next.scheme(), "http" | "https") && next.path().ends_with(&list) {
        let mut ours = page.clone();
        ours.set_path(&list);
        ours.set_query(next.query());
        return Ok(Some(ours));
    }
    if next.origin() == page.origin() {
        Ok(Some(next))
    } else {
        Err("the registry's list of tags goes on at another host")
    }
}

/// A page of the list. Some registries send `null` for an empty one.
#[derive(Deserialize)]
struct Page {
    tags: Option<PageTags>,
}

/// The valid tags of a page, at most one more than the limit. Invalid strings are not stored: 4 MiB of
/// empty ones would take 30 MiB.
struct PageTags(Vec<Tag>);

impl<'de> Deserialize<'de> for PageTags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PageVisitor)
    }
}

struct PageVisitor;

impl<'de> Visitor<'de> for PageVisitor {
    type Value = PageTags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut strings: A) -> Result<PageTags, A::Error> {
        let mut tags = Vec::new();
        while let Some(text) = strings.next_element::<String>()? {
            if tags.len() <= MAX_TAGS
                && let Ok(tag) = Tag::try_from(text)
            {
                tags.push(tag);
            }
        }
        Ok(PageTags(tags))
    }
}

const TOO_MANY: &str = "the list has more than 100 pages or 100,000 tags";
/// The statuses by which registries and gateways reject the page size.
const REFUSES_SIZE: [StatusCode; 4] = [
    StatusCode::BAD_REQUEST,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::RANGE_NOT_SATISFIABLE,
    StatusCode::UNPROCESSABLE_ENTITY,
];
const MAX_PAGES: usize = 100;
const MAX_TAGS: usize = 100_000;
