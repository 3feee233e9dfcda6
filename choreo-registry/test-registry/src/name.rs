//! The names of the distribution specification: repositories, tags and digests.
//!
//! The rules are those of
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests> and
//! <https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests>.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256, Sha512};

/// A repository name: path components of any depth.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct RepositoryName(String);

impl RepositoryName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = text.len() <= MAX_REPOSITORY;
        (fits && text.split('/').all(is_component)).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Tag(String);

impl Tag {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        let valid = text.len() <= MAX_TAG
            && bytes.next().is_some_and(word)
            && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-');
        valid.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A digest of one of the two registered algorithms.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Digest(String);

impl Digest {
    /// Returns the digest of content for which the client has not named one.
    pub(crate) fn of(content: &[u8]) -> Self {
        Self(format!("sha256:{}", hex(&Sha256::digest(content))))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (algorithm, encoded) = text.split_once(':')?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return None,
        };
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (encoded.len() == length && encoded.bytes().all(lower_hex)).then(|| Self(text.to_owned()))
    }

    /// Returns `true` if `content` has this digest.
    pub(crate) fn matches(&self, content: &[u8]) -> bool {
        match self.0.strip_prefix("sha512:") {
            Some(encoded) => encoded == hex(&Sha512::digest(content)),
            None => *self == Self::of(content),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A reference after `/manifests/`: a tag or a digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reference {
    Digest(Digest),
    Tag(Tag),
}

impl Reference {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Digest::parse(text)
            .map(Self::Digest)
            .or_else(|| Tag::parse(text).map(Self::Tag))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<u8>| byte.is_some_and(alphanumeric);
    ends(text.bytes().next())
        && ends(text.bytes().last())
        && text
            .split(|c: char| c.is_ascii() && alphanumeric(c as u8))
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        for good in [
            "a",
            "a/b/c/d/e",
            "a.b",
            "a_b",
            "a__b",
            "a---b",
            "0/1",
            "team/uploads",
        ] {
            assert!(RepositoryName::parse(good).is_some(), "{good} is valid");
        }
        for bad in [
            "", "A", "a//b", "/a", "a/", "a..b", "a___b", "a._b", "-a", "a-", "é", "a b",
        ] {
            assert!(RepositoryName::parse(bad).is_none(), "{bad} is invalid");
        }
        assert!(RepositoryName::parse(&"a".repeat(255)).is_some());
        assert!(RepositoryName::parse(&"a".repeat(256)).is_none());
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["latest", "v1.0", "_x", "A-B.c", &"t".repeat(128)] {
            assert!(Tag::parse(good).is_some(), "{good} is valid");
        }
        for bad in ["", ".a", "-a", "a:b", "a/b", "é", &"t".repeat(129)] {
            assert!(Tag::parse(bad).is_none(), "{bad} is invalid");
        }
    }

    #[test]
    fn digests_are_checked_with_their_own_algorithm() {
        // The digests of the empty input, as published with the algorithms.
        let sha256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let sha512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                      47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
        assert_eq!(Digest::of(b"").as_str(), sha256);
        for text in [sha256, sha512] {
            let digest = Digest::parse(text).unwrap();
            assert!(digest.matches(b""));
            assert!(!digest.matches(b"x"));
        }
        assert!(Digest::parse("sha256:E3B0").is_none());
        assert!(Digest::parse("md5:d41d8cd98f00b204e9800998ecf8427e").is_none());
    }

    proptest! {
        #[test]
        fn no_input_panics(text in ".*") {
            let _ = (RepositoryName::parse(&text), Reference::parse(&text));
        }
    }
}
