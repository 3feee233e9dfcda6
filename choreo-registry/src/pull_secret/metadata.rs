//! The metadata of a Secret, validated by the rules of the API server.

use std::collections::BTreeMap;
use std::fmt;

use crate::quote::Quoted;

/// Name, namespace, labels and annotations of a Kubernetes Secret.
///
/// The rules are those of Kubernetes:
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/> and
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>.
///
/// ```
/// use choreo_registry::pull_secret::SecretMetadata;
///
/// let metadata = SecretMetadata::new("team-images")?
///     .with_namespace("apps")?
///     .with_label("app.kubernetes.io/managed-by", "choreo")?
///     .with_annotation("example.com/owner", "the team of the images")?;
/// assert_eq!(metadata.name(), "team-images");
/// assert_eq!(metadata.namespace(), Some("apps"));
/// assert_eq!(metadata.labels()["app.kubernetes.io/managed-by"], "choreo");
/// assert_eq!(metadata.annotations()["example.com/owner"], "the team of the images");
/// assert!(SecretMetadata::new("Team Images").is_err());
/// # Ok::<(), choreo_registry::pull_secret::SecretMetadataError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretMetadata {
    name: String,
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl SecretMetadata {
    /// Creates metadata that contains only a name.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not a DNS subdomain: at most 253 lower-case letters, digits,
    /// `-` and `.`, with a letter or digit at both ends of each part.
    pub fn new(name: impl Into<String>) -> Result<Self, SecretMetadataError> {
        let name = checked(Part::Name, name.into(), is_subdomain)?;
        Ok(Self {
            name,
            namespace: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        })
    }

    /// Sets the namespace; without one, the client's default applies.
    ///
    /// # Errors
    ///
    /// Returns an error if the namespace is not a DNS label: at most 63 lower-case letters, digits
    /// and `-`, with a letter or digit at both ends.
    pub fn with_namespace(
        mut self,
        namespace: impl Into<String>,
    ) -> Result<Self, SecretMetadataError> {
        self.namespace = Some(checked(Part::Namespace, namespace.into(), is_label)?);
        Ok(self)
    }

    /// Adds or replaces a label.
    ///
    /// # Errors
    ///
    /// Returns an error if the key or the value break Kubernetes' rules for labels.
    pub fn with_label(
        mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, SecretMetadataError> {
        let key = checked(Part::LabelKey, key.into(), is_qualified)?;
        let value = checked(Part::LabelValue, value.into(), |v| {
            v.is_empty() || is_word(v)
        })?;
        self.labels.insert(key, value);
        Ok(self)
    }

    /// Adds or replaces an annotation. All users who may read metadata see it.
    ///
    /// # Errors
    ///
    /// Returns an error if the key breaks Kubernetes' rules for annotations, or if all annotations
    /// together exceed 256 KiB.
    pub fn with_annotation(
        mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, SecretMetadataError> {
        // The API server converts the key to lower case before it checks it, so upper case is
        // valid.
        let key = checked(Part::AnnotationKey, key.into(), |k| {
            is_qualified(&k.to_ascii_lowercase())
        })?;
        self.annotations.insert(key.clone(), value.into());
        let pairs = self.annotations.iter();
        let len: usize = pairs.map(|(key, value)| key.len() + value.len()).sum();
        checked(Part::Annotations, key, |_| len <= ANNOTATIONS_MAX)?;
        Ok(self)
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the namespace, if one is set.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Returns the labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Returns the annotations.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// Returns the approximate number of bytes of all strings and of the separators around them.
    pub(super) fn len(&self) -> usize {
        let pairs = self.labels.iter().chain(&self.annotations);
        let pairs: usize = pairs.map(|(key, value)| key.len() + value.len() + 8).sum();
        self.name.len() + self.namespace.as_ref().map_or(0, String::len) + pairs
    }
}

/// Why a string is not valid in a Secret's metadata.
///
/// ```
/// use choreo_registry::pull_secret::SecretMetadata;
///
/// assert_eq!(
///     SecretMetadata::new("Team").unwrap_err().to_string(),
///     "invalid name \"Team\" of a Secret: write at most 253 lower-case letters, digits, '-' and \
///      '.', with a letter or digit at both ends of each part",
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretMetadataError {
    part: Part,
    input: String,
}

impl fmt::Display for SecretMetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (part, rule) = match self.part {
            Part::Annotations => {
                return write!(
                    f,
                    "annotations of a Secret are larger than 256 KiB with {}: shorten it or leave \
                     it out",
                    Quoted::new(&self.input)
                );
            }
            Part::AnnotationKey => ("annotation key", KEY_RULE),
            Part::LabelKey => ("label key", KEY_RULE),
            Part::LabelValue => (
                "label value",
                "write at most 63 letters, digits, '-', '_' and '.', with a letter or digit at \
                 both ends",
            ),
            Part::Name => (
                "name",
                "write at most 253 lower-case letters, digits, '-' and '.', with a letter or \
                 digit at both ends of each part",
            ),
            Part::Namespace => (
                "namespace",
                "write at most 63 lower-case letters, digits and '-', with a letter or digit at \
                 both ends",
            ),
        };
        write!(
            f,
            "invalid {part} {} of a Secret: {rule}",
            Quoted::new(&self.input)
        )
    }
}

impl std::error::Error for SecretMetadataError {}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Annotations,
    AnnotationKey,
    LabelKey,
    LabelValue,
    Name,
    Namespace,
}

