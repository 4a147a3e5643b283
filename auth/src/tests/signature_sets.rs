//! Runs Wycheproof's vectors through every signature path: proofs (aws-lc-rs and josekit) and
//! tokens (jsonwebtoken), each with its key parsed from a JWK.

use serde_json::{Value, json};
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName as Ecdsa, TestSet as EcdsaSet};
use wycheproof::eddsa::{TestName as Eddsa, TestSet as EddsaSet};
use wycheproof::rsa_pkcs1_verify::{TestName as Pkcs1, TestSet as Pkcs1Set};
use wycheproof::rsa_pss_verify::{TestName as Pss, TestSet as PssSet};

use crate::json::Object;
use crate::jwk::ProofKey;
use crate::jwks::KeySet;
use crate::jwt;
use crate::proof::signature::SignatureVerifier;
use crate::token;

/// One signature and what is expected of it; `None` if both results are valid.
struct Sample<'a> {
    name: String,
    jwk: &'a Value,
    message: &'a [u8],
    signature: &'a [u8],
    expected: Option<bool>,
}

/// The whole path a proof's signature takes: key, length, verification.
fn proof_accepts(algorithm: &str, sample: &Sample<'_>) -> bool {
    let text = sample.jwk.to_string();
    let key = ProofKey::read(&Object::parse(text.as_bytes()).unwrap());
    let verifier = key.and_then(|key| SignatureVerifier::new(algorithm, &key));
    verifier.is_ok_and(|verifier| verifier.accepts(sample.message, sample.signature))
}

/// The whole path a token's signature takes: key set, allow-list, verification.
fn token_accepts(algorithm: &str, sample: &Sample<'_>) -> bool {
    let mut jwk = sample.jwk.clone();
    jwk["kid"] = json!("a");
    let Ok(keys) = KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()) else {
        return false;
    };
    let key = keys.get("a").expect("the set has one key");
    let signature = jwt::encode(sample.signature);
    token::check_signature(sample.message, &signature, Some(algorithm), key).is_ok()
}

/// Runs a set through a path and counts the accepted signatures.
struct Run {
    algorithm: &'static str,
    accepts: fn(&str, &Sample<'_>) -> bool,
    passed: usize,
    wrong: Vec<String>,
}

impl Run {
    fn new(algorithm: &'static str, accepts: fn(&str, &Sample<'_>) -> bool) -> Self {
        Self { algorithm, accepts, passed: 0, wrong: Vec::new() }
    }

    fn check(&mut self, sample: &Sample<'_>) {
        let is_accepted = (self.accepts)(self.algorithm, sample);
        self.passed += usize::from(is_accepted);
        if sample.expected.is_some_and(|expected| expected != is_accepted) {
            self.wrong.push(format!("{}: expected {:?}", sample.name, sample.expected));
        }
    }

    fn end(self, at_least: usize) {
        assert!(self.wrong.is_empty(), "{}: {:?}", self.algorithm, self.wrong);
        assert!(self.passed >= at_least, "{}: only {} passed", self.algorithm, self.passed);
    }
}

fn expected(result: TestResult) -> Option<bool> {
    match result {
        TestResult::Valid => Some(true),
        TestResult::Invalid => Some(false),
        TestResult::Acceptable => None,
    }
}

fn ecdsa(name: Ecdsa, curve: &str, mut run: Run) {
    for group in EcdsaSet::load(name).unwrap().test_groups {
        let (x, y) = group.key.key[1..].split_at((group.key.key.len() - 1) / 2);
        let jwk = json!({"kty": "EC", "crv": curve, "x": jwt::encode(x), "y": jwt::encode(y)});
        for test in &group.tests {
            run.check(&Sample {
                name: format!("{} {}", test.tc_id, test.comment),
                jwk: &jwk,
                message: &test.msg,
                signature: &test.sig,
                expected: expected(test.result),
            });
        }
    }
    run.end(100);
}

