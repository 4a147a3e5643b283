//! The gateway's tokens for services and for a desktop's transfers, and the identity tokens it
//! accepts: none is accepted for another, nor for another audience, time or key.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

use std::sync::Arc;

use auth::jwks::KeySet;
use auth::oidc::{self, OidcError};
use auth::principal::Principal;
use auth::request_token::{self, RequestTokens};
use auth::token::{TokenError, TokenRules};
use auth::{jwt, sync_token, token};
use contracts::clock::{Clock, Entropy};
use contracts::role::RoleSet;
use jiff::Timestamp;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jws::{ES256, JwsSigner};
use serde_json::{Value, json};

const NOW: i64 = 1_790_000_040;
const GATEWAY: &str = "https://gateway.test";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn rules(audience: &str) -> TokenRules {
    TokenRules { issuer: GATEWAY.into(), audience: audience.into() }
}

fn caller() -> Principal {
    Principal {
        tenant: "tnt_01K0000000000000000000000A".parse().unwrap(),
        operator: "opr_01K0000000000000000000000A".parse().unwrap(),
        device: "dev_01K0000000000000000000000A".parse().unwrap(),
        session: None,
        roles: RoleSet::from_names(["front_desk"]),
        properties: vec!["ppt_01K0000000000000000000000A".parse().unwrap()],
        issued_at: at(NOW),
        expires_at: at(NOW + 900),
        thumbprint: None,
        token_digest: [7; 32],
    }
}

/// A gateway, its key, and what services fetch of it.
struct Gateway {
    key: Jwk,
    tokens: RequestTokens,
    keys: KeySet,
}

impl Gateway {
    fn new() -> Self {
        let key = Jwk::generate_ec_key(EcCurve::P256).unwrap();
        let pem = EcKeyPair::from_jwk(&key).unwrap().to_pem_private_key();
        let clock = Clock::fixed(at(NOW));
        let tokens = RequestTokens::new(GATEWAY, &pem, clock, Entropy::system()).unwrap();
        let document = serde_json::to_vec(&tokens.key_set()).unwrap();
        Self { key, tokens, keys: KeySet::parse(&document).unwrap() }
    }

    fn request(&self, token: &str, audience: &str, second: i64) -> Result<(), TokenError> {
        request_token::verify(token, &self.keys, &rules(audience), at(second)).map(drop)
    }

    fn service(&self, token: &str, audience: &str, second: i64) -> Result<(), TokenError> {
        request_token::verify_service(token, &self.keys, &rules(audience), at(second))
    }

    /// A service token with these changes, signed as the gateway signs.
    fn forged(&self, header: &Value, claims: &Value) -> String {
        let good = self.tokens.service_token("inventory");
        let part = |n: usize| jwt::decoded(good.split('.').nth(n).unwrap()).unwrap();
        let changed = |part: &[u8], changes: &Value| {
            let mut whole: serde_json::Map<String, Value> = serde_json::from_slice(part).unwrap();
            whole.extend(changes.as_object().unwrap().clone());
            jwt::encode(Value::Object(whole).to_string().as_bytes())
        };
        let input = format!("{}.{}", changed(&part(0), header), changed(&part(1), claims));
        let signature = ES256.signer_from_jwk(&self.key).unwrap().sign(input.as_bytes()).unwrap();
        format!("{input}.{}", jwt::encode(&signature))
    }
}

#[test]
fn a_request_token_says_who_calls_and_a_service_token_that_the_gateway_does() {
    let gateway = Gateway::new();
    let request = gateway.tokens.token_for(&caller(), "inventory");
    let rules = rules("inventory");
    let principal = request_token::verify(&request, &gateway.keys, &rules, at(NOW)).unwrap();
    assert_eq!((principal.operator, principal.tenant), (caller().operator, caller().tenant));
    assert_eq!(principal.properties, caller().properties);
    assert_eq!(
        gateway.service(&gateway.tokens.service_token("inventory"), "inventory", NOW),
        Ok(())
    );
}

