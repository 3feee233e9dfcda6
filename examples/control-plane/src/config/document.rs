//! The document as TOML, with its components separate.

use toml::{Table, Value};

use super::problem::Problem;

/// The document, and each of its components as JSON, which is as compact as the text.
#[derive(Debug, PartialEq)]
pub(super) struct Document {
    /// The document without `components`, unless that is not a list.
    pub(super) root: Table,
    pub(super) components: Vec<Box<str>>,
    /// Numbers of components that JSON does not have. They are `false` there.
    pub(super) not_finite: Vec<Problem>,
}

const HEADER: &str = "[[components]]";

impl Document {
    /// Reads a document one component at a time, or as a whole if it is not written that way. As tables,
    /// thousands of components would take fifty times the memory of their text.
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        // An error in the whole document has the right message and position.
        Self::parse_apart(text).map_or_else(|| Self::parse_whole(text), Ok)
    }

    /// Parses the text before the first component, and each component with the text after it.
    ///
    /// If each part is a valid document, the line between two parts is not inside a string or a list,
    /// which would be open at the end of the first. So the parts mean the same together and separately,
    /// as long as no two of them contain the same table.
    fn parse_apart(text: &str) -> Option<Self> {
        let lines = text.match_indices(HEADER).map(|(at, _)| at);
        let mut starts = lines.filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n');
        let mut start = starts.next()?;
        let mut root: Table = toml::from_str(&text[..start]).ok()?;
        if root.contains_key("components") {
            return None;
        }
        let (mut components, mut not_finite) = (Vec::new(), Vec::new());
        loop {
            let next = starts.next();
            let part: Table = toml::from_str(&text[start..next.unwrap_or(text.len())]).ok()?;
            for (key, value) in part {
                if let ("components", Value::Array(list)) = (key.as_str(), &value) {
                    for component in list {
                        let path = format!("components[{}]", components.len());
                        components.push(to_json(component, &path, &mut not_finite));
                    }
                } else if root.insert(key, value).is_some() {
                    return None;
                }
            }
            match next {
                Some(next) => start = next,
                None => {
                    return Some(Self {
                        root,
                        components,
                        not_finite,
                    });
                }
            }
        }
    }

    fn parse_whole(text: &str) -> Result<Self, toml::de::Error> {
        let mut root: Table = toml::from_str(text)?;
        let (mut components, mut not_finite) = (Vec::new(), Vec::new());
        if let Some(Value::Array(list)) = root.get("components") {
            for (index, component) in list.iter().enumerate() {
                let path = format!("components[{index}]");
                components.push(to_json(component, &path, &mut not_finite));
            }
            root.remove("components");
        }
        Ok(Self {
            root,
            components,
            not_finite,
        })
    }
}

/// Returns a value as JSON. Dates, which JSON does not have, become tables that are not valid in a
/// component. Numbers that are not finite would become `null`, which TOML does not have. They are
/// noted and replaced.
fn to_json(value: &Value, path: &str, not_finite: &mut Vec<Problem>) -> Box<str> {
    let json = |value: &Value| serde_json::to_string(value).unwrap_or_default().into();
    if is_finite(value) {
        return json(value);
    }
    let mut value = value.clone();
    replace_not_finite(&mut value, path, not_finite);
    json(&value)
}

fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(number) => number.is_finite(),
        Value::Array(items) => items.iter().all(is_finite),
        Value::Table(members) => members.values().all(is_finite),
        Value::String(_) | Value::Integer(_) | Value::Boolean(_) | Value::Datetime(_) => true,
    }
}

fn replace_not_finite(value: &mut Value, path: &str, noted: &mut Vec<Problem>) {
    match value {
        Value::Float(number) if !number.is_finite() => {
            let number = number.to_string().to_lowercase();
            let message = format!("{number} is not valid: use a finite number");
            noted.push(Problem::new(path, message));
            *value = Value::Boolean(false);
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                replace_not_finite(item, &format!("{path}[{index}]"), noted);
            }
        }
        Value::Table(members) => {
            for (key, member) in members.iter_mut() {
                replace_not_finite(member, &member_path(path, key), noted);
            }
        }
        _ => {}
    }
}

fn member_path(path: &str, key: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match !key.is_empty() && key.bytes().all(is_plain) {
        true => format!("{path}.{key}"),
        false => format!("{path}[{key:?}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a document that is read in parts has the same content as the whole, and is read as a
    /// whole if its parts would differ.
    #[test]
    fn parts_have_the_content_of_the_whole() {
        const QUOTES: &str = "\"\"\"";
        const TWO: &str = "\n[[components]]\nid = 'a'\n[components.workload]\nport = 1\n\
                           [[components]]\nid = 'b'\nargs = [\n'x']\n";
        for (text, is_apart) in [
            (TWO.to_owned(), true),
            (
                format!("organization = 'acme'\n[server]\nlisten = 'x'{TWO}"),
                true,
            ),
            // Another table after the components, and one before them.
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
            // The header inside a string, which is open at the end of its part.
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
