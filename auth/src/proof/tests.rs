//! Wycheproof's sets against the very verifiers that judge proofs. Checks by request and by
//! claim are data: `auth/vectors`.

use serde_json::{Value, json};
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName as Ecdsa, TestSet as EcdsaSet};
use wycheproof::eddsa::{TestName as Eddsa, TestSet as EddsaSet};

use super::*;

/// The verdict of the whole path a proof's signature takes: key, length, verification.
fn accepts(jwk: &Value, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
    let text = jwk.to_string();
    let key = ProofKey::read(&Object::parse(text.as_bytes()).unwrap());
    let verifier = key.and_then(|key| Verifier::new(algorithm, &key));
    verifier.is_ok_and(|verifier| verifier.accepts(message, signature))
}

fn ecdsa(name: Ecdsa, curve: &str, algorithm: &str, size: usize) -> (usize, Vec<String>) {
    let (mut valid, mut wrong) = (0, Vec::new());
    for group in EcdsaSet::load(name).unwrap().test_groups {
        let point = &group.key.key[1..];
        assert_eq!(point.len(), 2 * size);
        let (x, y) = (jwt::encode(&point[..size]), jwt::encode(&point[size..]));
        let jwk = json!({"kty": "EC", "crv": curve, "x": x, "y": y});
        for test in &group.tests {
            let expected = test.result == TestResult::Valid;
            valid += usize::from(expected);
            if accepts(&jwk, algorithm, &test.msg, &test.sig) != expected {
                wrong.push(format!("{} {}: {:?}", test.tc_id, test.comment, test.result));
            }
        }
    }
    (valid, wrong)
}

#[test]
fn wycheproof_p256() {
    let (valid, wrong) = ecdsa(Ecdsa::EcdsaSecp256r1Sha256P1363, "P-256", "ES256", 32);
    assert!(valid > 100 && wrong.is_empty(), "{valid} valid; {wrong:?}");
}

#[test]
fn wycheproof_p384() {
    let (valid, wrong) = ecdsa(Ecdsa::EcdsaSecp384r1Sha384P1363, "P-384", "ES384", 48);
    assert!(valid > 100 && wrong.is_empty(), "{valid} valid; {wrong:?}");
}

#[test]
fn wycheproof_ed25519() {
    let (mut valid, mut wrong) = (0, Vec::new());
    for group in EddsaSet::load(Eddsa::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": jwt::encode(&group.key.pk)});
        for test in &group.tests {
            let expected = test.result == TestResult::Valid;
            valid += usize::from(expected);
            if accepts(&jwk, "EdDSA", &test.msg, &test.sig) != expected {
                wrong.push(format!("{} {}: {:?}", test.tc_id, test.comment, test.result));
            }
        }
    }
    assert!(valid > 50 && wrong.is_empty(), "{valid} valid; {wrong:?}");
}
