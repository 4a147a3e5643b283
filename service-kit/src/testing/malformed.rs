//! Request bodies that no server may take, made from one that it takes; and a body made from the
//! schema of an OpenAPI document.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

/// A body that is wrong in one place.
#[derive(Debug, Clone)]
pub struct Malformed {
    /// What is wrong with it.
    pub fault: Fault,
    pub text: String,
    /// The member that is wrong, below `body`; empty for the body itself.
    pub field: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    ArrayForObject,
    DuplicateMember,
    ZeroCharacter,
    OutOfRange,
    OtherType,
    /// The refusal may name a member further up: the parser itself gives up at some depth.
    Nested,
}

/// Every way in which each part of `body` can be wrong.
pub fn malformed(body: &Value) -> Vec<Malformed> {
    let mut all = Vec::new();
    for place in places(body) {
        let value = body.pointer(&place).expect("the place is of this body");
        for (fault, member, json) in faults(value) {
            let text = with_text_at(body, &place, &json);
            let field = place.replace('/', ".") + &member;
            all.push(Malformed { fault, text, field: field.trim_start_matches('.').to_owned() });
        }
    }
    all
}

/// JSON pointers to the value and to all inside it. Lists of the tests have one item, of which the
/// pointer is spelled as a field is.
fn places(value: &Value) -> Vec<String> {
    let mut places = vec![String::new()];
    if let Value::Object(members) = value {
        for (name, inner) in members {
            places.extend(places_below(inner).into_iter().map(|rest| format!("/{name}{rest}")));
        }
    }
    places
}

fn places_below(value: &Value) -> Vec<String> {
    // Items of lists are judged as the list is.
    if value.is_object() { places(value) } else { vec![String::new()] }
}

/// What stands instead of a value, the member it is about, and why that is wrong.
fn faults(value: &Value) -> Vec<(Fault, String, String)> {
    let mut faults = match value {
        Value::Object(members) => of_object(members),
        Value::String(text) => of_text(text),
        Value::Number(number) => vec![(Fault::OtherType, String::new(), format!("\"{number}\""))],
        Value::Bool(_) => vec![(Fault::OtherType, String::new(), "1".to_owned())],
        Value::Array(_) => vec![(Fault::OtherType, String::new(), json!({"0": 1}).to_string())],
        Value::Null => Vec::new(),
    };
    for levels in [64, 65, 1_000, 10_000] {
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        faults.push((Fault::Nested, String::new(), nested));
        let nested = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        faults.push((Fault::Nested, String::new(), nested));
    }
    faults
}

fn of_object(members: &Map<String, Value>) -> Vec<(Fault, String, String)> {
    let values: Vec<&Value> = members.values().collect();
    let mut faults = vec![
        (Fault::ArrayForObject, String::new(), json!(values).to_string()),
        (Fault::ArrayForObject, String::new(), "[]".to_owned()),
        (Fault::OtherType, String::new(), "\"text\"".to_owned()),
    ];
    for (name, value) in members {
        let whole = Value::Object(members.clone()).to_string();
        let twice = format!("{},\"{name}\":{value}}}", &whole[..whole.len() - 1]);
        faults.push((Fault::DuplicateMember, format!(".{name}"), twice));
    }
    faults
}

fn of_text(text: &str) -> Vec<(Fault, String, String)> {
    let mut faults = vec![
        (Fault::OtherType, String::new(), "1".to_owned()),
        (Fault::OtherType, String::new(), "true".to_owned()),
        (Fault::ZeroCharacter, String::new(), json!(format!("{text}\0")).to_string()),
        (Fault::ZeroCharacter, String::new(), json!(format!("\0{text}")).to_string()),
    ];
    let beyond: &[&str] = if text.parse::<Timestamp>().is_ok() {
        &["-004800-01-01T00:00:00Z", "0000-12-31T23:59:59Z", "+010000-01-01T00:00:00Z"]
    } else if text.parse::<Date>().is_ok() {
        &["-004800-01-01", "0000-12-31", "+010000-01-01"]
    } else {
        &[]
    };
    faults
        .extend(beyond.iter().map(|it| (Fault::OutOfRange, String::new(), json!(it).to_string())));
    faults
}

/// The JSON of `value` with `json` at `place`.
fn with_text_at(value: &Value, place: &str, json: &str) -> String {
    const MARK: &str = "the place that is replaced";
    let mut marked = value.clone();
    *marked.pointer_mut(place).expect("the place is of this body") = MARK.into();
    marked.to_string().replacen(&format!("\"{MARK}\""), json, 1)
}

/// A body with every member of the schema. Texts that have a pattern must have an example, or be ids.
///
/// # Panics
/// When the schema has a form that the handlers' documents do not use.
pub fn example(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let path = reference.trim_start_matches('#');
        return example(document, document.pointer(path).expect("a reference leads somewhere"));
    }
    if let Some(one) = schema["oneOf"].as_array() {
        let one = one.iter().find(|schema| schema["type"] != "null");
        return example(document, one.expect("something besides null"));
    }
    if let Some(given) = schema.get("example") {
        return given.clone();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[0].clone();
    }
    let kind = schema["type"].as_array().map_or(&schema["type"], |kinds| &kinds[0]);
    match kind.as_str().expect("a schema has a type") {
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            members.map(|(name, inner)| (name.clone(), example(document, inner))).collect()
        }
        "array" => json!([example(document, &schema["items"])]),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        _ => json!(text(schema)),
    }
}

fn text(schema: &Value) -> String {
    match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("date-time"), _) => "2026-11-21T12:00:00.000Z".to_owned(),
        (Some("date"), _) => "2026-11-21".to_owned(),
        (_, Some(pattern)) => format!("{}01K0000000000000000000000A", &pattern[1..5]),
        _ => "text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_of_a_body_is_made_wrong_and_only_that() {
        let body = json!({"at": "2026-11-21T12:00:00Z", "in": {"n": 1}, "list": ["a"]});
        let all = malformed(&body);
        let has = |fault, field: &str, text: &str| {
            all.iter().any(|it| it.fault == fault && it.field == field && it.text == text)
        };
        let rest = r#""in":{"n":1},"list":["a"]}"#;
        assert!(has(
            Fault::ZeroCharacter,
            "at",
            &format!(r#"{{"at":"2026-11-21T12:00:00Z\u0000",{rest}"#)
        ));
        assert!(has(Fault::OutOfRange, "at", &format!(r#"{{"at":"0000-12-31T23:59:59Z",{rest}"#)));
        let before = r#"{"at":"2026-11-21T12:00:00Z","#;
        assert!(has(Fault::ArrayForObject, "in", &format!(r#"{before}"in":[1],"list":["a"]}}"#)));
        assert!(has(
            Fault::DuplicateMember,
            "in.n",
            &format!(r#"{before}"in":{{"n":1,"n":1}},"list":["a"]}}"#)
        ));
        assert!(has(
            Fault::OtherType,
            "in.n",
            &format!(r#"{before}"in":{{"n":"1"}},"list":["a"]}}"#)
        ));
        assert!(has(Fault::ArrayForObject, "", r#"["2026-11-21T12:00:00Z",{"n":1},["a"]]"#));
    }
}
