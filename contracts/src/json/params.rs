//! Reads the parameters of a query into a type, with the errors of a body.

use std::borrow::Cow;

use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::Error;
use super::read::Members;

/// Reads names and values. A parameter that `T` knows may occur once.
pub fn from_pairs<'de, T: DeserializeOwned>(
    pairs: impl Iterator<Item = (Cow<'de, str>, Cow<'de, str>)>,
) -> Result<T, Error> {
    let params = pairs.map(|(name, value)| (name, Param(value)));
    T::deserialize(MapAccessDeserializer::new(Members::of(params)))
}

/// A value: text, or a number or a truth value written as text.
struct Param<'de>(Cow<'de, str>);

macro_rules! parsed {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(Error::invalid_type(Unexpected::Str(&self.0), &visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Param<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        CowStrDeserializer::new(self.0).deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        CowStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    parsed! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_f32 visit_f32
        deserialize_f64 visit_f64
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::Fault;
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Query {
        tenant_id: String,
        limit: Option<u16>,
        kind: Option<Kind>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Arrival,
    }

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Query, Error> {
        from_pairs(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn parameters_are_read_by_name_and_unknown_ones_left_out() {
        let given =
            [("x", "1"), ("kind", "arrival"), ("limit", "7"), ("tenantId", "a"), ("x", "2")];
        let expected = Query { tenant_id: "a".into(), limit: Some(7), kind: Some(Kind::Arrival) };
        assert_eq!(read(&given), Ok(expected));
    }

    #[test]
    fn the_parameter_that_is_wrong_is_named() {
        for (given, field, fault) in [
            (&[("tenantId", "a"), ("tenantId", "a")][..], "query.tenantId", Fault::Duplicate),
            (&[("tenantId", "a"), ("limit", "x")], "query.limit", Fault::Invalid),
            (&[("tenantId", "a"), ("limit", "70000")], "query.limit", Fault::Invalid),
            (&[("tenantId", "a"), ("kind", "x")], "query.kind", Fault::Invalid),
            (&[("limit", "1")], "query.tenantId", Fault::Required),
        ] {
            let error = read(given).unwrap_err();
            assert_eq!((error.field("query"), error.fault()), (field.to_owned(), fault));
        }
    }
}
