//! Strings in JSON and YAML, with the bytes that kubectl writes.

use std::fmt::Write as _;

use jiff::civil::Date;

use crate::scan;

/// Writes a JSON string (<https://www.rfc-editor.org/rfc/rfc8259#section-7>) as Go writes it:
/// characters that HTML or JavaScript could misread are also escaped
/// (<https://pkg.go.dev/encoding/json#Marshal>).
pub(super) fn push_json(out: &mut String, text: &str) {
    out.push('"');
    JsonText::new(text).push_inner(out);
    out.push('"');
}

/// Returns the maximum number of bytes that [`push_json`] writes; exact if nothing is escaped.
pub(super) fn max_json_len(text: &str) -> usize {
    JsonText::new(text).max_len()
}

/// A text whose capacity is reserved before it is written, but which is scanned only once: almost
/// all texts contain nothing to escape.
pub(super) struct JsonText<'t> {
    text: &'t str,
    /// The position of the first byte that may begin an escape, or the length.
    first_suspect: usize,
}

impl<'t> JsonText<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            first_suspect: scan::first(text.as_bytes(), is_suspect),
        }
    }

    /// See [`max_json_len`].
    pub(super) fn max_len(&self) -> usize {
        let suspects = count_suspects(&self.text.as_bytes()[self.first_suspect..]);
        "\"\"".len() + self.text.len() + suspects * ("\\u0000".len() - 1)
    }

    /// Writes the text that [`push_json`] writes between the quotes.
    pub(super) fn push_inner(&self, out: &mut String) {
        let mut rest = self.text;
        let mut at = self.first_suspect;
        while let Some(character) = rest.as_bytes().get(at..).filter(|c| !c.is_empty()) {
            let mut from = at + 1;
            if let Some((escape, len)) = escape(character) {
                out.push_str(&rest[..at]);
                out.push_str(escape);
                rest = &rest[at + len..];
                from = 0;
            }
            at = from + scan::first(&rest.as_bytes()[from..], is_suspect);
        }
        out.push_str(rest);
    }
}

/// The rules by which YAML is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Yaml {
    /// Plain scalars are those that every reader reads as a string, whatever numbers it can read.
    Cautious,
    /// Plain scalars are those that kubectl reads as a string: also numbers that are too large for
    /// it and invalid dates.
    Kubectl,
}

/// Writes a YAML scalar that is read as this string: plain if possible, otherwise in quotes
/// (<https://yaml.org/spec/1.2.2/#73-flow-scalar-styles>).
pub(super) fn push_yaml(out: &mut String, text: &str, yaml: Yaml) {
    if is_plain(text, yaml) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        // JSON's escapes are valid in YAML; some more characters are not allowed in YAML
        // (https://yaml.org/spec/1.2.2/#51-character-set).
        if matches!(
            character,
            '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        ) {
            write!(out, "\\u{:04x}", u32::from(character))
                .expect("writing to a String does not fail");
        } else if let Some((escape, _)) = escape(character.encode_utf8(&mut [0; 4]).as_bytes()) {
            out.push_str(escape);
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

/// Returns `true` if an escape may begin with this byte. It contains no branches, so that the
/// compiler can check many bytes at once.
fn is_suspect(byte: u8) -> bool {
    (byte < 0x20)
        | (byte == b'"')
        | (byte == b'&')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'\\')
        | (byte == 0xe2)
}

fn count_suspects(bytes: &[u8]) -> usize {
    // Sums of one byte each: many of them fit in a register.
    let count = |part: &[u8]| {
        part.iter()
            .map(|byte| u8::from(is_suspect(*byte)))
            .sum::<u8>()
    };
    bytes.chunks(255).map(|part| usize::from(count(part))).sum()
}

/// Returns the escape of the first character, if it needs one, and the length of that character.
fn escape(text: &[u8]) -> Option<(&'static str, usize)> {
    Some(match text {
        [byte @ 0..=0x1f, ..] => (CONTROL[usize::from(*byte)], 1),
        [b'"', ..] => ("\\\"", 1),
        [b'\\', ..] => ("\\\\", 1),
        [b'&', ..] => ("\\u0026", 1),
        [b'<', ..] => ("\\u003c", 1),
        [b'>', ..] => ("\\u003e", 1),
        [0xe2, 0x80, 0xa8, ..] => ("\\u2028", 3),
        [0xe2, 0x80, 0xa9, ..] => ("\\u2029", 3),
        _ => return None,
    })
}

/// Returns `true` if every reader reads the scalar without quotes as this string: letters, digits
/// and a few signs, and nothing that a reader of YAML 1.1 or 1.2 takes for another type
/// (<https://yaml.org/type/>).
fn is_plain(text: &str, yaml: Yaml) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'/' | b'_'))
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
        && !is_number(text, yaml)
        && !is_date(text, yaml)
}

