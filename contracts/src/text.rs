//! Bounded text that every store can hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text of 1 to `MAX` characters without U+0000, which Postgres cannot store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MAX: usize>(String);

/// The reason for an action, for the audit and the person concerned.
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

    /// Makes a valid text of any: removes U+0000, truncates to `MAX` characters, and replaces an empty
    /// text by `fallback`. For data that cannot be corrected, such as published events.
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
    fn text_can_be_fitted() {
        assert_eq!(Text::<3>::fitted("a\0bcd", "-").as_str(), "abc");
        assert_eq!(Text::<3>::fitted("\0", "-").as_str(), "-");
    }
}
