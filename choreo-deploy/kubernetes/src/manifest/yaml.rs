//! Writes JSON values as block YAML (<https://yaml.org/spec/1.2.2/>), keys in order.
//!
//! Strings that are not plain in every reader are quoted as JSON, which YAML 1.2 includes.

use std::fmt::Write;

use serde_json::Value;

pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in fields {
                pad(out, indent);
                write_key(out, key, indent);
                nested(out, value, indent + usize::from(!value.is_array()) * 2);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let start = out.len();
                block(out, item, indent + 2);
                // The dash is in the item's own indentation.
                out.replace_range(start + indent..start + indent + 1, "-");
            }
        }
        other => {
            pad(out, indent);
            let _ = writeln!(out, "{}", scalar(other));
        }
    }
}

/// Readers accept a key without a mark only if it is short.
fn write_key(out: &mut String, key: &str, indent: usize) {
    let key = scalar(&Value::from(key));
    if key.len() <= LONGEST_KEY {
        let _ = write!(out, "{key}:");
    } else {
        let _ = writeln!(out, "? {key}");
        pad(out, indent);
        out.push(':');
    }
}

/// The limit of YAML is 1,024 characters, and readers count with and without quotes
/// (<https://yaml.org/spec/1.2.2/#742-flow-mappings>).
const LONGEST_KEY: usize = 1000;

fn nested(out: &mut String, value: &Value, indent: usize) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        block(out, value, indent);
    } else {
        let _ = writeln!(out, " {}", scalar(value));
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Number(number) => numeral(&number.to_string()),
        other => other.to_string().chars().fold(String::new(), push_escaped),
    }
}

/// Writes a number for readers of YAML 1.1 too: an exponent needs a point before it and a sign.
fn numeral(json: &str) -> String {
    let Some((digits, exponent)) = json.split_once('e') else {
        return json.to_owned();
    };
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) {
        ""
    } else {
        "+"
    };
    format!("{digits}{point}e{sign}{exponent}")
}

/// Escapes characters that JSON does not escape, and that readers of YAML reject or take for a line
/// end: `kubectl` rejects DEL and the controls behind it, and turns U+0085 and U+2028 into blanks.
fn push_escaped(mut out: String, c: char) -> String {
    match c {
        '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        c => out.push(c),
    }
    out
}

/// Returns `true` if every YAML reader, also of version 1.1, reads the bare text as this string.
fn is_plain(text: &str) -> bool {
    let first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'/');
    let rest = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_./@".contains(&b));
    let word = text.to_ascii_lowercase();
    first
        && rest
        && !matches!(
            word.as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_blocks() {
        let value = json!({
            "kind": "List",
            "empty": {}, "none": [], "flag": true, "no": "no", "port": "8080", "text": "a: b",
            "items": [{ "name": "a", "args": ["x", "y z"] }, [1], {}],
        });
        let expected = "\
empty: {}
flag: true
items:
- args:
  - x
  - \"y z\"
  name: a
- - 1
- {}
kind: List
\"no\": \"no\"
none: []
port: \"8080\"
text: \"a: b\"
";
        assert_eq!(write(&value), expected);
    }

    #[test]
    fn long_keys_are_marked() {
        let key = "k".repeat(1001);
        let value = json!({ "a": { &key: [1], &key[..1000]: 2 } });
        let expected = format!("a:\n  {}: 2\n  ? {key}\n  :\n  - 1\n", &key[..1000]);
        assert_eq!(write(&value), expected);
    }

    #[test]
    fn numbers_have_the_form_of_both_versions() {
        for (number, expected) in [
            (json!(1), "1"),
            (json!(-1.5), "-1.5"),
            (json!(1e300), "1.0e+300"),
            (json!(1.5e-7), "1.5e-7"),
            (json!(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(write(&number).trim_end(), expected);
        }
    }

    #[test]
    fn what_readers_refuse_or_change_is_escaped() {
        for (text, expected) in [
            ("a\u{85}b", r#""a\u0085b""#),
            ("a\u{2028} b", r#""a\u2028 b""#),
            (
                "\u{7f}\u{9f}\u{feff}\u{fffe}",
                r#""\u007f\u009f\ufeff\ufffe""#,
            ),
            ("a\nb\u{1}", r#""a\nb\u0001""#),
            ("größe \u{1f600}", "\"größe \u{1f600}\""),
        ] {
            let written = write(&json!(text));
            assert_eq!(written.trim_end(), expected);
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), text);
        }
    }
}