/// Returns `true` for integers in all bases, and floats; underscores may separate digits.
fn is_number(text: &str, yaml: Yaml) -> bool {
    let text = text.replace('_', "").to_ascii_lowercase();
    let digits =
        |digits: &str, base| !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
    for (prefix, base) in [("0b", 2), ("0o", 8), ("0x", 16)] {
        if let Some(rest) = text.strip_prefix(prefix) {
            let fits = yaml == Yaml::Cautious || u64::from_str_radix(rest, base).is_ok();
            return digits(rest, base) && fits;
        }
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent = exponent.strip_prefix('-').unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fits = || yaml == Yaml::Cautious || text.parse().is_ok_and(f64::is_finite);
    digits(exponent, 10)
        && digits(whole, 10)
        && (fraction.is_empty() || digits(fraction, 10))
        && fits()
}

/// Returns `true` for year, month and day; a time of day would contain colons.
fn is_date(text: &str, yaml: Yaml) -> bool {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> = text.split('-').filter(|part| digits(part)).collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let is_form = text.len() == year.len() + month.len() + day.len() + 2
        && year.len() == 4
        && matches!((month.len(), day.len()), (1 | 2, 1 | 2));
    let exists = || {
        let date = (year.parse(), month.parse(), day.parse());
        matches!(date, (Ok(year), Ok(month), Ok(day)) if Date::new(year, month, day).is_ok())
    };
    is_form && (yaml == Yaml::Cautious || exists())
}

/// Words that YAML 1.1 reads as another type.
const WORDS: [&str; 9] = ["false", "n", "no", "null", "off", "on", "true", "y", "yes"];

/// The escapes of the control characters, by their code.
const CONTROL: [&str; 32] = [
    "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007", "\\b",
    "\\t", "\\n", "\\u000b", "\\f", "\\r", "\\u000e", "\\u000f", "\\u0010", "\\u0011", "\\u0012",
    "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017", "\\u0018", "\\u0019", "\\u001a",
    "\\u001b", "\\u001c", "\\u001d", "\\u001e", "\\u001f",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        let mut out = String::new();
        push_json(&mut out, text);
        out
    }

    fn yaml_of(text: &str, yaml: Yaml) -> String {
        let mut out = String::new();
        push_yaml(&mut out, text, yaml);
        out
    }

    fn yaml(text: &str) -> String {
        yaml_of(text, Yaml::Cautious)
    }

    #[test]
    fn the_longest_that_a_text_becomes_is_known() {
        for text in ["", "plain", "\u{1}", &"\u{1f}".repeat(600)] {
            assert_eq!(max_json_len(text), json(text).len());
        }
        assert_eq!(max_json_len("\u{2028}\u{2027}"), 2 + 6 + 2 * 5);
    }

    /// The output of Go's encoder for the same strings.
    #[test]
    fn escapes_are_those_of_go() {
        for (text, written) in [
            ("", r#""""#),
            (
                "a/b'c\u{7f}é😀\u{2027}\u{202a}",
                "\"a/b'c\u{7f}é😀\u{2027}\u{202a}\"",
            ),
            ("\"\\", r#""\"\\""#),
            ("<b>&", r#""\u003cb\u003e\u0026""#),
            ("\u{2028}x\u{2029}", r#""\u2028x\u2029""#),
            (
                "\0\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}",
                r#""\u0000\u0001\b\t\n\u000b\f\r\u001f""#,
            ),
        ] {
            assert_eq!(json(text), written);
        }
        for code in 0..32_u8 {
            let written = json(&char::from(code).to_string());
            let read: String = serde_json::from_str(&written).unwrap();
            assert_eq!(read, char::from(code).to_string());
        }
    }

    /// `kubectl create --output yaml` decides which strings need quotes.
    #[test]
    fn yaml_is_plain_only_where_nobody_reads_another_type() {
        for plain in [
            "a",
            "team-images",
            "a.b-c.0",
            "1.2.3",
            "1-2",
            "0xg",
            "0b12",
            "0o18",
            "1e",
            "e1",
            "1e-",
            "2026-11",
            "2026-111-1",
            "2026-1-111",
            "20261-1-1",
            "1-1-2026",
            "example.com/a_b",
            "yesno",
            "nan",
            "inf",
            "0x",
            "1a",
            "1.5a",
            "a1e3",
            "2026-11-1a",
            "1-2-3-4",
            "2026-1-1-1",
        ] {
            assert_eq!(yaml(plain), plain);
            assert_eq!(yaml_of(plain, Yaml::Kubectl), plain);
        }
        for quoted in [
            "",
            "1",
            "007",
            "1.5",
            "1.",
            "1e3",
            "1e-3",
            "1.5e3",
            "0x1f",
            "0b101",
            "0o17",
            "1_000",
            "2026-11-23",
            "2026-1-2",
            "yes",
            "No",
            "TRUE",
            "false",
            "on",
            "Off",
            "null",
            "y",
            "n",
            "a b",
            "a: b",
            "-a",
            ".5",
            "#",
            "é",
            "~",
        ] {
            assert_eq!(yaml(quoted), format!("\"{quoted}\""));
            assert_eq!(yaml_of(quoted, Yaml::Kubectl), yaml(quoted));
        }
        // kubectl reads these neither as a number nor as a date; other readers are not considered.
        for doubtful in [
            "1e999",
            "1.5e309",
            "0x10000000000000000",
            "2026-02-30",
            "2026-13-1",
            "2026-0-01",
        ] {
            assert_eq!(yaml(doubtful), format!("\"{doubtful}\""));
            assert_eq!(yaml_of(doubtful, Yaml::Kubectl), doubtful);
        }
        for number in ["0xffffffffffffffff", "18446744073709551616", "2024-2-29"] {
            assert_eq!(yaml_of(number, Yaml::Kubectl), format!("\"{number}\""));
        }
        assert_eq!(
            yaml("\"<\n\u{7f}\u{85}\u{9f}\u{a0}\u{feff}\u{2028}😀"),
            "\"\\\"\\u003c\\n\\u007f\\u0085\\u009f\u{a0}\\ufeff\\u2028😀\""
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_its_length_is_known(text in any::<String>()) {
            let written = json(&text);
            prop_assert!(written.len() <= max_json_len(&text));
            let read: String = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(&read, &text);

            // A quoted YAML string is also valid JSON.
            let written = yaml(&text);
            if written.starts_with('"') {
                let read: String = serde_json::from_str(&written).unwrap();
                prop_assert_eq!(read, text);
            } else {
                prop_assert_eq!(written, text);
            }
        }
    }
}
