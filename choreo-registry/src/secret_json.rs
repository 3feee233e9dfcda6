//! JSON that holds secrets: read into memory that is overwritten, and never echoed.
//!
//! The errors of `serde_json` quote the values they stumble over. Here the only thing that
//! leaves is a line and a column. Duplicate keys are kept for the caller to judge.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// A JSON value, as far as documents with credentials need it.
pub(crate) enum SecretJson {
    Object(Vec<(Zeroizing<String>, Self)>),
    String(Zeroizing<String>),
    /// Something else, of no interest.
    Other,
}

/// Where a text ceases to be JSON; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl SecretJson {
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        serde_json::from_str(text).map_err(|error| SyntaxError {
            line: error.line(),
            column: error.column(),
        })
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The first field of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else {
            return None;
        };
        fields
            .iter()
            .find(|(key, _)| key.as_str() == name)
            .map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for SecretJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = SecretJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<SecretJson, E> {
        Ok(SecretJson::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<SecretJson, E> {
        Ok(SecretJson::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<SecretJson, E> {
        Ok(SecretJson::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<SecretJson, E> {
        Ok(SecretJson::Other)
    }

    fn visit_unit<E>(self) -> Result<SecretJson, E> {
        Ok(SecretJson::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<SecretJson, E> {
        Ok(SecretJson::String(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<SecretJson, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(SecretJson::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<SecretJson, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            fields.push((Zeroizing::new(key), entries.next_value()?));
        }
        Ok(SecretJson::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_core::de::value::{BytesDeserializer, Error};

    use super::*;

    #[test]
    fn only_what_json_has_is_read() {
        let error = SecretJson::deserialize(BytesDeserializer::<Error>::new(b"hunter2")).err();
        let text = error.map(|error| error.to_string());
        assert_eq!(
            text.as_deref(),
            Some("invalid type: byte array, expected a JSON value")
        );
    }
}
