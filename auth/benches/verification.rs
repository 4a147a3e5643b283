//! Cost of verifying a request's token and proof on one core, compared with one raw ES256
//! verification by the fastest library: `cargo bench -p auth`.

use std::hint::black_box;
use std::sync::Arc;

use auth::htu::Htu;
use auth::jwks::KeySet;
use auth::jwt;
use auth::proof::{ProofVerifier, Window};
use auth::token::TokenRules;
use auth::verifier::{RequestCredentials, RequestVerifier};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use jiff::Timestamp;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jws::{ES256, JwsSigner, JwsVerifier};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const NOW: i64 = 1_790_000_040;
const DEVICE: &str = "dev_01K0000000000000000000000A";

fn key() -> Jwk {
    Jwk::generate_ec_key(EcCurve::P256).expect("a key can be made")
}

fn public(key: &Jwk) -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": key.parameter("x"), "y": key.parameter("y")})
}

fn sign(key: &Jwk, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| jwt::encode(value.to_string().as_bytes());
    let input = format!("{}.{}", encode(header), encode(claims));
    let signer = ES256.signer_from_jwk(key).expect("the key is for ES256");
    let signature = signer.sign(input.as_bytes()).expect("it signs");
    format!("{input}.{}", jwt::encode(&signature))
}

struct Fixture {
    iam: Jwk,
    keys: Arc<KeySet>,
}

impl Fixture {
    fn new() -> Self {
        let iam = key();
        let mut shown = public(&iam);
        shown["kid"] = json!("iam-1");
        let document = json!({"keys": [shown]}).to_string();
        Self { iam, keys: Arc::new(KeySet::parse(document.as_bytes()).expect("a key set")) }
    }

    fn verifier() -> RequestVerifier {
        let rules =
            TokenRules { issuer: "https://iam.test".into(), audience: "bff-backoffice".into() };
        let base = Htu::parse("https://desk.test").expect("a URI");
        RequestVerifier::new(ProofVerifier::new(Window::default()), rules, vec![base])
    }

    fn token(&self, device: &Jwk, jti: u32) -> String {
        let jkt = auth::jwk::thumbprint(public(device).to_string().as_bytes()).expect("a key");
        let claims = json!({
            "iss": "https://iam.test", "aud": "bff-backoffice", "sub": "opr_01K0000000000000000000000A",
            "tenant_id": "tnt_01K0000000000000000000000A", "device_id": DEVICE,
            "property_ids": ["ppt_01K0000000000000000000000A"], "roles": ["front_desk"],
            "cnf": {"jkt": jkt}, "iat": NOW, "exp": NOW + 900, "jti": jti.to_string(),
        });
        sign(&self.iam, &json!({"alg": "ES256", "typ": "at+jwt", "kid": "iam-1"}), &claims)
    }

    fn request(device: &Jwk, token: &str, jti: u32) -> HeaderMap {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": public(device)});
        let claims = json!({
            "jti": format!("proof-number-{jti:08}"), "htm": "GET", "iat": NOW,
            "htu": "https://desk.test/api/bff/backoffice/v1/dashboard",
            "ath": jwt::encode(&Sha256::digest(token.as_bytes())),
        });
        let proof = sign(device, &header, &claims);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("DPoP {token}").parse().expect("ASCII"));
        headers.insert("dpop", proof.parse().expect("ASCII"));
        headers.insert("x-device-id", DEVICE.parse().expect("ASCII"));
        headers
    }
}

fn verify(verifier: &RequestVerifier, keys: &Arc<KeySet>, headers: &HeaderMap) {
    let path = "/api/bff/backoffice/v1/dashboard";
    let request = RequestCredentials::read("GET", path, headers).expect("credentials");
    let now = Timestamp::from_second(NOW).expect("a time");
    black_box(verifier.verify(&request, keys, now).expect("a good request"));
}

