//! Reads values into types, and notes every problem.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;

use serde_json::{Map, Value};

use super::{DocumentProblem, DocumentProblemCode as Code, LIMIT, tree};

/// A type that can be read from a document.
pub(crate) trait Read: Sized {
    /// Returns the value, or `None` after it has noted a problem.
    fn read(node: Node<'_>) -> Option<Self>;
}

/// The maximum length of a name in a message.
const SHOWN: usize = 64;

#[derive(Debug, Default)]
struct Notes {
    is_lenient: bool,
    problems: RefCell<Vec<DocumentProblem>>,
}

/// Reads a text strictly.
pub(crate) fn parse<T: Read>(text: &str) -> Result<T, Vec<DocumentProblem>> {
    let problem = |code, message| {
        vec![DocumentProblem {
            path: String::new(),
            code,
            message,
        }]
    };
    if text.len() > LIMIT {
        let message = format!("has {} bytes: write at most {LIMIT}", text.len());
        return Err(problem(Code::TooLarge, message));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let tree = tree::read(&mut deserializer);
    let tree = tree.and_then(|tree| deserializer.end().map(|()| tree));
    // The reader accepts every value, so its error is about syntax and contains no value.
    let (value, noted) =
        tree.map_err(|error| problem(Code::Syntax, format!("is not JSON: {error}")))?;
    read(value, noted, false)
}

pub(super) fn read<T: Read>(
    value: Value,
    noted: Vec<DocumentProblem>,
    is_lenient: bool,
) -> Result<T, Vec<DocumentProblem>> {
    let notes = Notes {
        is_lenient,
        ..Notes::default()
    };
    let node = Node {
        path: String::new(),
        value,
        notes: &notes,
    };
    let read = T::read(node);
    let mut problems = notes.problems.into_inner();
    // A number that is not finite was read as null, so other problems at its path are misleading.
    problems.retain(|problem| {
        let is_same = |noted: &DocumentProblem| {
            noted.code == Code::InvalidValue && noted.path == problem.path
        };
        !noted.iter().any(is_same)
    });
    problems.extend(noted);
    match read {
        Some(read) if problems.is_empty() => Ok(read),
        _ => Err(problems),
    }
}

/// A value and its path.
pub(crate) struct Node<'a> {
    path: String,
    value: Value,
    notes: &'a Notes,
}

impl<'a> Node<'a> {
    fn note(&self, code: Code, message: impl Into<String>) {
        note(self.notes, &self.path, code, message);
    }

    /// Returns the path without the value, to note a problem after the value has been read.
    pub(crate) fn place(&self) -> Self {
        Self {
            path: self.path.clone(),
            value: Value::Null,
            notes: self.notes,
        }
    }

    /// Returns `true` if a stored document is read.
    pub(crate) fn is_stored(&self) -> bool {
        self.notes.is_lenient
    }

    /// Notes that the value is invalid.
    pub(crate) fn invalid<T>(&self, message: impl Into<String>) -> Option<T> {
        self.note(Code::InvalidValue, message);
        None
    }

    /// Notes that the value has another type. The message does not show the value, which may be a
    /// misplaced secret.
    fn wrong<T>(&self, wanted: &str) -> Option<T> {
        let found = match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.note(Code::WrongType, format!("is {found}: write {wanted}"));
        None
    }