fn checked(
    part: Part,
    input: String,
    rule: impl Fn(&str) -> bool,
) -> Result<String, SecretMetadataError> {
    if rule(&input) {
        Ok(input)
    } else {
        Err(SecretMetadataError { part, input })
    }
}

fn is_label(text: &str) -> bool {
    is_word(text)
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.ends_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        })
}

/// Returns `true` for an optional DNS prefix and a name.
fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        None => is_word(key),
        Some((prefix, name)) => is_subdomain(prefix) && is_word(name),
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>
const ANNOTATIONS_MAX: usize = 256 * 1024;

const KEY_RULE: &str = "write at most 63 letters, digits, '-', '_' and '.', with a letter or digit \
                        at both ends, after a DNS name and '/' if need be";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_macros::assert_texts;

    #[test]
    fn each_part_has_its_text() {
        let of = |part| SecretMetadataError {
            part,
            input: "é".to_owned(),
        };
        assert_texts! { SecretMetadataError:
            SecretMetadataError { part: Part::Annotations, .. } = of(Part::Annotations) =>
                "annotations of a Secret are larger than 256 KiB with \"é\": shorten it or leave it \
                 out";
            SecretMetadataError { part: Part::AnnotationKey, .. } = of(Part::AnnotationKey) =>
                "invalid annotation key \"é\" of a Secret: write at most 63 letters, digits, '-', \
                 '_' and '.', with a letter or digit at both ends, after a DNS name and '/' if need \
                 be";
            SecretMetadataError { part: Part::LabelKey, .. } = of(Part::LabelKey) =>
                "invalid label key \"é\" of a Secret: write at most 63 letters, digits, '-', '_' \
                 and '.', with a letter or digit at both ends, after a DNS name and '/' if need be";
            SecretMetadataError { part: Part::LabelValue, .. } = of(Part::LabelValue) =>
                "invalid label value \"é\" of a Secret: write at most 63 letters, digits, '-', '_' \
                 and '.', with a letter or digit at both ends";
            SecretMetadataError { part: Part::Name, .. } = of(Part::Name) =>
                "invalid name \"é\" of a Secret: write at most 253 lower-case letters, digits, '-' \
                 and '.', with a letter or digit at both ends of each part";
            SecretMetadataError { part: Part::Namespace, .. } = of(Part::Namespace) =>
                "invalid namespace \"é\" of a Secret: write at most 63 lower-case letters, digits \
                 and '-', with a letter or digit at both ends";
        }
    }
}
