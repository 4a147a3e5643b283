//! Reads published documents. Their sender can no longer correct them, so members that are not read may
//! hold anything.

use serde::de::{DeserializeOwned, DeserializeSeed};

use super::wanted::Wanted;
use super::{Error, Value, ZeroCharacter, check};

/// Reads the members at `paths` (`data.kind`) as [`from_slice`](super::from_slice) does. All others
/// are skipped unread: they may repeat and hold anything. Half of a surrogate pair and what is not
/// UTF-8 become U+FFFD.
pub fn from_published<T: DeserializeOwned>(
    json: &[u8],
    paths: &[&str],
    zero: ZeroCharacter,
) -> Result<T, Error> {
    let text = mended(json);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let value = Wanted::Members(paths.to_vec()).deserialize(&mut reader);
    let mut value =
        value.and_then(|value| reader.end().map(|()| value)).map_err(|it| Error::syntax(&it))?;
    if !matches!(value, Value::Object(_)) {
        return Err(Error::expected("an object"));
    }
    check::value(&mut value, zero)?;
    T::deserialize(value)
}

/// The text at this path of a published document, without U+0000; none when anything else is there.
pub fn published_text(json: &[u8], path: &str) -> Option<String> {
    let read = from_published::<serde_json::Value>(json, &[path], ZeroCharacter::Dropped).ok()?;
    let found = path.split('.').try_fold(&read, |value, name| value.get(name));
    found.and_then(serde_json::Value::as_str).map(Into::into)
}

/// The document with U+FFFD for each escape of a surrogate that has no partner.
fn mended(json: &[u8]) -> Vec<u8> {
    let mut json = String::from_utf8_lossy(json).into_owned().into_bytes();
    let mut at = 0;
    while let Some(offset) = json.iter().skip(at).position(|byte| *byte == b'\\') {
        at += offset;
        at += match (code_unit(&json, at), code_unit(&json, at + ESCAPE)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                json[at + 2..at + ESCAPE].copy_from_slice(b"fffd");
                ESCAPE
            }
            (Some(_), _) => ESCAPE,
            (None, _) => 2,
        };
    }
    json
}

/// Bytes of `\uXXXX`.
const ESCAPE: usize = 6;

/// The UTF-16 code unit that is escaped here, if one is.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let escape: &[u8; ESCAPE] = json.get(at..)?.first_chunk()?;
    let [b'\\', b'u', digits @ ..] = escape else { return None };
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::Fault;
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Document {
        id: String,
        data: Data,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Data {
        kind: String,
    }

    fn read(json: &str) -> Result<Document, Error> {
        from_published(json.as_bytes(), &["id", "data.kind"], ZeroCharacter::Dropped)
    }

    #[test]
    fn members_that_are_not_read_may_hold_anything() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for other in [r#""\ud83d""#, r#""\u0000""#, "null", "1e999", r#"{"a":1,"a":2}"#, &deep] {
            let data = format!(r#"{{"x":{other},"x":{other},"kind":"k"}}"#);
            let json = format!(r#"{{"o":{other},"id":"i","\udc00":{other},"o":1,"data":{data}}}"#);
            let found = read(&json).unwrap();
            assert_eq!((found.id.as_str(), found.data.kind.as_str()), ("i", "k"));
        }
    }

    #[test]
    fn members_that_are_read_are_judged() {
        let fault = |json: &str| {
            let error = read(json).unwrap_err();
            (error.field("event"), error.fault())
        };
        for (json, field, kind) in [
            (r#"{"id":"i","id":"j","data":{"kind":"k"}}"#, "event.id", Fault::Duplicate),
            (r#"{"id":"i","data":{"kind":"k","kind":"l"}}"#, "event.data.kind", Fault::Duplicate),
            (r#"{"id":"i","data":{}}"#, "event.data.kind", Fault::Required),
            (r#"{"id":"i","data":["k"]}"#, "event.data", Fault::Invalid),
            (r#"{"id":"i","data":{"kind":1}}"#, "event.data.kind", Fault::Invalid),
            (r#"["i",["k"]]"#, "event", Fault::Invalid),
            (r#"{"id":"i","data":{"kind":"k"}} x"#, "event", Fault::Syntax),
            (r#"{"id":"i","data":{"kind":"k"}"#, "event", Fault::Syntax),
        ] {
            assert_eq!(fault(json), (field.to_owned(), kind), "{json}");
        }
    }

    #[test]
    fn a_text_is_mended_or_none() {
        for (json, text) in [
            (r#""a\ud83d""#, Some("a\u{fffd}")),
            (r#""\ude00\ud83d\ud83d\ude00b""#, Some("\u{fffd}\u{fffd}\u{1f600}b")),
            (r#""\\ud83d \u00e9""#, Some("\\ud83d \u{e9}")),
            (r#""a\u0000b""#, Some("ab")),
            ("null", None),
            ("7", None),
            ("1e999", None),
            (r#"{"a":"b"}"#, None),
        ] {
            let json = format!(r#"{{"data":{{"reason":{json}}}}}"#);
            assert_eq!(published_text(json.as_bytes(), "data.reason").as_deref(), text, "{json}");
        }
        let cut = b"{\"data\":{\"reason\":\"a\xf0\x9f\"}}";
        assert_eq!(published_text(cut, "data.reason").as_deref(), Some("a\u{fffd}"));
        assert_eq!(published_text(b"{}", "data.reason"), None);
    }
}
