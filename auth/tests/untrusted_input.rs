//! Parsers of untrusted input must return a result for any input, and never panic. A short version
//! of the fuzz targets.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

use auth::htu::Htu;
use auth::json::Object;
use auth::jwks::KeySet;
use auth::jwt;
use auth::nonce::Nonces;
use auth::proof::{Expected, ProofVerifier, Window};
use auth::token;
use jiff::Timestamp;
use proptest::prelude::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_040).unwrap()
}

/// Whether the proof is rejected with a message.
fn is_refused(text: &str) -> bool {
    let proofs = ProofVerifier::new(Window::default()).with_nonces(Nonces::new(&[7; 32]).unwrap());
    let expected = Expected {
        method: "GET",
        targets: &[Htu::parse("https://desk.test/api").unwrap()],
        token_digest: Some(&[0; 32]),
        bound_to: Some("x"),
        now: now(),
    };
    proofs.verify(text, &expected).is_err_and(|error| !error.to_string().is_empty())
}

/// JSON with names that mean something, and values of every type.
fn json() -> impl Strategy<Value = String> {
    let name =
        "typ|alg|jwk|crit|kty|crv|x|y|n|e|d|jti|htm|htu|iat|ath|nonce|cnf|jkt|kid|[a-z]{0,3}";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[0-9]{1,30}(\\.[0-9]{1,3})?(e[0-9]{1,3})?",
        "[A-Za-z0-9_\\-+:/.]{0,50}".prop_map(|text| format!("{text:?}")),
        "dpop\\+jwt|ES256|EdDSA|EC|P-256|OKP|RSA|GET".prop_map(|text| format!("{text:?}")),
    ];

    leaf.prop_recursive(4, 40, 6, move |inner| {
        let members = prop::collection::vec((name, inner.clone()), 0..8);
        let object = members.prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(n, v)| format!("{n:?}:{v}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let list = prop::collection::vec(inner, 0..4);
        prop_oneof![object, list.prop_map(|values| format!("[{}]", values.join(",")))]
    })
}

proptest! {
    #[test]
    fn any_text(text in ".{0,300}") {
        prop_assert!(is_refused(&text));
        prop_assert!(token::key_id(&text).is_err());
        drop((Htu::parse(&text), KeySet::parse(text.as_bytes()), Object::parse(text.as_bytes())));
    }

    #[test]
    fn any_three_parts(header in json(), claims in json(), signature: Vec<u8>) {
        let text = format!(
            "{}.{}.{}",
            jwt::encode(header.as_bytes()),
            jwt::encode(claims.as_bytes()),
            jwt::encode(&signature)
        );
        prop_assert!(is_refused(&text));
        drop((token::key_id(&text), KeySet::parse(header.as_bytes())));
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        drop((Object::parse(&bytes), KeySet::parse(&bytes)));
        prop_assert!(Nonces::new(&[7; 32]).unwrap().expires_at(&jwt::encode(&bytes), now(), 10).is_none());
    }

    /// The strict reader takes nothing that the lenient one refuses.
    #[test]
    fn strict_json_is_a_subset_of_lenient_json(json in json()) {
        if Object::parse(json.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&json).is_ok());
        }
    }

    /// A target in normal form is its own normal form.
    #[test]
    fn the_normal_form_is_stable(path in "(/|[a-zA-Z0-9._~-]|%[0-9a-fA-F]{2}){0,40}") {
        if let Ok(target) = Htu::parse(&format!("https://desk.test/{path}")) {
            prop_assert_eq!(&Htu::parse(target.as_str()).unwrap(), &target);
        }
    }
}
