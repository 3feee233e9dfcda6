//! Translates the messages of serde and of the TOML parser into plain words.

use crate::nearest;

/// Translates an error message of serde. Values of a wrong type are not shown: they may be secrets.
pub(super) fn plain(message: &str) -> String {
    let quoted = |text: &str| text.split('`').nth(1).unwrap_or_default().to_owned();
    let instead =
        |word: &str, known: &str| nearest::instead(word, known.split('`').skip(1).step_by(2));
    let (head, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    if head.starts_with("unknown variant") {
        let word: String = quoted(head).chars().take(64).collect();
        return format!("{word:?} is not valid: {}", instead(&word, expected));
    }
    if head.starts_with("unknown field") {
        let word: String = quoted(head).chars().take(64).collect();
        return format!("{word} is not known: {}", instead(&word, expected));
    }
    if head.starts_with("missing field") {
        return format!("{} is missing", quoted(head));
    }
    if message.contains("invalid socket address") {
        return "is not an address: write an IP address and a port, such as 127.0.0.1:8080"
            .to_owned();
    }
    if head.starts_with("invalid length") {
        return "has the wrong number of entries: write a table".to_owned();
    }
    for beginning in ["invalid type: ", "invalid value: "] {
        if let Some(found) = head.strip_prefix(beginning) {
            return format!("is {}: write {}", found_word(found), wanted(expected));
        }
    }
    message.to_owned()
}

/// Translates an error message of the TOML parser.
pub(super) fn syntax(message: &str) -> String {
    let (head, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    if head.starts_with("invalid type: integer") {
        return format!("number is too large: write at most {}", i64::MAX);
    }
    match expected {
        // The first part is sufficient.
        "" | "nothing" | "literal string" => head.to_owned(),
        expected => format!("{head}: write {}", expected.replace('`', "'")),
    }
}

fn found_word(found: &str) -> String {
    let number = quoted_number(found);
    match found.split([' ', '`']).next().unwrap_or_default() {
        "string" => "a text".to_owned(),
        "integer" | "floating" => number.unwrap_or_else(|| "a number".to_owned()),
        "boolean" => "true or false".to_owned(),
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        other => format!("a {other}"),
    }
}

fn quoted_number(found: &str) -> Option<String> {
    found.split('`').nth(1).map(str::to_owned)
}

fn wanted(expected: &str) -> String {
    match expected {
        expected if expected.starts_with("a nonzero") => "a whole number above 0".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "a string" | "string" | "a borrowed string" | "path string" => "a text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a map" => "a table".to_owned(),
        "a sequence" => "a list".to_owned(),
        expected if expected.starts_with("struct ") => "a table".to_owned(),
        expected => expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::num::NonZeroUsize;
    use std::path::PathBuf;

    use serde::de::DeserializeOwned;

    use super::*;

    fn said<T: DeserializeOwned>(toml: &str) -> String {
        let value: toml::Value = toml::from_str::<toml::Table>(toml).unwrap()["a"].clone();
        plain(value.try_into::<T>().err().unwrap().message())
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    enum Choice {
        Kubernetes,
        Memory,
    }

    #[test]
    fn messages_contain_no_words_of_rust() {
        for (said, expected) in [
            (
                said::<Choice>("a = \"memery\""),
                "\"memery\" is not valid: did you mean \"memory\"? use one of kubernetes, memory",
            ),
            (
                said::<NonZeroUsize>("a = 0"),
                "is 0: write a whole number above 0",
            ),
            (
                said::<u16>("a = \"hunter2\""),
                "is a text: write a whole number, 0 or more",
            ),
            (said::<bool>("a = 7"), "is 7: write true or false"),
            (said::<String>("a = 7"), "is 7: write a text"),
            (said::<PathBuf>("a = 7"), "is 7: write a text"),
            (
                said::<SocketAddr>("a = \"here\""),
                "is not an address: write an IP address and a port, such as 127.0.0.1:8080",
            ),
        ] {
            assert_eq!(said, expected);
        }
        let _ = (Choice::Kubernetes, Choice::Memory);
    }
}
