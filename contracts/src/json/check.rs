//! What a parsed document must hold before anything reads it.

use std::borrow::Cow;

use super::{Error, Fault, MAX_DEPTH, Object, Value};

/// Up to this many members are compared one by one.
const FEW: usize = 16;

/// What becomes of the character U+0000, which Postgres stores in no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroCharacter {
    /// A text that has it is refused: the sender can correct the request.
    Refused,
    /// It is left out: an event that was published cannot be corrected, and must not be lost for it.
    Dropped,
    /// For documents that reach no store.
    Kept,
}

/// Checks depth, names and texts, and removes what `zero` says.
pub(super) fn value(value: &mut Value<'_>, zero: ZeroCharacter) -> Result<(), Error> {
    at_depth(value, 0, zero)
}

fn at_depth(value: &mut Value<'_>, depth: usize, zero: ZeroCharacter) -> Result<(), Error> {
    let is_nesting = matches!(value, Value::List(_) | Value::Object(_));
    if is_nesting && depth == MAX_DEPTH {
        return Err(Error::of(Fault::TooDeep, format!("values nest more than {MAX_DEPTH} levels")));
    }
    match value {
        Value::Text(it) => text(it, zero),
        Value::List(values) => values.iter_mut().enumerate().try_for_each(|(index, value)| {
            at_depth(value, depth + 1, zero).map_err(|error| error.in_item(index))
        }),
        Value::Object(members) => object(members, depth, zero),
        _ => Ok(()),
    }
}

fn object(object: &mut Object<'_>, depth: usize, zero: ZeroCharacter) -> Result<(), Error> {
    for (name, value) in &mut object.0 {
        text(name, zero).map_err(|error| error.in_member(name))?;
        at_depth(value, depth + 1, zero).map_err(|error| error.in_member(name))?;
    }
    match repeated(object) {
        Some(name) => {
            Err(Error::of(Fault::Duplicate, "the member occurs twice".to_owned()).in_member(name))
        }
        None => Ok(()),
    }
}

fn text(text: &mut Cow<'_, str>, zero: ZeroCharacter) -> Result<(), Error> {
    if zero == ZeroCharacter::Kept || !text.contains('\0') {
        return Ok(());
    }
    if zero == ZeroCharacter::Refused {
        let detail = "the text has the character U+0000, which cannot be stored";
        return Err(Error::of(Fault::Invalid, detail.to_owned()));
    }
    *text = Cow::Owned(text.replace('\0', ""));
    Ok(())
}

/// A name that occurs more than once.
fn repeated<'o>(object: &'o Object<'_>) -> Option<&'o str> {
    let names = object.0.iter().map(|(name, _)| name.as_ref());
    if object.0.len() <= FEW {
        let mut rest = names.clone();
        return names.into_iter().find(|name| {
            rest.next();
            rest.clone().any(|other| other == *name)
        });
    }
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
