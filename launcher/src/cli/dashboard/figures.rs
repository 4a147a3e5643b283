//! Names, amounts and counts of a widget's data as text.

use serde_json::Value;

/// Formats `housekeepingSummary` as `Housekeeping summary`.
pub(super) fn spaced(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.replace('_', " ").chars().enumerate() {
        match (index, letter.is_uppercase()) {
            (0, _) => text.extend(letter.to_uppercase()),
            (_, true) => {
                text.push(' ');
                text.extend(letter.to_lowercase());
            }
            (_, false) => text.push(letter),
        }
    }
    text
}

/// Formats `{"amountMicro":"120500000","currency":"EUR"}` as `120.50 EUR`, whole units without cents.
pub(super) fn money(value: &Value) -> Option<String> {
    let micro: i64 = value["amountMicro"].as_str()?.parse().ok()?;
    let hundredths = micro / 10_000;
    let sign = if hundredths < 0 { "-" } else { "" };
    let (whole, rest) = (hundredths.abs() / 100, hundredths.abs() % 100);
    let cents = if rest == 0 { String::new() } else { format!(".{rest:02}") };
    Some(format!("{sign}{whole}{cents} {}", value["currency"].as_str()?))
}

/// Formats the non-zero numbers of an object: `3 dirty, 12 ready`.
pub(super) fn counts(value: &Value) -> Option<String> {
    let parts = value.as_object()?.iter().filter_map(|(name, value)| match value {
        Value::Number(number) if number.as_f64() != Some(0.0) => {
            Some(format!("{number} {}", spaced(name).to_lowercase()))
        }
        _ => None,
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_spaced() {
        assert_eq!(spaced("housekeepingSummary"), "Housekeeping summary");
    }

    #[test]
    fn money_and_counts_are_readable() {
        let rate = json!({"amountMicro": "120500000", "currency": "EUR"});
        assert_eq!(money(&rate).unwrap(), "120.50 EUR");
        let tasks = json!({"pending": 2, "in_progress": 1, "failed": 0});
        let text = counts(&tasks).unwrap();
        assert!(text.contains("1 in progress") && text.contains("2 pending"), "{text}");
        assert!(!text.contains("failed"), "{text}");
    }
}