fn ed25519(mut run: Run) {
    for group in EddsaSet::load(Eddsa::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": jwt::encode(&group.key.pk)});
        for test in &group.tests {
            run.check(&Sample {
                name: format!("{} {}", test.tc_id, test.comment),
                jwk: &jwk,
                message: &test.msg,
                signature: &test.sig,
                expected: expected(test.result),
            });
        }
    }
    run.end(50);
}

/// A JWK's numbers have no leading zeros (RFC 7518 section 6.3.1).
fn rsa(modulus: &[u8], exponent: &[u8]) -> Value {
    let plain = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        jwt::encode(&number[zeros..])
    };
    json!({"kty": "RSA", "n": plain(modulus), "e": plain(exponent)})
}

fn pkcs1(mut run: Run) {
    for name in [Pkcs1::Rsa2048Sha256, Pkcs1::Rsa3072Sha256, Pkcs1::Rsa4096Sha256] {
        for group in Pkcs1Set::load(name).unwrap().test_groups {
            let jwk = rsa(&group.key.n, &group.key.e);
            for test in &group.tests {
                run.check(&Sample {
                    name: format!("{} {}", test.tc_id, test.comment),
                    jwk: &jwk,
                    message: &test.msg,
                    signature: &test.sig,
                    expected: expected(test.result),
                });
            }
        }
    }
    run.end(20);
}

/// RFC 7518 section 3.5: the salt is as long as the digest, so a set of another length of salt
/// holds nothing valid for us.
fn pss(mut run: Run) {
    let sets = [
        (Pss::RsaPss2048Sha256Mgf1SaltLen32, true),
        (Pss::RsaPss3072Sha256Mgf1SaltLen32, true),
        (Pss::RsaPss4096Sha256Mgf1SaltLen32, true),
        (Pss::RsaPss2048Sha256Mgf1SaltLen0, false),
        (Pss::RsaPss2048Sha256Mgf1Sha1_20, false),
        (Pss::RsaPss2048Sha384Mgf1SaltLen48, false),
    ];
    // In this one the set's wrong salt is ours.
    let of_salt_ours = Pss::RsaPss2048Sha256Mgf1SaltLen0;
    for (name, ours) in sets {
        for group in PssSet::load(name).unwrap().test_groups {
            let jwk = rsa(&group.key.n, &group.key.e);
            for test in &group.tests {
                run.check(&Sample {
                    name: format!("{name:?} {} {}", test.tc_id, test.comment),
                    jwk: &jwk,
                    message: &test.msg,
                    signature: &test.sig,
                    expected: if ours {
                        expected(test.result)
                    } else {
                        Some(name == of_salt_ours && test.comment == "s_len changed to 32")
                    },
                });
            }
        }
    }
    run.end(100);
}

#[test]
fn proofs_es256() {
    ecdsa(Ecdsa::EcdsaSecp256r1Sha256P1363, "P-256", Run::new("ES256", proof_accepts));
}

#[test]
fn proofs_es384() {
    ecdsa(Ecdsa::EcdsaSecp384r1Sha384P1363, "P-384", Run::new("ES384", proof_accepts));
}

#[test]
fn proofs_eddsa() {
    ed25519(Run::new("EdDSA", proof_accepts));
}

#[test]
fn proofs_rs256() {
    pkcs1(Run::new("RS256", proof_accepts));
}

#[test]
fn proofs_ps256() {
    pss(Run::new("PS256", proof_accepts));
}

#[test]
fn tokens_es256() {
    ecdsa(Ecdsa::EcdsaSecp256r1Sha256P1363, "P-256", Run::new("ES256", token_accepts));
}

#[test]
fn tokens_eddsa() {
    ed25519(Run::new("EdDSA", token_accepts));
}

#[test]
fn tokens_rs256() {
    pkcs1(Run::new("RS256", token_accepts));
}

#[test]
fn tokens_ps256() {
    pss(Run::new("PS256", token_accepts));
}
