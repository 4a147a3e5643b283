//! Telephone numbers that can be dialled from anywhere.

use serde::{Deserialize, Serialize};

/// E.164 with its plus sign: `+`, a country code that does not begin with 0, at most 15 digits in all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PhoneNumber(String);

/// The text is no E.164 number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an E.164 number like +93205550114")]
pub struct PhoneNumberError;

impl TryFrom<String> for PhoneNumber {
    type Error = PhoneNumberError;

    fn try_from(text: String) -> Result<Self, PhoneNumberError> {
        let digits = text.strip_prefix('+').unwrap_or_default().as_bytes();
        let is_good = (1..=15).contains(&digits.len())
            && !digits.starts_with(b"0")
            && digits.iter().all(u8::is_ascii_digit);
        if is_good { Ok(Self(text)) } else { Err(PhoneNumberError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_e_164_with_its_plus_sign() {
        for good in ["+1", "+93700", "+93205550114", "+123456789012345"] {
            assert_eq!(PhoneNumber::try_from(good.to_owned()).unwrap().0, good);
        }
        for bad in [
            "",
            "+",
            "0700000",
            "93700",
            "+0700",
            "+abc",
            " +93700",
            "+93 700",
            "+93\n",
            "++93",
            "٣",
            "+٣",
            "+1234567890123456",
            "+93\0",
        ] {
            assert_eq!(PhoneNumber::try_from(bad.to_owned()), Err(PhoneNumberError), "{bad:?}");
        }
    }
}