    /// Returns the value as text.
    pub(crate) fn text(&self, wanted: &str) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => self.wrong(wanted),
        }
    }

    /// Returns one of the words of a choice.
    pub(crate) fn word<T: Copy>(&self, choices: &[T], word: fn(T) -> &'static str) -> Option<T> {
        let all: Vec<&str> = choices.iter().map(|choice| word(*choice)).collect();
        let text = self.text(&format!("one of {}", all.join(", ")))?;
        let found = choices.iter().find(|choice| word(**choice) == text);
        found.copied().or_else(|| {
            self.invalid(format!(
                "{:?} is not valid: {}",
                bounded(text),
                instead(text, &all)
            ))
        })
    }

    /// Returns the members of an object.
    pub(crate) fn fields(self) -> Option<Fields<'a>> {
        match self.value {
            Value::Object(members) => Some(Fields {
                path: self.path,
                members,
                known: Vec::new(),
                notes: self.notes,
            }),
            _ => self.wrong("an object"),
        }
    }

    /// Returns the name and the value of the only member of an object.
    pub(crate) fn choice(self, choices: &[&str]) -> Option<(String, Self)> {
        let wanted = format!("an object with one of the members {}", choices.join(", "));
        let Value::Object(members) = &self.value else {
            return self.wrong(&wanted);
        };
        if members.len() != 1 {
            return self.invalid(format!("has {} members: write {wanted}", members.len()));
        }
        let mut fields = self.fields()?;
        let name = fields.members.keys().next()?.clone();
        let Some(known) = choices.iter().find(|choice| **choice == name) else {
            fields.unknown(&name, choices);
            return None;
        };
        let node = fields.node(known)?;
        Some((name, node))
    }

    fn items(self) -> Option<Vec<Self>> {
        let Value::Array(items) = self.value else {
            return self.wrong("a list");
        };
        let item = |(index, value)| Self {
            path: in_list(&self.path, index),
            value,
            notes: self.notes,
        };
        Some(items.into_iter().enumerate().map(item).collect())
    }
}

/// The members of an object. A member that is never read is a problem.
pub(crate) struct Fields<'a> {
    path: String,
    members: Map<String, Value>,
    known: Vec<&'static str>,
    notes: &'a Notes,
}

impl<'a> Fields<'a> {
    /// Returns `true` if a stored document is read.
    pub(crate) fn is_stored(&self) -> bool {
        self.notes.is_lenient
    }

    /// Returns `true` if the member is present.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// Returns a member. Returns `Some(None)` if it is missing, and `None` if it is invalid.
    pub(crate) fn maybe<T: Read>(&mut self, name: &'static str) -> Option<Option<T>> {
        self.known.push(name);
        match self.node(name) {
            Some(node) => T::read(node).map(Some),
            None => Some(None),
        }
    }

    /// Returns a member, or its default.
    pub(crate) fn or_default<T: Read + Default>(&mut self, name: &'static str) -> Option<T> {
        self.maybe(name).map(Option::unwrap_or_default)
    }

    /// Returns a required member.
    pub(crate) fn required<T: Read>(&mut self, name: &'static str) -> Option<T> {
        let read = self.maybe(name)?;
        if read.is_none() {
            self.note(name, Code::MissingMember, "is missing");
        }
        read
    }

    /// Notes that a member is invalid.
    pub(crate) fn invalid<T>(&self, name: &str, message: impl Into<String>) -> Option<T> {
        self.note(name, Code::InvalidValue, message);
        None
    }

    /// Notes that the object is invalid.
    pub(crate) fn invalid_here<T>(&self, message: impl Into<String>) -> Option<T> {
        note(self.notes, &self.path, Code::InvalidValue, message);
        None
    }

    /// Ends reading. A member that was not read is a problem.
    pub(crate) fn finish(self) {
        if self.notes.is_lenient {
            return;
        }
        for name in self.members.keys() {
            self.unknown(name, &self.known);
        }
    }

    fn unknown(&self, name: &str, known: &[&str]) {
        let message = format!("is not known: {}", instead(name, known));
        self.note(name, Code::UnknownMember, message);
    }

    fn note(&self, name: &str, code: Code, message: impl Into<String>) {
        note(self.notes, &join(&self.path, name), code, message);
    }

    fn node(&mut self, name: &str) -> Option<Node<'a>> {
        let value = self.members.remove(name)?;
        (!value.is_null()).then(|| Node {
            path: join(&self.path, name),
            value,
            notes: self.notes,
        })
    }
}

fn note(notes: &Notes, path: &str, code: Code, message: impl Into<String>) {
    notes.problems.borrow_mut().push(DocumentProblem {
        path: path.to_owned(),
        code,
        message: message.into(),
    });
}

/// Returns the suggestion for an unknown word.
pub(crate) fn instead(word: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|known| (distance(word, known), known))
        .filter(|(distance, known)| *distance * 3 <= known.len())
        .min();
    match near {
        Some((_, known)) => format!("did you mean {known:?}?"),
        None if known.is_empty() => "leave it out".to_owned(),
        None => format!("use one of {}", known.join(", ")),
    }
}

