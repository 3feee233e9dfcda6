//! Reads JSON values, and the problems that a value cannot contain.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::read::{in_list, join};
use super::{DocumentProblem, DocumentProblemCode as Code};

/// Returns the value, and a problem for each duplicate member and for each number that JSON does not
/// have. The value contains `null` instead of such a number.
pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(Value, Vec<DocumentProblem>), D::Error> {
    let problems = RefCell::default();
    let tree = Tree {
        place: &Place::Root,
        problems: &problems,
    };
    let value = tree.deserialize(deserializer)?;
    Ok((value, problems.into_inner()))
}

/// The place of a value. It is a linked list, because few places appear in a problem.
enum Place<'a> {
    Root,
    Member(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl Place<'_> {
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Member(parent, name) => join(&parent.path(), name),
            Self::Item(parent, index) => in_list(&parent.path(), *index),
        }
    }
}

struct Tree<'a> {
    place: &'a Place<'a>,
    problems: &'a RefCell<Vec<DocumentProblem>>,
}

impl Tree<'_> {
    fn note(&self, place: &Place<'_>, code: Code, message: impl Into<String>) {
        self.problems.borrow_mut().push(DocumentProblem {
            path: place.path(),
            code,
            message: message.into(),
        });
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        if let Some(number) = Number::from_f64(value) {
            return Ok(Value::Number(number));
        }
        // In the notation of TOML and YAML.
        let number = value.to_string().to_lowercase();
        let message = format!("{number} is not valid: use a finite number");
        self.note(self.place, Code::InvalidValue, message);
        Ok(Value::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let tree = Tree {
                place: &Place::Item(self.place, list.len()),
                ..self
            };
            match items.next_element_seed(tree)? {
                Some(item) => list.push(item),
                None => break,
            }
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let place = Place::Member(self.place, &key);
            let value = members.next_value_seed(Tree {
                place: &place,
                ..self
            })?;
            if map.contains_key(&key) {
                self.note(&place, Code::DuplicateMember, "is a duplicate: remove one");
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}
