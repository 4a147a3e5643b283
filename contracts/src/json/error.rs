//! Why a document was refused, and at which member.

use std::fmt;

use serde::de;

/// Characters of a member's name in an error; the rest is cut.
const MAX_NAME_CHARS: usize = 64;

/// What is wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Fault {
    /// The document is not JSON.
    #[strum(serialize = "INVALID")]
    Syntax,
    /// Unexpected type or value.
    Invalid,
    /// The member is missing.
    Required,
    /// No such member is known.
    Unknown,
    /// The member occurs twice.
    Duplicate,
    /// The document nests too deep.
    TooDeep,
}

impl Fault {
    /// As in `errors[].code` of a problem.
    pub fn code(self) -> &'static str {
        self.into()
    }
}

/// A document that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    fault: Fault,
    detail: String,
    /// Steps from the member to the root.
    path: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
}

impl Error {
    pub(super) fn of(fault: Fault, detail: String) -> Self {
        Self { fault, detail, path: Vec::new() }
    }

    pub(super) fn syntax(error: &serde_json::Error) -> Self {
        Self::of(Fault::Syntax, error.to_string())
    }

    pub(super) fn expected(what: impl fmt::Display) -> Self {
        let what = what.to_string();
        Self::of(Fault::Invalid, format!("expected {}", plain(&what).unwrap_or(&what)))
    }

    pub(super) fn in_member(mut self, name: &str) -> Self {
        let visible = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
        self.path.push(Step::Member(name.chars().take(MAX_NAME_CHARS).map(visible).collect()));
        self
    }

    pub(super) fn in_item(mut self, index: usize) -> Self {
        self.path.push(Step::Item(index));
        self
    }

    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The member below `root`: `body.amount.currency`, `body.rooms[2]`.
    pub fn field(&self, root: &str) -> String {
        let mut field = root.to_owned();
        for step in self.path.iter().rev() {
            match step {
                Step::Member(name) => field.extend([".", name]),
                Step::Item(index) => field.extend(["[", &index.to_string(), "]"]),
            }
        }
        field
    }
}

/// What serde expects, in words of JSON; none for what says so already.
fn plain(expected: &str) -> Option<&'static str> {
    Some(match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a character" | "char" => "one character",
        "a sequence" => "an array",
        "a map" => "an object",
        "unit" | "option" => "null",
        _ => return None,
    })
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::of(Fault::Invalid, message.to_string())
    }

    /// Without the value, which may be a secret.
    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::expected(expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::expected(format_args!("one of {}", expected.join(", ")))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::of(Fault::Required, "the member is missing".to_owned()).in_member(name)
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::of(Fault::Duplicate, "the member occurs twice".to_owned()).in_member(name)
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self::of(Fault::Unknown, "there is no such member".to_owned()).in_member(name)
    }
}