fn baselines(criterion: &mut Criterion) {
    let (key, message) = (key(), [7_u8; 420]);
    let signer = ES256.signer_from_jwk(&key).expect("the key is for ES256");
    let signature = signer.sign(&message).expect("it signs");
    let part = |name| jwt::decoded(key.parameter(name).and_then(Value::as_str).expect("a member"));
    let (x, y) = (part("x").expect("base64url"), part("y").expect("base64url"));

    let point = [&[4][..], &x, &y].concat();
    let aws = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
    let parsed = aws_lc_rs::signature::ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
    let parsed = parsed.expect("a point");
    criterion.bench_function("raw ES256, aws-lc-rs", |bench| {
        bench.iter(|| aws.verify(black_box(&message), &signature).expect("valid"));
    });
    criterion.bench_function("raw ES256, aws-lc-rs, key parsed before", |bench| {
        bench.iter(|| parsed.verify_sig(black_box(&message), &signature).expect("valid"));
    });

    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let number = |bytes: &[u8]| BigNum::from_slice(bytes).expect("a number");
    let open = EcKey::from_public_key_affine_coordinates(&group, &number(&x), &number(&y));
    let open = open.expect("a point");
    criterion.bench_function("raw ES256, OpenSSL, key parsed before", |bench| {
        bench.iter(|| {
            let (r, s) = (number(&signature[..32]), number(&signature[32..]));
            let parts = EcdsaSig::from_private_components(r, s).expect("two numbers");
            let digest = Sha256::digest(black_box(&message));
            assert!(parts.verify(&digest, &open).expect("verifies"));
        });
    });

    let verifier = ES256.verifier_from_jwk(&key.to_public_key().expect("public")).expect("a key");
    criterion.bench_function("raw ES256, josekit, verifier made before", |bench| {
        bench.iter(|| verifier.verify(black_box(&message), &signature).expect("valid"));
    });
}

fn requests(criterion: &mut Criterion) {
    let (fixture, device) = (Fixture::new(), key());
    let token = fixture.token(&device, 0);
    let verifier = Fixture::verifier();
    let fresh: Vec<_> = (0..512).map(|jti| Fixture::request(&device, &token, jti)).collect();
    verify(&verifier, &fixture.keys, &fresh[0]);
    let mut next = fresh.iter().cycle();
    criterion.bench_function("request: known key, known token", |bench| {
        bench.iter(|| verify(&verifier, &fixture.keys, next.next().expect("endless")));
    });

    // Each iteration starts with empty caches, except for what its name says.
    criterion.bench_function("request: known key, unknown token", |bench| {
        let mut jti = 0;
        let fresh = || {
            jti += 1;
            Fixture::request(&device, &fixture.token(&device, jti), jti)
        };
        bench.iter_batched(
            fresh,
            |headers| verify(&verifier, &fixture.keys, &headers),
            criterion::BatchSize::SmallInput,
        );
    });
    criterion.bench_function("request: new key, unknown token", |bench| {
        bench.iter_batched(
            Fixture::verifier,
            |verifier| verify(&verifier, &fixture.keys, &fresh[0]),
            criterion::BatchSize::SmallInput,
        );
    });
}

/// The ratio of a whole request to the raw verification, measured in alternating rounds, so that
/// load on the machine affects both. Prints the minimum and the median of all rounds.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures and prints")]
fn ratio(_: &mut Criterion) {
    const ROUNDS: usize = 400;
    const PER_ROUND: u32 = 25;
    let (fixture, device) = (Fixture::new(), key());
    let token = fixture.token(&device, 0);
    let verifier = Fixture::verifier();
    let fresh: Vec<_> = (0..512).map(|jti| Fixture::request(&device, &token, jti)).collect();
    let mut next = fresh.iter().cycle();
    let (parsed, message, signature) = raw(&device);
    let mut raws = Vec::new();
    let mut wholes = Vec::new();
    for _ in 0..ROUNDS {
        let begun = std::time::Instant::now();
        (0..PER_ROUND)
            .for_each(|_| parsed.verify_sig(black_box(&message), &signature).expect("valid"));
        raws.push(begun.elapsed() / PER_ROUND);
        let begun = std::time::Instant::now();
        (0..PER_ROUND)
            .for_each(|_| verify(&verifier, &fixture.keys, next.next().expect("endless")));
        wholes.push(begun.elapsed() / PER_ROUND);
    }
    raws.sort_unstable();
    wholes.sort_unstable();
    for (name, index) in [("minimum", 0), ("median", ROUNDS / 2)] {
        let (raw, whole) = (raws[index], wholes[index]);
        println!(
            "{name}: raw {raw:.1?}, request {whole:.1?}, ratio {:.2}",
            whole.as_secs_f64() / raw.as_secs_f64()
        );
    }
}

/// A key parsed by the fastest library, and something it signed.
fn raw(key: &Jwk) -> (aws_lc_rs::signature::ParsedPublicKey, Vec<u8>, Vec<u8>) {
    let message = vec![7; 420];
    let signer = ES256.signer_from_jwk(key).expect("the key is for ES256");
    let signature = signer.sign(&message).expect("it signs");
    let part = |name| jwt::decoded(key.parameter(name).and_then(Value::as_str).expect("a member"));
    let (x, y) = (part("x").expect("base64url"), part("y").expect("base64url"));
    let point = [&[4][..], &x, &y].concat();
    let parsed = aws_lc_rs::signature::ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    (parsed.expect("a point"), message, signature)
}

criterion_group! {
    name = all;
    config = Criterion::default().warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(3));
    targets = ratio, baselines, requests
}
criterion_main!(all);
