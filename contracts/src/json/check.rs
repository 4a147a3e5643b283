//! Checks of a parsed document before it is read.

use std::borrow::Cow;

use super::{Error, Fault, MAX_DEPTH, Object, Value};

/// Objects up to this size are searched for repeated names pairwise.
const LINEAR_SCAN_MEMBERS: usize = 16;

/// How to treat the character U+0000, which Postgres cannot store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroCharacter {
    /// Refuse texts that contain it, so that the sender corrects the request.
    Refused,
    /// Remove it: a published event cannot be corrected and must not be lost.
    Dropped,
    /// Keep it, in documents that are not stored.
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
    if object.0.len() <= LINEAR_SCAN_MEMBERS {
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
