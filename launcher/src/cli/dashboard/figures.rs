//! Generic key figures of a widget's data: numbers, short texts and list lengths. Ids are left out.

use serde_json::{Number, Value};

/// Label and value, in the order of the data.
pub(super) fn figures(data: &Value) -> Vec<(String, String)> {
    let Value::Object(members) = data else { return vec![] };
    members
        .iter()
        .filter(|(name, _)| !is_noise(name))
        .filter_map(|(name, value)| Some((spaced(name), figure(value)?)))
        .collect()
}

/// Ids and instants, which are in the tile's heading or of no interest here.
fn is_noise(name: &str) -> bool {
    name.ends_with("Id") || ["asOf", "timeZone", "currency"].contains(&name)
}

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

fn figure(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Number(number) => Some(short_number(number)),
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        Value::Array(items) => Some(short_list(items)),
        Value::Object(_) => money(value).or_else(|| counts(value)),
    }
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
            Some(format!("{} {}", short_number(number), spaced(name).to_lowercase()))
        }
        _ => None,
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn short_number(number: &Number) -> String {
    match (number.as_i64(), number.as_f64()) {
        (None, Some(float)) => {
            let text = format!("{float:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => number.to_string(),
    }
}

/// Formats the number of items and the first few names, if they have names.
fn short_list(items: &[Value]) -> String {
    let name = |item: &Value| {
        ["name", "displayName", "guestName", "title", "roomNumber"]
            .iter()
            .find_map(|key| item[key].as_str().map(str::to_owned))
    };
    let names: Vec<String> = items.iter().filter_map(name).take(3).collect();
    match (items.len(), names.is_empty()) {
        (0, _) => "none".to_owned(),
        (count, true) => count.to_string(),
        (count, false) if count > names.len() => format!("{count}: {} …", names.join(", ")),
        (count, false) => format!("{count}: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(data: &Value) -> Vec<String> {
        figures(data).into_iter().map(|(label, value)| format!("{label} {value}")).collect()
    }

    #[test]
    fn names_are_spaced() {
        assert_eq!(spaced("housekeepingSummary"), "Housekeeping summary");
    }

    #[test]
    fn ids_are_left_out_and_lists_are_short() {
        let data = json!({"propertyId": "ppt_1", "free": 3, "rooms": [1, 2]});
        assert_eq!(shown(&data), ["Free 3", "Rooms 2"]);
    }

    #[test]
    fn money_and_counts_are_readable() {
        let rate = json!({"rate": {"amountMicro": "120500000", "currency": "EUR"}});
        assert_eq!(shown(&rate), ["Rate 120.50 EUR"]);
        let tasks = json!({"tasks": {"pending": 2, "in_progress": 1, "failed": 0}});
        assert_eq!(shown(&tasks).len(), 1);
        assert!(shown(&tasks)[0].contains("1 in progress"));
    }
}
