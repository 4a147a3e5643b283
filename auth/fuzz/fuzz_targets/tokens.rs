//! Any text as each of the four kinds of token: must be rejected. The known keys are real, but
//! their private halves do not exist.
#![no_main]

use std::sync::LazyLock;

use auth::jwks::KeySet;
use auth::token::{self, TokenRules};
use auth::{oidc, request_token};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

/// The examples of RFC 9449 and RFC 8037.
const KEYS: &[u8] = br#"{"keys":[
{"kty":"EC","crv":"P-256","kid":"iam-1","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"},
{"kty":"OKP","crv":"Ed25519","kid":"iam-2","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

struct Fixture {
    keys: KeySet,
    rules: TokenRules,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture {
    keys: KeySet::parse(KEYS).expect("a key set"),
    rules: TokenRules { issuer: "https://iam.test".into(), audience: "bff-backoffice".into() },
});

fuzz_target!(|text: &str| {
    let Fixture { keys, rules } = &*FIXTURE;
    let now = Timestamp::constant(1_790_000_040, 0);
    assert!(token::verify(text, keys, rules, now).is_err());
    assert!(request_token::verify(text, keys, rules, now).is_err());
    assert!(request_token::verify_service(text, keys, rules, now).is_err());
    assert!(oidc::verify(text, keys, rules, now).is_err());
    // At most one parser accepts it as its kind.
    let kinds = [
        token::key_id(text).is_ok(),
        request_token::key_id(text).is_ok(),
        request_token::service_key_id(text).is_ok(),
        oidc::key_id(text).is_ok(),
    ];
    assert!(kinds.into_iter().filter(|is_kind| *is_kind).count() <= 1, "{kinds:?}");
});
