//! Any bytes as JSON, key set and key; any text as URI and nonce.
#![no_main]

use std::sync::LazyLock;

use auth::htu::Htu;
use auth::json::Object;
use auth::jwk;
use auth::jwks::KeySet;
use auth::nonce::Nonces;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

static NONCES: LazyLock<Nonces> = LazyLock::new(|| Nonces::new(&[7; 32]).expect("32 bytes"));

fuzz_target!(|bytes: &[u8]| {
    let strict = Object::parse(bytes).is_ok();
    let lenient = serde_json::from_slice::<Map<String, Value>>(bytes);
    // The strict reader takes nothing the lenient one refuses, and loses no member.
    assert!(!strict || lenient.is_ok());
    if let (Ok(object), Ok(map)) = (Object::parse(bytes), &lenient) {
        assert!(map.keys().all(|name| object.has(name)));
    }
    if let Ok(known) = jwk::thumbprint(bytes) {
        assert_eq!(known.len(), 43);
        let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        assert!(lenient.is_ok_and(|map| private.iter().all(|name| !map.contains_key(*name))));
    }
    drop(KeySet::parse(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(NONCES.expires_at(text, Timestamp::constant(1_790_000_040, 0), 10).is_none());
    if let Ok(uri) = Htu::parse(text) {
        let normal = uri.as_str();
        assert_eq!(Htu::parse(normal).as_ref(), Ok(&uri), "the normal form is its own");
        assert!(!normal.contains(['?', '#', '\\', ' ']), "{normal}");
        // Of the path alone: a host may be a dot.
        let path = normal.splitn(4, '/').nth(3).unwrap_or_default();
        assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{normal}");
    }
});