#[test]
fn no_token_passes_for_one_of_another_kind() {
    let gateway = Gateway::new();
    let request = gateway.tokens.token_for(&caller(), "inventory");
    let service = gateway.tokens.service_token("inventory");
    assert_eq!(gateway.service(&request, "inventory", NOW), Err(TokenError::Type));
    assert_eq!(gateway.request(&service, "inventory", NOW), Err(TokenError::Type));
    assert_eq!(request_token::service_key_id(&request), Err(TokenError::Type));
    assert_eq!(request_token::key_id(&service), Err(TokenError::Type));
    for ours in [request, service] {
        assert_eq!(token::key_id(&ours), Err(TokenError::Type), "as an access token");
        assert_eq!(oidc::key_id(&ours), Err(OidcError::Type), "as an identity");
    }
    for typ in [json!("at+jwt"), json!("dpop+jwt"), json!("JWT"), json!(null), json!("Service+JWT")]
    {
        let forged = gateway.forged(&json!({"typ": typ}), &json!({}));
        assert_eq!(gateway.service(&forged, "inventory", NOW), Err(TokenError::Type), "{typ}");
    }
}

#[test]
fn a_token_is_for_one_audience_and_from_one_issuer() {
    let gateway = Gateway::new();
    let request = gateway.tokens.token_for(&caller(), "inventory");
    let service = gateway.tokens.service_token("inventory");
    assert_eq!(gateway.request(&request, "staff", NOW), Err(TokenError::Audience));
    assert_eq!(gateway.service(&service, "staff", NOW), Err(TokenError::Audience));
    let other = gateway.forged(&json!({}), &json!({"iss": "https://iam.test"}));
    assert_eq!(gateway.service(&other, "inventory", NOW), Err(TokenError::Issuer));
    let lent = gateway.forged(&json!({}), &json!({"sub": "opr_01K0000000000000000000000A"}));
    assert_eq!(gateway.service(&lent, "inventory", NOW), Err(TokenError::Claims));
}

#[test]
fn a_token_lasts_a_minute_and_is_rejected_before_its_time() {
    let gateway = Gateway::new();
    let request = gateway.tokens.token_for(&caller(), "inventory");
    let service = gateway.tokens.service_token("inventory");
    let both = |second| {
        (
            gateway.request(&request, "inventory", second),
            gateway.service(&service, "inventory", second),
        )
    };
    for second in [NOW - 10, NOW, NOW + 59] {
        assert_eq!(both(second), (Ok(()), Ok(())), "{}", second - NOW);
    }
    for second in [NOW + 60, NOW + 3600] {
        assert_eq!(both(second), (Err(TokenError::Expired), Err(TokenError::Expired)));
    }
    let early = Err(TokenError::NotYetValid);
    assert_eq!(both(NOW - 11), (early, early));
}

#[test]
fn a_token_of_another_key_or_with_a_changed_letter_is_refused() {
    let (gateway, other) = (Gateway::new(), Gateway::new());
    let service = gateway.tokens.service_token("inventory");
    assert_eq!(other.service(&service, "inventory", NOW), Err(TokenError::UnknownKey));
    let kid = request_token::service_key_id(&service).unwrap();
    let forged = other.forged(&json!({"kid": kid}), &json!({}));
    assert_eq!(gateway.service(&forged, "inventory", NOW), Err(TokenError::Signature));
    let algorithm = |alg: Value| gateway.forged(&json!({"alg": alg}), &json!({}));
    for alg in [json!("none"), json!("HS256"), json!("RS256"), json!(null)] {
        let result = gateway.service(&algorithm(alg.clone()), "inventory", NOW);
        assert_eq!(result, Err(TokenError::Algorithm), "{alg}");
    }
    let critical = gateway.forged(&json!({"crit": ["zz"]}), &json!({}));
    assert_eq!(gateway.service(&critical, "inventory", NOW), Err(TokenError::Critical));
    for index in (0..service.len()).step_by(7) {
        let mut changed = service.as_bytes().to_vec();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(gateway.service(&changed, "inventory", NOW).is_err(), "{index}");
    }
}

