//! JSON as headers and claims are read: strictly (RFC 8259), a member that stands twice is
//! refused at any depth (RFC 7515 section 4, RFC 7519 section 4), and a member that is `null`
//! is present. Texts are borrowed.
//!
//! Not for documents of people or of services: those are read into their own types.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Up to this many members are compared one by one.
const FEW: usize = 16;

/// Any value. Numbers that are not integers of 64 bits are told apart from nothing else.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// A fraction, an exponent, or out of range.
    Number,
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
}

/// The members of an object, each name once, in the order they came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// It is not one JSON object, or a name in it stands twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected one JSON object in which no name stands twice")]
pub struct JsonError;

impl<'a> Object<'a> {
    /// Reads one object and nothing after it. The caller bounds the size; the depth is bounded here.
    pub fn parse(json: &'a [u8]) -> Result<Self, JsonError> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(JsonError),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether the member is there, even as `null`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The member if it is a text; absent and another type are one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether the member is there and `true`, not a text that says so.
    pub fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    pub fn object(&self, name: &str) -> Option<&Object<'a>> {
        match self.get(name)? {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The member if it is a list of texts only.
    pub fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.get(name)? {
            Value::List(values) => values.iter().map(Value::text).collect(),
            _ => None,
        }
    }

    /// Adds a member; false when its name is there already among the few that are compared at once.
    fn push(&mut self, name: Cow<'a, str>, value: Value<'a>) -> bool {
        if self.0.len() < FEW && self.has(&name) {
            return false;
        }
        self.0.push((name, value));
        true
    }

    /// For objects with many members, which nobody compares pair by pair.
    fn has_twins(&self) -> bool {
        if self.0.len() <= FEW {
            return false;
        }
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
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
        deserializer.deserialize_any(AnyValue)
    }
}

/// Keeps what was read, borrowed from the input where it needs no unescaping.
struct AnyValue;

/// A name or a text, borrowed where that is possible.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(number).map_or(Value::Number, Value::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let mut object = Object(Vec::with_capacity(6));
        while let Some((Name(name), value)) = members.next_entry()? {
            if !object.push(name, value) {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        if object.has_twins() {
            return Err(A::Error::custom("a name stands twice"));
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> bool {
        Object::parse(json.as_bytes()).is_err()
    }

    #[test]
    fn members_are_told_by_type_and_null_is_present() {
        let object =
            Object::parse(br#"{"a":"\u0061","n":null,"i":-7,"f":1.0,"l":["x"],"o":{}}"#).unwrap();
        assert_eq!(object.text("a"), Some("a"));
        assert!(object.has("n") && !object.has("z"));
        assert_eq!((object.integer("i"), object.integer("f")), (Some(-7), None));
        assert_eq!(object.texts("l"), Some(vec!["x"]));
        assert!(object.object("o").is_some() && object.text("o").is_none());
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_at_any_depth() {
        assert!(refused(r#"{"a":1,"a":1}"#));
        assert!(refused(r#"{"a":1,"\u0061":1}"#), "the same name, escaped");
        assert!(refused(r#"{"a":{"b":[{"c":1,"c":2}]}}"#));
        let many: Vec<String> = (0..40).map(|n| format!(r#""m{n}":0"#)).collect();
        assert!(!refused(&format!("{{{}}}", many.join(","))));
        assert!(refused(&format!(r#"{{{},"m39":0}}"#, many.join(","))));
        assert!(refused(&format!(r#"{{{},"m0":0}}"#, many.join(","))));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for bad in
            ["", "[]", "null", r#""a""#, "{}{}", "{} x", "{'a':1}", "\u{feff}{}", "{\"a\":NaN}"]
        {
            assert!(refused(bad), "{bad}");
        }
        assert!(refused(&format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500))));
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
    }
}
