use serde::Deserialize;

use super::*;
use crate::money::Money;

fn refused(json: &str) -> bool {
    Object::parse(json.as_bytes()).is_err()
}

#[test]
fn members_are_found_by_type_and_null_is_present() {
    let object =
        Object::parse(br#"{"a":"\u0061","n":null,"i":-7,"f":1.0,"l":["x"],"o":{}}"#).unwrap();
    assert_eq!(object.text("a"), Some("a"));
    assert!(object.has("n") && !object.has("z"));
    assert_eq!((object.integer("i"), object.integer("f")), (Some(-7), None));
    assert_eq!(object.texts("l"), Some(vec!["x"]));
    assert!(object.object("o").is_some() && object.text("o").is_none());
}

#[test]
fn a_repeated_name_is_refused_at_any_depth() {
    assert!(refused(r#"{"a":1,"a":1}"#));
    assert!(refused(r#"{"a":1,"\u0061":1}"#), "the same name, escaped");
    assert!(refused(r#"{"a":{"b":[{"c":1,"c":2}]}}"#));
    let many: Vec<String> = (0..40).map(|n| format!(r#""m{n}":0"#)).collect();
    assert!(!refused(&format!("{{{}}}", many.join(","))));
    assert!(refused(&format!(r#"{{{},"m39":0}}"#, many.join(","))));
    assert!(refused(&format!(r#"{{{},"m0":0}}"#, many.join(","))));
}

#[test]
fn a_document_must_be_one_object() {
    for bad in ["", "[]", "null", r#""a""#, "{}{}", "{} x", "{'a':1}", "\u{feff}{}", "{\"a\":NaN}"]
    {
        assert!(refused(bad), "{bad}");
    }
    assert!(refused(&format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500))));
    assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    amount: Money,
    #[serde(default)]
    room_ids: Vec<u8>,
    note: Option<String>,
    #[serde(default)]
    inner: Vec<Inner>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Inner {
    kind: Kind,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    A,
    B(u8),
}

const AMOUNT: &str = r#""amount":{"amountMicro":"1","currency":"AFN"}"#;

fn fault(json: &str) -> (String, Fault) {
    let error = from_slice::<Body>(json.as_bytes(), ZeroCharacter::Refused).unwrap_err();
    (error.field("body"), error.fault())
}

#[test]
fn a_body_is_read_into_its_type() {
    let json = format!(
        r#"{{{AMOUNT},"roomIds":[1,2],"note":"\u0061\n","inner":[{{"kind":"a"}},{{"kind":{{"b":7}}}}]}}"#
    );
    let body: Body = from_slice(json.as_bytes(), ZeroCharacter::Refused).unwrap();
    assert_eq!(body, serde_json::from_str(&json).unwrap());
}

#[test]
fn numbers_of_any_kind_keep_their_value() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Numbers(serde_json::Value);
    let json = r#"{"a":-7,"b":18446744073709551615,"c":1.5,"d":9007199254740993,"e":1e300}"#;
    let read: Numbers = from_slice(json.as_bytes(), ZeroCharacter::Refused).unwrap();
    assert_eq!(read.0, serde_json::from_str::<serde_json::Value>(json).unwrap());
}

#[test]
fn each_fault_names_its_member() {
    let wrong = |rest: &str| fault(&format!("{{{AMOUNT},{rest}}}"));
    for (found, field, kind) in [
        (fault(r#"[{"amountMicro":"1","currency":"AFN"},[],null,[]]"#), "body", Fault::Invalid),
        (fault("{"), "body", Fault::Syntax),
        (fault("{}"), "body.amount", Fault::Required),
        (fault(r#"{"amount":["1","AFN"]}"#), "body.amount", Fault::Invalid),
        (fault(r#"{"amount":{"currency":"AFN"}}"#), "body.amount.amountMicro", Fault::Required),
        (
            fault(r#"{"amount":{"amountMicro":1,"currency":"AFN"}}"#),
            "body.amount.amountMicro",
            Fault::Invalid,
        ),
        (wrong(r#""roomIds":[1,"x"]"#), "body.roomIds[1]", Fault::Invalid),
        (wrong(r#""inner":[["a"]]"#), "body.inner[0]", Fault::Invalid),
        (wrong(r#""inner":[{"kind":"c"}]"#), "body.inner[0].kind", Fault::Invalid),
        (wrong(r#""more":1"#), "body.more", Fault::Unknown),
        (wrong(r#""note":"a","note":"a""#), "body.note", Fault::Duplicate),
        (wrong(r#""note":"a\u0000""#), "body.note", Fault::Invalid),
        (wrong(r#""no\u0000te":"a""#), "body.no\u{fffd}te", Fault::Invalid),
    ] {
        assert_eq!(found, (field.to_owned(), kind));
    }
}

#[test]
fn values_nest_64_levels_deep_and_no_deeper() {
    let nested = |levels: usize| {
        let (open, close) = (r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
        format!("{open}{{}}{close}")
    };
    let read = |json: String| {
        from_slice::<serde_json::Value>(json.as_bytes(), ZeroCharacter::Refused)
            .map_err(|error| error.fault())
    };
    assert!(read(nested(MAX_DEPTH)).is_ok());
    assert_eq!(read(nested(MAX_DEPTH + 1)), Err(Fault::TooDeep));
    assert_eq!(
        read(nested(100_000)),
        Err(Fault::Syntax),
        "the parser gives up before the stack does"
    );
}

#[test]
fn a_zero_character_can_be_dropped() {
    let read: serde_json::Value =
        from_slice(br#"{"a\u0000":["b\u0000c"]}"#, ZeroCharacter::Dropped).unwrap();
    assert_eq!(read, serde_json::json!({"a": ["bc"]}));
    let twice = from_slice::<serde_json::Value>(br#"{"a\u0000":1,"a":1}"#, ZeroCharacter::Dropped);
    assert_eq!(twice.unwrap_err().fault(), Fault::Duplicate);
}

#[test]
fn an_error_repeats_no_value() {
    let error = from_slice::<Body>(br#"{"amount":"secret"}"#, ZeroCharacter::Refused).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}
