//! Rules of request bodies, for `#[garde(custom(…))]`, and what a problem reports of a violation.

use std::fmt;

use crate::json::Fault;
use crate::text::Reason;

/// Separates code and sentence: garde keeps one text per violation.
const SEPARATOR: char = '\0';

/// A violation with its code. The sentence says what to send.
pub fn violation(code: Fault, sentence: impl fmt::Display) -> garde::Error {
    garde::Error::new(format!("{}{SEPARATOR}{sentence}", code.code()))
}

/// A violation with the code `INVALID`.
pub fn invalid(sentence: impl fmt::Display) -> garde::Error {
    violation(Fault::Invalid, sentence)
}

/// Fails as [`invalid`] unless the condition holds.
pub fn require(condition: bool, sentence: &str) -> garde::Result {
    if condition { Ok(()) } else { Err(invalid(sentence)) }
}

/// The code and the sentence of a [`violation`]; `None` for one of garde's own rules.
pub fn code_and_sentence(error: &garde::Error) -> Option<(&str, &str)> {
    error.message().split_once(SEPARATOR)
}

pub fn not_blank(reason: &Reason, _: &()) -> garde::Result {
    let is_blank = reason.as_str().trim().is_empty();
    require(!is_blank, "Give a reason that is not only white space.")
}
