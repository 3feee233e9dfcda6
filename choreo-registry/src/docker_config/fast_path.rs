//! The fast path for documents as `docker login` and kubectl write them: one host under `auths`,
//! and known fields, all of them strings. Every other document is left to the slow path, which can
//! explain what is wrong with it.

use super::decode::{ENTRY_FIELDS, Texts};
use crate::scan;
use crate::secret_json::Text;

/// Returns the one key under `auths`, and the values of its entry in the order of [`ENTRY_FIELDS`].
///
/// `None` means that the document has another form, not that it is invalid.
pub(super) fn read(document: &str) -> Option<(&str, Texts<'_>)> {
    let mut reader = Reader { document, at: 0 };
    reader.sign(b'{')?;
    if reader.name()? != "auths" {
        return None;
    }
    reader.sign(b'{')?;
    let key = reader.name()?;
    reader.sign(b'{')?;
    let texts = reader.entry()?;
    reader.sign(b'}')?;
    reader.sign(b'}')?;
    reader.next_sign().is_none().then_some((key, texts))
}

/// A document, and how far it has been read.
struct Reader<'d> {
    document: &'d str,
    at: usize,
}

impl<'d> Reader<'d> {
    /// Reads the fields of an entry, up to its closing brace.
    fn entry(&mut self) -> Option<Texts<'d>> {
        let mut texts = [const { None }; 7];
        loop {
            let name = self.name()?;
            let at = ENTRY_FIELDS.iter().position(|field| *field == name)?;
            // A duplicate name is an error for the slow path to report.
            if texts[at].is_some() {
                return None;
            }
            texts[at] = Some(self.text()?);
            if self.sign(b',').is_none() {
                return self.sign(b'}').map(|()| texts);
            }
        }
    }

    /// Reads a string without escapes, and the colon after it.
    fn name(&mut self) -> Option<&'d str> {
        let Text::Borrowed(name) = self.text()? else {
            return None;
        };
        self.sign(b':')?;
        Some(name)
    }

    /// Reads a string (<https://www.rfc-editor.org/rfc/rfc8259#section-7>).
    fn text(&mut self) -> Option<Text<'d>> {
        self.sign(b'"')?;
        let bytes = self.document.as_bytes();
        let start = self.at;
        let mut end = start + plain_len(&bytes[start..]);
        let mut escaped = false;
        while *bytes.get(end)? != b'"' {
            end += escape_len(&bytes[end..])?;
            end += plain_len(&bytes[end..]);
            escaped = true;
        }
        self.at = end + 1;
        let inner = &self.document[start..end];
        if escaped {
            Text::unescaped(inner).ok()
        } else {
            Some(Text::Borrowed(inner))
        }
    }

    fn sign(&mut self, sign: u8) -> Option<()> {
        (self.next_sign()? == sign).then(|| self.at += 1)
    }

    /// Returns the next byte that is not a blank, without consuming it.
    fn next_sign(&mut self) -> Option<u8> {
        loop {
            match *self.document.as_bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                sign => return Some(sign),
            }
        }
    }
}

/// Returns the number of bytes before the end of a string, an escape, or a byte that is not allowed
/// in a string.
fn plain_len(bytes: &[u8]) -> usize {
    scan::first(bytes, |byte| {
        (byte < 0x20) | (byte == b'"') | (byte == b'\\')
    })
}

/// Returns the length of the escape at the beginning of `bytes`.
fn escape_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [
            b'\\',
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
            ..,
        ] => Some(2),
        [b'\\', b'u', digits @ ..] if digits.get(..4)?.iter().all(u8::is_ascii_hexdigit) => Some(6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(document: &str) -> Option<String> {
        let (key, texts) = read(document)?;
        let texts = texts.each_ref().map(|text| text.as_ref().map(Text::as_str));
        Some(format!("{key} {texts:?}"))
    }

    #[test]
    fn usual_documents_take_the_short_way() {
        let long = "x".repeat(200);
        for (document, auth) in [
            (r#"{"auths":{"a.b":{"auth":"eA=="}}}"#.to_owned(), "eA=="),
            (
                " {\n\t\"auths\" : {\"a.b\": {\r\"auth\" : \"eA\" } } } \n".to_owned(),
                "eA",
            ),
            (
                r#"{"auths":{"a.b":{"auth":"\u0065\/\"\\\b"}}}"#.to_owned(),
                "e/\"\\\u{8}",
            ),
            (r#"{"auths":{"a.b":{"auth":"e A"}}}"#.to_owned(), "e A"),
            (
                format!(r#"{{"auths":{{"a.b":{{"auth":"{long}\n{long}"}}}}}}"#),
                &*format!("{long}\n{long}"),
            ),
        ] {
            let (key, texts) = read(&document).expect(&document);
            assert_eq!(key, "a.b");
            assert_eq!(texts[0].as_ref().map(Text::as_str), Some(auth));
        }
        let all = r#"{"auths":{"a.b":{"username":"u","password":"p","auth":"a","email":""}}}"#;
        let shown = shown(all).unwrap();
        assert_eq!(
            shown,
            r#"a.b [Some("a"), Some("u"), Some("p"), None, None, Some(""), None]"#
        );
    }

    #[test]
    fn everything_else_is_left_to_the_other_reader() {
        for document in [
            "",
            "{}",
            "null",
            r#"{"auths":{}}"#,
            r#"{"auths":{"a.b":{}}}"#,
            r#"{"auths":{"a.b":{"auth":"x"}}"#,
            r#"{"auths":{"a.b":{"auth":"x"}}}}"#,
            r#"{"auths":{"a.b":{"auth":"x"}}} x"#,
            r#"{"auths":{"a.b":{"auth":"x",}}}"#,
            r#"{"auths":{"a.b":{"auth":"x"},}}"#,
            r#"{"auths":{"a.b":{"auth":"x"}},"credsStore":""}"#,
            r#"{"auths":{"a.b":{"auth":"x"},"c.d":{"auth":"y"}}}"#,
            r#"{"auths":{"a.b":{"auth":"x","auth":"x"}}}"#,
            r#"{"auths":{"a.b":{"Auth":"x"}}}"#,
            r#"{"auths":{"a.b":{"auth":null}}}"#,
            r#"{"auths":{"a.b":{"auth":1}}}"#,
            r#"{"auths":{"a.b":{"auth":"x","more":"y"}}}"#,
            r#"{"\u0061uths":{"a.b":{"auth":"x"}}}"#,
            r#"{"auths":{"a\u002eb":{"auth":"x"}}}"#,
            r#"{"auths":{"a.b":{"auth":"\x"}}}"#,
            r#"{"auths":{"a.b":{"auth":"\u00g0"}}}"#,
            r#"{"auths":{"a.b":{"auth":"\u+0a0"}}}"#,
            r#"{"auths":{"a.b":{"auth":"\ud800"}}}"#,
            "{\"auths\":{\"a.b\":{\"auth\":\"a\nb\"}}}",
            r#"{"auths":{"a.b":{"auth":"x"#,
            r#"{"auths":{"a.b":{"auth":"\"#,
            "{\"auths\":\u{a0}{\"a.b\":{\"auth\":\"x\"}}}",
            "\u{b}{\"auths\":{\"a.b\":{\"auth\":\"x\"}}}",
        ] {
            assert_eq!(shown(document), None, "{document}");
        }
    }
}
