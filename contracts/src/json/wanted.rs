//! Reads any JSON value, or of an object only some members.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Object, Value};

/// What is kept of a value. Strings that need no unescaping are borrowed from the input.
pub(super) enum Wanted<'w> {
    Whole,
    /// The members of an object at these paths. What is no object has none of them, and is read as
    /// null.
    Members(Vec<&'w str>),
}

impl<'w> Wanted<'w> {
    /// What is kept of the member `name`, if anything.
    fn below(&self, name: &str) -> Option<Self> {
        let Self::Members(paths) = self else { return Some(Self::Whole) };
        let rest = |path: &&'w str| match path.strip_prefix(name)? {
            "" => Some(""),
            rest => rest.strip_prefix('.'),
        };
        let rest: Vec<_> = paths.iter().filter_map(rest).collect();
        if rest.contains(&"") {
            return Some(Self::Whole);
        }
        (!rest.is_empty()).then_some(Self::Members(rest))
    }

    fn scalar<'de>(&self, value: Value<'de>) -> Value<'de> {
        if matches!(self, Self::Whole) { value } else { Value::Null }
    }
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A string, borrowed if possible.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Integer(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(self.scalar(i64::try_from(number).map_or(Value::Unsigned(number), Value::Integer)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Float(number)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        if let Self::Members(_) = self {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let mut object = Object(Vec::with_capacity(6));
        while let Some(Name(name)) = members.next_key()? {
            if let Some(wanted) = self.below(&name) {
                object.0.push((name, members.next_value_seed(wanted)?));
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(object))
    }
}
