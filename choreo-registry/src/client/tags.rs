//! A repository's tags.

use std::{fmt, time::Instant};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use tracing::Instrument as _;
use url::Url;

use super::{ClientError, ErrorKind, RegistryClient, link, request::Resource, session::Answer};
use crate::{ImageReference, reference::Tag};

/// The tags of a repository, in the order of the registry.
///
/// [`RegistryClient::tags`] has an example.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TagList {
    tags: Vec<Tag>,
    is_complete: bool,
}

impl TagList {
    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Whether these are all: the client stops after 100 pages or 100,000 tags.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The tags, to keep.
    #[must_use]
    pub fn into_tags(self) -> Vec<Tag> {
        self.tags
    }
}

impl RegistryClient {
    /// Lists the tags of an image's repository; a tag or digest of the reference does not matter.
    ///
    /// Registries give them page by page
    /// ([OCI](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags)),
    /// one request each. A page that a registry names is asked for at the registry's own origin
    /// only. What is no tag by the grammar is left out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use choreo_registry::client::{RegistryClient, ScriptedTransport};
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
    /// [`ClientError`] of any kind; [`ErrorKind::InvalidResponse`] when a page cannot be read, leads
    /// to another origin or back to one that was read.
    pub async fn tags(&self, image: &ImageReference) -> Result<TagList, ClientError> {
        let span = tracing::debug_span!("tags", registry = self.registry().as_str());
        let read = self.read_tags(image, self.deadline()).instrument(span);
        read.await.map_err(|error| error.about(image))
    }

    async fn read_tags(
        &self,
        image: &ImageReference,
        deadline: Instant,
    ) -> Result<TagList, ClientError> {
        self.check_registry(image)?;
        let repository = image.repository();
        let mut resource = Resource::tags(repository);
        let mut pages: Vec<Url> = Vec::new();
        let mut tags = Vec::new();
        loop {
            let page = self.page_url(&resource)?;
            let answer = self.fetch(&resource, deadline).await?;
            tags.append(&mut self.tags_of(&answer)?);
            if tags.len() > MAX_TAGS {
                tags.truncate(MAX_TAGS);
                return Ok(TagList {
                    tags,
                    is_complete: false,
                });
            }
            let Some(next) = self.next_page(&page, &answer)? else {
                return Ok(TagList {
                    tags,
                    is_complete: true,
                });
            };
            pages.push(page);
            if pages.contains(&next) {
                return Err(self.invalid(&answer, "its list of tags goes in circles"));
            }
            if pages.len() >= MAX_PAGES || tags.len() == MAX_TAGS {
                return Ok(TagList {
                    tags,
                    is_complete: false,
                });
            }
            resource = Resource::more_tags(repository, &next);
        }
    }

    fn tags_of(&self, answer: &Answer) -> Result<Vec<Tag>, ClientError> {
        let page: Page = serde_json::from_slice(answer.response.body())
            .map_err(|_| self.invalid(answer, "its list of tags cannot be read"))?;
        Ok(page.tags.map(|tags| tags.0).unwrap_or_default())
    }

    /// The next page, if there is one, at the origin of this one.
    fn next_page(&self, page: &Url, answer: &Answer) -> Result<Option<Url>, ClientError> {
        let Some(target) = link::next(answer.response.headers()) else {
            return Ok(None);
        };
        match page.join(target) {
            Ok(next) if next.origin() == page.origin() => Ok(Some(next)),
            Ok(_) => Err(self.invalid(answer, "its list of tags goes on at another host")),
            Err(_) => {
                Err(self.invalid(answer, "its list of tags goes on at an unreadable address"))
            }
        }
    }

    fn page_url(&self, resource: &Resource<'_>) -> Result<Url, ClientError> {
        let base = self.session.base()?;
        resource
            .url(base)
            .ok_or_else(|| self.session.error(ErrorKind::NotARegistry))
    }

    fn invalid(&self, answer: &Answer, detail: &str) -> ClientError {
        let error = self.session.error(ErrorKind::InvalidResponse);
        error
            .with_evidence(&answer.host(), answer.response.status())
            .with_detail(detail)
    }
}

/// A page of the list. Some registries send `null` for an empty one.
#[derive(Deserialize)]
struct Page {
    tags: Option<PageTags>,
}

/// The tags among the strings of a page, at most one more than are listed: of 4 MiB of empty strings
/// nothing is held.
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

const MAX_PAGES: usize = 100;
const MAX_TAGS: usize = 100_000;
