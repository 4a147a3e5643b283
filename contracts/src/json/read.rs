//! Deserializes a checked [`Value`], so that only an object is accepted for a struct.

use std::borrow::Cow;

use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{Error, Value};

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(it) => visitor.visit_bool(it),
            Value::Integer(it) => match u64::try_from(it) {
                Ok(it) => visitor.visit_u64(it),
                Err(_) => visitor.visit_i64(it),
            },
            Value::Unsigned(it) => visitor.visit_u64(it),
            Value::Float(it) => visitor.visit_f64(it),
            Value::Text(Cow::Borrowed(it)) => visitor.visit_borrowed_str(it),
            Value::Text(Cow::Owned(it)) => visitor.visit_string(it),
            Value::List(it) => visitor.visit_seq(Items { rest: it.into_iter().enumerate() }),
            Value::Object(it) => visitor.visit_map(Members::of(it.0)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Accepts only an object, although a derived visitor would also take a sequence of the fields.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Value::Object(it) => visitor.visit_map(Members::of(it.0)),
            _ => Err(Error::expected("an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Value::Text(it) => visitor.visit_enum(CowStrDeserializer::new(it)),
            Value::Object(it) => MapAccessDeserializer::new(Members::of(it.0))
                .deserialize_enum(name, variants, visitor),
            _ => Err(Error::expected(format_args!("one of {}", variants.join(", ")))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier
    }
}

struct Items<'de> {
    rest: std::iter::Enumerate<std::vec::IntoIter<Value<'de>>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, value)) = self.rest.next() else { return Ok(None) };
        seed.deserialize(value).map(Some).map_err(|error| error.in_item(index))
    }
}

/// Members of an object, or parameters of a query. An error in a value names its member.
pub(super) struct Members<'de, I, V> {
    rest: I,
    /// The member whose name was read last.
    next: Option<(Cow<'de, str>, V)>,
}

impl<I, V> Members<'_, I, V> {
    pub(super) fn of(members: impl IntoIterator<IntoIter = I>) -> Self {
        Self { rest: members.into_iter(), next: None }
    }
}

impl<'de, I, V> MapAccess<'de> for Members<'de, I, V>
where
    I: Iterator<Item = (Cow<'de, str>, V)>,
    V: Deserializer<'de, Error = Error>,
{
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        let key = seed.deserialize(CowStrDeserializer::new(name.clone()))?;
        self.next = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let Some((name, value)) = self.next.take() else {
            return Err(Error::expected("a member's name before its value"));
        };
        seed.deserialize(value).map_err(|error| error.in_member(&name))
    }
}
