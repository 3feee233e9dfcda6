//! JSON that contains secrets: the fields of an object, borrowed from the document.
//!
//! Names and values stay encoded until a caller needs them, so that no buffer of a general JSON
//! library ever contains a decoded secret: such buffers are not overwritten. Errors contain only a
//! position, never a part of the document. Duplicate names are kept for the caller to decide.

use std::collections::HashSet;
use std::fmt;

use serde_core::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::wiped::WipedText;

/// The names and values of one object, in the order of the document.
pub(crate) struct Fields<'d>(Vec<(Text<'d>, &'d RawValue)>);

/// Why a text is not a JSON object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoObject {
    /// It is JSON, but of this type.
    Type(&'static str),
    /// It stops being JSON at this position; both count from 1.
    Syntax { line: usize, column: usize },
}

impl<'d> Fields<'d> {
    /// Parses a whole document.
    pub(crate) fn parse(document: &'d str) -> Result<Self, NoObject> {
        match serde_json::from_str(document) {
            Ok(fields) => Ok(fields),
            Err(error) => match serde_json::from_str::<&RawValue>(document) {
                Ok(other) if !other.get().starts_with('{') => Err(NoObject::Type(type_name(other))),
                _ => Err(NoObject::Syntax {
                    line: error.line(),
                    column: error.column(),
                }),
            },
        }
    }

    /// Parses a value of another object.
    pub(crate) fn of(value: &'d RawValue) -> Result<Self, NoObject> {
        Self::parse(value.get())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'d RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'d RawValue> {
        self.iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }

    /// Keeps the fields whose values satisfy `wanted`.
    pub(crate) fn into_filtered(mut self, wanted: impl Fn(&RawValue) -> bool) -> Self {
        self.0.retain(|(_, value)| wanted(value));
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a duplicate name. Linear, because a document may contain a hundred thousand names.
    pub(crate) fn duplicate(&self) -> Option<&str> {
        let names = || self.iter().map(|(name, _)| name);
        if self.0.len() <= FEW {
            return names()
                .enumerate()
                .find(|(index, name)| names().take(*index).any(|earlier| earlier == *name))
                .map(|(_, name)| name);
        }
        let mut seen = HashSet::with_capacity(self.0.len());
        names().find(|name| !seen.insert(*name))
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = entries.next_key::<&RawValue>()? {
            let name = Text::of(name).map_err(A::Error::custom)?;
            // The parser has already rejected names that are not strings.
            let name = name.unwrap_or(Text::Borrowed(""));
            fields.push((name, entries.next_value()?));
        }
        Ok(Fields(fields))
    }
}

/// Returns the type of a value, as messages name it.
pub(crate) fn type_name(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// A string of the document, in memory that is overwritten if it had to be decoded.
pub(crate) enum Text<'d> {
    Borrowed(&'d str),
    Decoded(WipedText),
}

/// The error of a string with half a surrogate pair: the one value in JSON's grammar that is not
/// text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LoneSurrogate;

impl LoneSurrogate {
    /// Returns the line and column of the first one in a grammatical document; both count from 1,
    /// like those of syntax errors.
    pub(crate) fn place(document: &str) -> (usize, usize) {
        let mut rest = document;
        let mut found = 0;
        while let Some((_, escape)) = rest.split_once('\\') {
            found = document.len() - escape.len();
            rest = match escape.strip_prefix('u').map(code_point) {
                Some(Ok((_, after))) => after,
                Some(Err(Self)) => break,
                None => escape.get(1..).unwrap_or_default(),
            };
        }
        let before = &document[..found];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let lines = before.bytes().filter(|&byte| byte == b'\n').count();
        (lines + 1, found - line_start)
    }
}

impl fmt::Display for LoneSurrogate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half a surrogate pair")
    }
}

impl<'d> Text<'d> {
    /// Returns the text of a string; `None` for other types.
    pub(crate) fn of(value: &'d RawValue) -> Result<Option<Self>, LoneSurrogate> {
        let inner = value
            .get()
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        Ok(match inner {
            None => None,
            Some(inner) if inner.contains('\\') => Some(Self::unescaped(inner)?),
            Some(inner) => Some(Self::Borrowed(inner)),
        })
    }

    /// Decodes the text between the quotes of a grammatical string with escapes.
    pub(crate) fn unescaped(inner: &str) -> Result<Self, LoneSurrogate> {
        unescape(inner).map(Self::Decoded)
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Decoded(text) => text.as_str(),
        }
    }
}

/// Decodes the escapes of a string whose grammar has been checked
/// (<https://www.rfc-editor.org/rfc/rfc8259#section-7>).
fn unescape(inner: &str) -> Result<WipedText, LoneSurrogate> {
    // An escape is never shorter than its character, so the buffer never moves.
    let mut text = WipedText::new(String::with_capacity(inner.len()));
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut characters = escape.chars();
        let character = match characters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (character, after) = code_point(characters.as_str())?;
                characters = after.chars();
                character
            }
            Some(itself) => itself,
            None => return Err(LoneSurrogate),
        };
        text.push_str(character.encode_utf8(&mut [0; 4]));
        rest = characters.as_str();
    }
    text.push_str(rest);
    Ok(text)
}