/// Returns the number of changed characters between two words. Case, `_` and `-` are ignored, and a
/// swap of two neighbours counts once.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    let plain = |word: &str| -> Vec<char> {
        let kept = word.chars().take(64).filter(|c| !"_-".contains(*c));
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    let (one, other) = (plain(one), plain(other));
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let changed = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (rows[i - 1][j - 1] + changed)
                .min(rows[i - 1][j] + 1)
                .min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
            if swapped {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

pub(super) fn join(path: &str, name: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let shown = match name.len() {
        ..=SHOWN => Cow::Borrowed(name),
        _ => Cow::Owned(bounded(name)),
    };
    match path {
        _ if name.is_empty() || !name.bytes().all(is_plain) => format!("{path}[{shown:?}]"),
        "" => shown.into_owned(),
        // Not `format!`, which takes four times as long, because every member passes through here.
        path => [path, ".", &shown].concat(),
    }
}

pub(super) fn in_list(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

fn bounded(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

impl Read for bool {
    fn read(node: Node<'_>) -> Option<Self> {
        match node.value {
            Value::Bool(value) => Some(value),
            _ => node.wrong("true or false"),
        }
    }
}

impl Read for String {
    fn read(node: Node<'_>) -> Option<Self> {
        node.text("a text").map(Self::from)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: Node<'_>) -> Option<Self> {
        // All items are read, so that each problem is noted.
        let items: Vec<Option<T>> = node.items()?.into_iter().map(T::read).collect();
        items.into_iter().collect()
    }
}

impl<K: FromStr<Err: Display> + Ord, T: Read> Read for BTreeMap<K, T> {
    fn read(node: Node<'_>) -> Option<Self> {
        let Fields {
            path,
            members,
            notes,
            known: _,
        } = node.fields()?;
        let entries = members.into_iter().map(|(name, value)| {
            let path = join(&path, &name);
            let node = Node { path, value, notes };
            let key = name.parse();
            let key = key
                .map_err(|error| node.invalid::<()>(format!("{error}")))
                .ok();
            key.zip(T::read(node))
        });
        let entries: Vec<Option<(K, T)>> = entries.collect();
        entries.into_iter().collect()
    }
}

macro_rules! numbers {
    ($($type:ty: $least:literal),*) => {
        $(
            impl Read for $type {
                fn read(node: Node<'_>) -> Option<Self> {
                    let wanted = format!("a whole number from {} to {}", $least, Self::MAX);
                    let Value::Number(number) = &node.value else {
                        return node.wrong(&wanted);
                    };
                    let read = number.as_u64().and_then(|number| Self::try_from(number).ok());
                    read.or_else(|| node.invalid(format!("{number} is not valid: use {wanted}")))
                }
            }
        )*
    };
}

numbers!(u8: 0, u16: 0, u32: 0);

macro_rules! counts {
    ($($type:ty: $plain:ty),*) => {
        $(
            impl Read for $type {
                fn read(node: Node<'_>) -> Option<Self> {
                    let wanted = format!("a whole number from 1 to {}", <$plain>::MAX);
                    let Value::Number(number) = &node.value else {
                        return node.wrong(&wanted);
                    };
                    let plain = number.as_u64().and_then(|number| <$plain>::try_from(number).ok());
                    plain
                        .and_then(Self::new)
                        .or_else(|| node.invalid(format!("{number} is not valid: use {wanted}")))
                }
            }
        )*
    };
}

counts!(NonZeroU16: u16, NonZeroU32: u32);

/// Implements `Read` by `FromStr`.
macro_rules! read_by_parsing {
    ($($type:ty: $wanted:literal),* $(,)?) => {
        $(
            impl crate::document::Read for $type {
                fn read(node: crate::document::Node<'_>) -> Option<Self> {
                    let parsed = node.text($wanted)?.parse();
                    match parsed {
                        Ok(parsed) => Some(parsed),
                        Err(error) => node.invalid(error.to_string()),
                    }
                }
            }
        )*
    };
}

pub(crate) use read_by_parsing;
