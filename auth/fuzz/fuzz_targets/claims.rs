//! Any claims, signed with a valid key, so that the checks after the signature are reached.
//! Accepted claims are parsed again by another JSON parser and must match the request.
#![no_main]

use std::sync::LazyLock;

use auth::htu::Htu;
use auth::jwt;
use auth::proof::{Expected, ProofVerifier, Window};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: i64 = 1_790_000_040;
const PATH: &str = "/api/today";

struct Device {
    key: EcdsaKeyPair,
    /// `<header>.`, the header with its public key.
    start: String,
    random: SystemRandom,
    proofs: ProofVerifier,
    target: [Htu; 1],
}

static DEVICE: LazyLock<Device> = LazyLock::new(|| {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let header = format!(
        r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}}}"#,
        jwt::encode(x),
        jwt::encode(y)
    );
    Device {
        key,
        start: format!("{}.", jwt::encode(header.as_bytes())),
        random: SystemRandom::new(),
        proofs: ProofVerifier::new(Window::default()),
        target: [Htu::parse(&format!("https://desk.test{PATH}")).expect("a URI")],
    }
});

fuzz_target!(|claims: &[u8]| {
    let device = &*DEVICE;
    let input = format!("{}{}", device.start, jwt::encode(claims));
    let signature = device.key.sign(&device.random, input.as_bytes()).expect("it signs");
    let proof = format!("{input}.{}", jwt::encode(signature.as_ref()));
    let expected = Expected {
        method: "GET",
        targets: &device.target,
        token_digest: None,
        bound_to: None,
        now: Timestamp::constant(NOW, 0),
    };
    if device.proofs.verify(&proof, &expected).is_err() {
        return;
    }
    let read: Value = serde_json::from_slice(claims).expect("what is accepted is JSON");
    assert_eq!(read["htm"], "GET");
    assert!(read["jti"].as_str().is_some_and(|jti| (1..=256).contains(&jti.len())));
    assert!(read["iat"].as_i64().is_some_and(|iat| (NOW - 60..=NOW + 10).contains(&iat)));
    assert!(read.get("exp").is_none_or(|exp| exp.as_i64().is_some_and(|exp| exp > NOW)));
    let htu = read["htu"].as_str().expect("a text").to_ascii_lowercase();
    assert!(htu.starts_with("https://desk.test"), "{htu}");
});
