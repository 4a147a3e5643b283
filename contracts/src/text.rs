//! Text that every store can hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text of 1 to `MAX` characters without U+0000, which Postgres stores in no text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MAX: usize>(String);

/// Why something is done, for the audit and for the person concerned.
pub type Reason = Text<200>;

/// The text is empty, too long, or has the character U+0000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {0} characters without U+0000")]
pub struct TextError(usize);

impl<const MAX: usize> Text<MAX> {
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        let is_good = (1..=MAX).contains(&text.chars().count()) && !text.contains('\0');
        if is_good { Ok(Self(text)) } else { Err(TextError(MAX)) }
    }

    /// Makes a text of anything: U+0000 is left out, the rest cut to `MAX` characters, and
    /// `fallback` stands for nothing. For what cannot be asked for again, as a published event.
    pub fn fitted(text: &str, fallback: &'static str) -> Self {
        let kept: String = text.chars().filter(|letter| *letter != '\0').take(MAX).collect();
        Self(if kept.is_empty() { fallback.to_owned() } else { kept })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_a_length_and_no_zero_character() {
        for good in ["a", "abc", "äöü", "\u{1f600}\u{1f600}\u{1f600}"] {
            assert_eq!(Text::<3>::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "abcd", "a\0", "\0"] {
            assert_eq!(Text::<3>::new(bad), Err(TextError(3)), "{bad:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_fitted() {
        assert_eq!(Text::<3>::fitted("a\0bcd", "-").as_str(), "abc");
        assert_eq!(Text::<3>::fitted("\0", "-").as_str(), "-");
    }
}