#[test]
fn a_sync_token_names_the_desktop_and_its_key_for_15_minutes() {
    let gateway = Gateway::new();
    let bound = Principal { thumbprint: Some("a-thumbprint".into()), ..caller() };
    let token = gateway.tokens.sync_session(&bound, "sync").unwrap();
    assert_eq!(token.expires_at, at(NOW + 900));
    let verify = |second, audience: &str| {
        sync_token::verify(&token.text, &gateway.keys, &rules(audience), at(second))
    };
    let read = verify(NOW + 899, "sync").unwrap();
    assert_eq!(
        (read.device, read.operator, read.tenant),
        (bound.device, bound.operator, bound.tenant)
    );
    assert_eq!((&read.thumbprint, &read.properties), (&bound.thumbprint, &bound.properties));
    assert_eq!(verify(NOW + 900, "sync"), Err(TokenError::Expired));
    assert_eq!(verify(NOW, "staff"), Err(TokenError::Audience));
    // Nothing else of the gateway passes for it, and it for nothing else.
    assert_eq!(gateway.request(&token.text, "sync", NOW), Err(TokenError::Type));
    assert_eq!(gateway.service(&token.text, "sync", NOW), Err(TokenError::Type));
    let request = gateway.tokens.token_for(&bound, "sync");
    assert_eq!(sync_token::key_id(&request), Err(TokenError::Type));
    assert!(!format!("{token:?}").contains(&token.text));
    assert!(gateway.tokens.sync_session(&caller(), "sync").is_none(), "bound to no key");
}

#[test]
fn a_callers_token_is_reused_only_for_the_same_service() {
    let gateway = Gateway::new();
    let first = gateway.tokens.token_for(&caller(), "inventory");
    assert!(Arc::ptr_eq(&first, &gateway.tokens.token_for(&caller(), "inventory")));
    assert_ne!(first, gateway.tokens.token_for(&caller(), "staff"));
    let other = Principal { token_digest: [8; 32], ..caller() };
    assert_ne!(first, gateway.tokens.token_for(&other, "inventory"));
}

/// An identity token is read as strictly as every other.
#[test]
fn an_identity_token_is_strict_json_for_one_audience_of_a_verified_account() {
    let gateway = Gateway::new();
    let rules = TokenRules { issuer: GATEWAY.into(), audience: "jobs".into() };
    let good = json!({
        "aud": "jobs", "sub": "117", "exp": NOW + 3600, "email": "jobs@hotel.test", "email_verified": true,
    });
    let result = |header: Value, changes: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let token = gateway.forged(&header, &claims);
        oidc::verify(&token, &gateway.keys, &rules, at(NOW)).map(|account| account.email)
    };
    let jwt = || json!({"typ": "JWT"});
    assert_eq!(result(jwt(), json!({})), Ok("jobs@hotel.test".to_owned()));
    for (header, changes, expected) in [
        (json!({"typ": "JWT", "crit": ["zz"]}), json!({}), TokenError::Critical.into()),
        (json!({"typ": null}), json!({}), OidcError::Type),
        (json!({"typ": "JWT", "alg": "none"}), json!({}), TokenError::Algorithm.into()),
        (jwt(), json!({"aud": "other"}), TokenError::Audience.into()),
        (jwt(), json!({"aud": ["jobs"]}), TokenError::Claims.into()),
        (jwt(), json!({"iss": "https://evil.test"}), TokenError::Issuer.into()),
        (jwt(), json!({"email_verified": false}), OidcError::Email),
        (jwt(), json!({"email_verified": "true"}), OidcError::Email),
        (jwt(), json!({"exp": NOW}), OidcError::Time),
        (jwt(), json!({"nbf": NOW + 11}), OidcError::Time),
        (jwt(), json!({"iat": NOW + 11}), OidcError::Time),
        (jwt(), json!({"exp": NOW + 7201}), OidcError::Time),
        (jwt(), json!({"exp": i64::MAX, "iat": i64::MIN}), OidcError::Time),
        (jwt(), json!({"exp": null}), TokenError::Claims.into()),
    ] {
        assert_eq!(result(header, changes.clone()), Err(expected), "{changes}");
    }
}
