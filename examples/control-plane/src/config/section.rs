//! Reads a TOML table field by field, so that an invalid field does not hide the next problem.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::problem::Problems;
use super::words::plain;
use crate::nearest;

/// A table of the document that is being read. A field that is not read is a problem at the end.
pub(super) struct Section<'p> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    problems: &'p Problems,
}

impl<'p> Section<'p> {
    /// Creates the section of the document itself.
    pub(super) fn root(table: Table, problems: &'p Problems) -> Self {
        Self::new(String::new(), table, problems)
    }

    pub(super) fn new(path: String, table: Table, problems: &'p Problems) -> Self {
        let known = Vec::new();
        Self {
            path,
            table,
            known,
            problems,
        }
    }

    /// Returns the path of a field of this table.
    pub(super) fn at(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Returns the path of this table.
    pub(super) fn path(&self) -> String {
        self.path.clone()
    }

    /// Returns `true` if the field is present.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Adds a problem of a field.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.problems.add(self.at(key), message);
    }

    /// Adds a problem of this table.
    pub(super) fn problem_here(&self, message: impl Into<String>) {
        self.problems.add(self.path.as_str(), message);
    }

    /// Reads a field. Returns `None` if it is absent or not valid.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        let value = self.take(key)?;
        read(&self.at(key), value, self.problems)
    }

    /// Reads a field that must be present.
    pub(super) fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.problem(key, "is missing");
        }
        self.optional(key)
    }

    /// Reads a list of strings and parses each. The list is empty if it is absent.
    pub(super) fn list<T>(&mut self, key: &'static str) -> Vec<T>
    where
        T: FromStr<Err: Display>,
    {
        let texts: Vec<String> = self.optional(key).unwrap_or_default();
        let parse = |(index, text): (usize, String)| match text.parse::<T>() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.problem(&format!("{key}[{index}]"), error.to_string());
                None
            }
        };
        texts.into_iter().enumerate().filter_map(parse).collect()
    }

    /// Reads a table. Returns `None` if it is absent or not a table. `hint` describes how to write it.
    pub(super) fn table(&mut self, key: &'static str, hint: &str) -> Option<Self> {
        match self.take(key)? {
            Value::Table(table) => Some(Self::new(self.at(key), table, self.problems)),
            // The value is not shown: it may be a secret in the wrong place.
            _ => {
                self.problem(key, format!("is not a table: {hint}"));
                None
            }
        }
    }

    /// Returns a table as written. Returns `None` if it is absent or not a table.
    pub(super) fn written(&mut self, key: &'static str) -> Option<Table> {
        match self.take(key)? {
            Value::Table(table) => Some(table),
            value => read(&self.at(key), value, self.problems),
        }
    }

    /// Reads an optional table.
    pub(super) fn table_or_empty(&mut self, key: &'static str) -> Self {
        let table = self.table(key, &format!("write [{}]", self.at(key)));
        table.unwrap_or_else(|| Self::new(self.at(key), Table::new(), self.problems))
    }

    /// Reads a list of tables, which is empty if it is absent.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let items = match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.problem(
                    key,
                    format!("is not a list of tables: write [[{}]]", self.at(key)),
                );
                Vec::new()
            }
        };
        let section = |(index, item)| {
            let path = format!("{}[{index}]", self.at(key));
            match item {
                Value::Table(table) => Some(Self::new(path, table, self.problems)),
                _ => {
                    self.problems.add(path, "is not a table");
                    None
                }
            }
        };
        items.into_iter().enumerate().filter_map(section).collect()
    }

    /// Returns the fields that were not read.
    pub(super) fn rest(mut self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.table).into_iter().collect()
    }

    /// Ends reading. A field that was not read is a problem.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let instead = nearest::instead(key, &self.known);
            self.problem(key, format!("is not known: {instead}"));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.remove(key)
    }
}

/// Reads a value with everything in it. An unknown member is a problem too.
fn read<T: DeserializeOwned>(path: &str, value: Value, problems: &Problems) -> Option<T> {
    let mut unknown =
        |inner: serde_ignored::Path<'_>| problems.add(join(path, &place(&inner)), "is not known");
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    match T::deserialize(serde_ignored::Deserializer::new(tracked, &mut unknown)) {
        Ok(read) => Some(read),
        Err(error) => {
            let inner = match track.path().to_string().as_str() {
                "." => String::new(),
                inner => inner.to_owned(),
            };
            problems.add(join(path, &inner), plain(error.message()));
            None
        }
    }
}

pub(super) fn join(path: &str, inner: &str) -> String {
    match inner {
        "" => path.to_owned(),
        _ if inner.starts_with('[') => format!("{path}{inner}"),
        _ => format!("{path}.{inner}"),
    }
}

/// Returns a path in the form `endpoints[0].name`.
fn place(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", place(parent)),
        Path::Map { parent, key } => match place(parent).as_str() {
            "" => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => place(parent),
    }
}
