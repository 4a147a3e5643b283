//! Strict JSON (RFC 8259) for everything that callers send: headers, claims and request bodies.
//!
//! The top level is one object, a member name occurs once in an object (RFC 7515 section 4,
//! RFC 7519 section 4), and values nest at most [`MAX_DEPTH`] levels deep. Claims and headers are
//! read as an [`Object`]; a request body is read into its type with [`from_slice`], which also refuses an
//! array where an object is expected and names the invalid member.

use std::borrow::Cow;

mod check;
mod error;
mod params;
mod published;
mod read;
mod wanted;

pub use check::ZeroCharacter;
pub use error::{Error, Fault};
pub use params::from_pairs;
pub use published::{from_published, published_text};

/// Nested arrays and objects of a document, the outermost included.
pub const MAX_DEPTH: usize = 64;

use serde::de::{DeserializeOwned, DeserializeSeed};
use serde::{Deserialize, Deserializer};
use wanted::Wanted;

/// Any value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// An integer above the largest `i64`.
    Unsigned(u64),
    /// A fraction, an exponent, or an integer out of range.
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
}

/// The members of an object, each name once, in the order of the document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// Reads a request body. The caller bounds its size.
///
/// The body must be one object, and wherever `T` has a struct, the body must have an object: serde
/// would also take an array of the fields in order. The error names the invalid member.
pub fn from_slice<T: DeserializeOwned>(json: &[u8], zero: ZeroCharacter) -> Result<T, Error> {
    let mut value: Value<'_> =
        serde_json::from_slice(json).map_err(|error| Error::syntax(&error))?;
    if !matches!(value, Value::Object(_)) {
        return Err(Error::expected("an object"));
    }
    check::value(&mut value, zero)?;
    T::deserialize(value)
}

impl<'a> Object<'a> {
    /// Reads one object and nothing after it. The caller bounds the size; the depth is bounded here.
    pub fn parse(json: &'a [u8]) -> Result<Self, Error> {
        let mut value = serde_json::from_slice(json).map_err(|error| Error::syntax(&error))?;
        check::value(&mut value, ZeroCharacter::Kept)?;
        match value {
            Value::Object(object) => Ok(object),
            _ => Err(Error::expected("an object")),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether the member is present, even as `null`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The member, or `None` if it is missing or not a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        let Value::Integer(number) = self.get(name)? else { return None };
        Some(*number)
    }

    /// Whether the member is `true`; the string `"true"` is not.
    pub fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    pub fn object(&self, name: &str) -> Option<&Object<'a>> {
        let Value::Object(object) = self.get(name)? else { return None };
        Some(object)
    }

    /// The member, or `None` if it is missing or not an array of strings.
    pub fn texts(&self, name: &str) -> Option<Vec<&str>> {
        let Value::List(values) = self.get(name)? else { return None };
        values.iter().map(Value::text).collect()
    }
}

impl Value<'_> {
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Wanted::Whole.deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests;
