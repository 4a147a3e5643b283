//! Malformed request bodies made from a valid one, and a valid body made from an OpenAPI schema.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

/// A body with one fault.
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
    /// The problem may name an outer member, because the parser itself has a depth limit.
    Nested,
}

/// All malformed variants of `body`.
pub fn malformed(body: &Value) -> Vec<Malformed> {
    let mut all = Vec::new();
    for pointer in pointers(body) {
        let value = body.pointer(&pointer).expect("the pointer is of this body");
        for (fault, member, json) in faults(value) {
            let text = with_text_at(body, &pointer, &json);
            let field = pointer.replace('/', ".") + &member;
            all.push(Malformed { fault, text, field: field.trim_start_matches('.').to_owned() });
        }
    }
    all
}

/// JSON pointers to the value and to the members inside it.
fn pointers(value: &Value) -> Vec<String> {
    let mut pointers = vec![String::new()];
    if let Value::Object(members) = value {
        for (name, inner) in members {
            pointers.extend(pointers_below(inner).into_iter().map(|rest| format!("/{name}{rest}")));
        }
    }
    pointers
}

fn pointers_below(value: &Value) -> Vec<String> {
    // Items of lists have no pointers of their own.
    if value.is_object() { pointers(value) } else { vec![String::new()] }
}

/// Replacements of a value: the fault, the member to be named, and the JSON.
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
        let object = Value::Object(members.clone()).to_string();
        let twice = format!("{},\"{name}\":{value}}}", &object[..object.len() - 1]);
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
    faults.extend(
        beyond.iter().map(|number| (Fault::OutOfRange, String::new(), json!(number).to_string())),
    );
    faults
}

/// The JSON of `value` with `json` at `pointer`.
fn with_text_at(value: &Value, pointer: &str, json: &str) -> String {
    const MARK: &str = "the value to replace";
    let mut marked = value.clone();
    *marked.pointer_mut(pointer).expect("the pointer is of this body") = MARK.into();
    marked.to_string().replacen(&format!("\"{MARK}\""), json, 1)
}

/// Makes a body with every member of the schema. Strings with a pattern must have an example or be ids.
///
/// # Panics
/// When the schema uses a feature that our documents do not.
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
    fn each_member_of_a_body_is_malformed_in_turn() {
        let body = json!({"at": "2026-11-21T12:00:00Z", "in": {"n": 1}, "list": ["a"]});
        let all = malformed(&body);
        let has = |fault, field: &str, text: &str| {
            all.iter().any(|body| body.fault == fault && body.field == field && body.text == text)
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