/// Returns the character of one `\u` escape, or of two that are a surrogate pair.
fn code_point(digits: &str) -> Result<(char, &str), LoneSurrogate> {
    let (unit, rest) = code_unit(digits)?;
    if let Some(character) = char::from_u32(unit.into()) {
        return Ok((character, rest));
    }
    let (second, rest) = code_unit(rest.strip_prefix("\\u").ok_or(LoneSurrogate)?)?;
    match char::decode_utf16([unit, second]).next() {
        Some(Ok(character)) => Ok((character, rest)),
        _ => Err(LoneSurrogate),
    }
}

fn code_unit(digits: &str) -> Result<(u16, &str), LoneSurrogate> {
    let (digits, rest) = digits.split_at_checked(4).ok_or(LoneSurrogate)?;
    match u16::from_str_radix(digits, 16) {
        Ok(unit) => Ok((unit, rest)),
        Err(_) => Err(LoneSurrogate),
    }
}

/// Up to this many names, comparing each with each costs less than hashing them.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_those_of_json() {
        for (json, text) in [
            (r#""""#, ""),
            (r#""plain é 😀""#, "plain é 😀"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""a\u00e9b\ud83d\ude00c\u0000""#, "aéb😀c\0"),
        ] {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(Text::of(value).unwrap().unwrap().as_str(), text, "{json}");
        }
        for json in [
            r#""\ud83d""#,
            r#""\ude00\ud83d""#,
            r#""\ud83dx""#,
            r#""\ud83d\n""#,
            r#""\ud83d\u0041""#,
        ] {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(Text::of(value).err(), Some(LoneSurrogate), "{json}");
        }
        let number: &RawValue = serde_json::from_str("1").unwrap();
        assert!(Text::of(number).unwrap().is_none());
    }

    #[test]
    fn half_a_pair_is_found_where_it_stands() {
        for (json, place) in [
            (r#""\ud83d""#, (1, 2)),
            (r#""\\ud83d\"\u0041\ud83d\ude00\ude00""#, (1, 29)),
            ("{\"a\":\n [\"b\",\n\"\\ud83dx\"]}", (3, 2)),
        ] {
            assert!(serde_json::from_str::<&RawValue>(json).is_ok(), "{json}");
            assert_eq!(LoneSurrogate::place(json), place, "{json}");
        }
        assert_eq!(LoneSurrogate.to_string(), "half a surrogate pair");
    }

    #[test]
    fn names_are_read_like_values() {
        let document = r#"{"\u0061\n":1,"b":2}"#;
        let fields = Fields::parse(document).ok().unwrap();
        let names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a\n", "b"]);
    }

    #[test]
    fn a_name_that_stands_twice_is_found_among_few_and_among_many() {
        for count in [2, FEW, FEW + 1, 20_000] {
            let names = |last: usize| {
                let fields: Vec<String> = (0..count - 1)
                    .chain([last])
                    .map(|name| format!("\"{name}\":1"))
                    .collect();
                format!("{{{}}}", fields.join(","))
            };
            let document = names(count);
            assert_eq!(Fields::parse(&document).ok().unwrap().duplicate(), None);
            let document = names(count / 2 - 1);
            let fields = Fields::parse(&document).ok().unwrap();
            assert_eq!(fields.duplicate(), Some(&*(count / 2 - 1).to_string()));
        }
    }

    #[test]
    fn what_is_no_object_says_what_it_is() {
        for (json, why) in [
            ("\"x\"", NoObject::Type("a string")),
            (" [1]", NoObject::Type("an array")),
            ("true", NoObject::Type("a boolean")),
            ("false", NoObject::Type("a boolean")),
            ("null", NoObject::Type("null")),
            ("-1", NoObject::Type("a number")),
            ("2e1", NoObject::Type("a number")),
            ("{\n\"a\" 1}", NoObject::Syntax { line: 2, column: 5 }),
            ("nul", NoObject::Syntax { line: 1, column: 3 }),
            (r#"{"\ud800":1}"#, NoObject::Syntax { line: 1, column: 9 }),
        ] {
            assert_eq!(Fields::parse(json).err(), Some(why), "{json}");
        }
    }

    proptest! {
        /// A string is decoded exactly as serde_json decodes it.
        #[test]
        fn strings_are_read_as_other_readers_read_them(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let value: &RawValue = serde_json::from_str(&json).unwrap();
            let read = Text::of(value).unwrap().unwrap();
            prop_assert_eq!(read.as_str(), &text);

            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("\"{escaped}\"");
            let value: &RawValue = serde_json::from_str(&json).unwrap();
            let read = Text::of(value).unwrap().unwrap();
            prop_assert_eq!(read.as_str(), &text);
        }
    }
}
