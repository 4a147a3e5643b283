//! Money: millionths of a currency unit, as a string so that no client rounds it.

use serde::{Deserialize, Serialize};

/// `{"amountMicro":"125000000","currency":"AFN"}` is 125.00 afghani.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Money {
    /// Millionths of the unit, a decimal integer in its shortest form: no plus sign, no leading zeros.
    #[serde(with = "as_text")]
    #[schema(value_type = String, pattern = "^(0|-?[1-9][0-9]{0,18})$", example = "125000000")]
    pub amount_micro: i64,
    pub currency: Currency,
}

/// ISO 4217 code: three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[A-Z]{3}$", example = "AFN")]
pub struct Currency([u8; 3]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an ISO 4217 currency code of three capital letters")]
pub struct CurrencyError;

impl TryFrom<String> for Currency {
    type Error = CurrencyError;

    fn try_from(code: String) -> Result<Self, CurrencyError> {
        let code: [u8; 3] = code.as_bytes().try_into().map_err(|_| CurrencyError)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(CurrencyError) }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0.iter().map(|&letter| char::from(letter)).collect()
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        canonical(&text).ok_or_else(|| {
            de::Error::custom("expected an integer as a string, without plus sign or leading zeros")
        })
    }

    /// Parses an integer in canonical form.
    fn canonical(text: &str) -> Option<i64> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_zero = text == "0";
        let is_shortest = digits.starts_with(|first: char| ('1'..='9').contains(&first));
        text.parse().ok().filter(|_| is_zero || is_shortest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_travels_as_text_and_a_number_is_refused() {
        let wire = r#"{"amountMicro":"-125000000","currency":"AFN"}"#;
        let money: Money = serde_json::from_str(wire).unwrap();
        assert_eq!(money.amount_micro, -125_000_000);
        assert_eq!(serde_json::to_string(&money).unwrap(), wire);
        assert!(serde_json::from_str::<Money>(r#"{"amountMicro":1,"currency":"AFN"}"#).is_err());
        for currency in ["afn", "AF", "AFNI", "AF1", " AFN", ""] {
            let wire = format!(r#"{{"amountMicro":"1","currency":"{currency}"}}"#);
            assert!(serde_json::from_str::<Money>(&wire).is_err(), "{currency}");
        }
    }

    #[test]
    fn an_amount_has_one_form() {
        let read = |amount: &str| {
            let wire = serde_json::json!({"amountMicro": amount, "currency": "AFN"});
            serde_json::from_value::<Money>(wire).ok().map(|money| money.amount_micro)
        };
        for amount in ["0", "1", "-1", "10", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(read(amount).map(|money| money.to_string()).as_deref(), Some(amount));
        }
        for amount in [
            "",
            "-",
            "+1",
            "+0",
            "-0",
            "00",
            "01",
            "-01",
            "0001000000",
            " 1",
            "1 ",
            "1.0",
            "1e6",
            "0x1",
            "1_000",
            "9223372036854775808",
            "\u{661}",
            "\u{ff11}",
        ] {
            assert_eq!(read(amount), None, "{amount}");
        }
    }
}
