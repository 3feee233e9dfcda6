//! The document as TOML, with its components apart.

use toml::{Table, Value};

/// What the document has, and each of its components as JSON, as compact as it was written.
#[derive(Debug, PartialEq)]
pub(super) struct Document {
    /// Without `components`, unless that is no list.
    pub(super) root: Table,
    pub(super) components: Vec<Box<str>>,
}

const HEADER: &str = "[[components]]";

impl Document {
    /// Reads a document one component at a time, or whole where it is not written so: as tables,
    /// thousands of components take fifty times the memory of their text.
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        // Whatever may be wrong, the whole document has the right words and positions for it.
        Self::parse_apart(text).map_or_else(|| Self::parse_whole(text), Ok)
    }

    /// Parses what is before the first component, and each component with what is after it.
    ///
    /// Where each part is a document by itself, the line between two is no part of a text or a list:
    /// that would be open at the end of one. So they say together what they say apart, as long as no
    /// two say something of the same table.
    fn parse_apart(text: &str) -> Option<Self> {
        let lines = text.match_indices(HEADER).map(|(at, _)| at);
        let mut starts = lines.filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n');
        let mut start = starts.next()?;
        let mut root: Table = toml::from_str(&text[..start]).ok()?;
        if root.contains_key("components") {
            return None;
        }
        let mut components = Vec::new();
        loop {
            let next = starts.next();
            let part: Table = toml::from_str(&text[start..next.unwrap_or(text.len())]).ok()?;
            for (key, value) in part {
                if let ("components", Value::Array(list)) = (key.as_str(), &value) {
                    components.extend(list.iter().map(to_json));
                } else if root.insert(key, value).is_some() {
                    return None;
                }
            }
            match next {
                Some(next) => start = next,
                None => return Some(Self { root, components }),
            }
        }
    }

    fn parse_whole(text: &str) -> Result<Self, toml::de::Error> {
        let mut root: Table = toml::from_str(text)?;
        let mut components = Vec::new();
        if let Some(Value::Array(list)) = root.get("components") {
            components = list.iter().map(to_json).collect();
            root.remove("components");
        }
        Ok(Self { root, components })
    }
}

/// A value as JSON. What TOML has and JSON has not are dates, which become tables that have no place
/// in a component.
fn to_json(value: &Value) -> Box<str> {
    serde_json::to_string(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a document read in parts says what it says whole, and is read whole where its
    /// parts say something else.
    #[test]
    fn parts_say_what_the_whole_says() {
        const QUOTES: &str = "\"\"\"";
        const TWO: &str = "\n[[components]]\nid = 'a'\n[components.workload]\nport = 1\n\
                           [[components]]\nid = 'b'\nargs = [\n'x']\n";
        for (text, is_apart) in [
            (TWO.to_owned(), true),
            (
                format!("organization = 'acme'\n[server]\nlisten = 'x'{TWO}"),
                true,
            ),
            // Something else after the components, and an entry like that before them.
            (
                format!("[store]\npath = 'x'{TWO}[server]\nlisten = 'x'\n"),
                true,
            ),
            (
                format!("[[registries]]\nid = 'x'{TWO}[[registries]]\nid = 'y'\n"),
                false,
            ),
            (
                format!("[server]\nlisten = 'x'{TWO}[server.limits]\nconnections = 1\n"),
                false,
            ),
            // The header within a text, which is open at the end of its part.
            (format!("a = {QUOTES}{TWO}{QUOTES}\n"), false),
            (format!("{TWO}a = {QUOTES}{TWO}{QUOTES}\n"), false),
            (format!("{TWO}a = '''{TWO}'''\n"), false),
            (format!("{TWO}# {HEADER}\n a = '{HEADER}'\n"), true),
            (TWO.replace("\n[[", "\n [["), false),
            ("[server]\nlisten = 'x'\n".to_owned(), false),
            ("components = [{ id = 'a' }, 7]\n".to_owned(), false),
            ("components = 7\n".to_owned(), false),
            (
                format!("{TWO}[components.settings.x]\nsuspended = true\n"),
                true,
            ),
        ] {
            let apart = Document::parse_apart(&text);
            assert_eq!(apart.is_some(), is_apart, "{text}");
            let whole = Document::parse_whole(&text).expect("it is TOML");
            assert_eq!(Document::parse(&text).unwrap(), whole, "{text}");
        }
        for wrong in [
            format!("components = []{TWO}"),
            format!("[components]\nid = 'x'{TWO}"),
            format!("a = 1\n{TWO}[server]\na = 1\na = 2\n"),
            format!("a = \"{TWO}\"\n"),
            format!("a = [{TWO}]\n"),
        ] {
            let (read, whole) = (Document::parse(&wrong), Document::parse_whole(&wrong));
            assert_eq!(read.unwrap_err(), whole.unwrap_err(), "{wrong}");
        }
    }
}
