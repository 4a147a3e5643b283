//! Verifies every case of `vectors/` as a request at the gateway.
//!
//! A case changes one thing of a valid request, or has its own signed text; auth/README.md
//! describes the format. Each run generates new keys.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

mod recipe;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auth::htu::Htu;
use auth::nonce::Nonces;
use auth::proof::{ProofError, ProofVerifier, Window};
use auth::replay::LocalReplays;
use auth::token::TokenRules;
use auth::verifier::{AuthError, RequestCredentials, RequestVerifier};
use jiff::Timestamp;
use recipe::{BASE, Case, ISSUER, Keys, Request};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    check: String,
    source: String,
    cases: Vec<Case>,
}

fn verifier(case: &Case) -> RequestVerifier {
    let mut proofs = ProofVerifier::new(Window::default());
    if case.nonces {
        proofs = proofs.with_nonces(Nonces::new(&[7; 32]).unwrap());
    }
    let rules = TokenRules { issuer: ISSUER.into(), audience: "bff-backoffice".into() };
    RequestVerifier::new(
        proofs,
        rules,
        vec![Htu::parse(case.base.as_deref().unwrap_or(BASE)).unwrap()],
    )
}

/// The result of the last of these requests, each of which consumes its proof. `passes`: how often
/// the verifier has seen them by then, because it caches valid tokens and headers.
fn result(case: &Case, keys: &Keys, passes: u8) -> Result<(), AuthError> {
    let (verifier, replays) = (verifier(case), LocalReplays::new(100, Duration::from_secs(200)));
    for Request { method, path, headers, at } in
        (1..passes).flat_map(|_| recipe::requests(case, keys))
    {
        let request = RequestCredentials::read(&method, &path, &headers);
        let now = Timestamp::from_second(at).unwrap();
        let _ = request.map(|request| verifier.verify(&request, &keys.set, now));
    }
    let mut last = Ok(());
    for Request { method, path, headers, at } in recipe::requests(case, keys) {
        let now = Timestamp::from_second(at).unwrap();
        last = RequestCredentials::read(&method, &path, &headers)
            .and_then(|request| verifier.verify(&request, &keys.set, now))
            .and_then(|verified| {
                verified.check_device(&headers)?;
                let first = replays.first_use(verified.replay, now);
                if first { Ok(()) } else { Err(ProofError::Replayed.into()) }
            });
    }
    last
}

#[test]
fn every_vector_has_the_expected_result() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let keys = Keys::new();
    let (mut cases, mut wrong) = (0, Vec::new());
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file: File = serde_json::from_slice(&std::fs::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!file.check.is_empty() && !file.source.is_empty() && !file.cases.is_empty());
        for (case, passes) in file.cases.iter().flat_map(|case| [(case, 1), (case, 2)]) {
            cases += 1;
            let got = match result(case, &keys, passes) {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            let (of, expected) = (&case.name, &case.expect);
            if got != *expected {
                wrong.push(format!("{name}: {of}, pass {passes}: expected {expected}, got {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 800, "only {cases} cases were found");
}

/// The examples of the RFCs, whose time and URI are their own.
#[test]
fn the_examples_of_rfc_9449_are_accepted_only_at_their_time() {
    #[derive(Deserialize)]
    struct Example {
        source: String,
        proof: String,
        method: String,
        uri: String,
        token: Option<String>,
        iat: i64,
        thumbprint: String,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rfc9449.json");
    let examples: Vec<Example> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let proofs = Arc::new(ProofVerifier::new(Window::default()));
    for example in examples {
        let digest = example.token.as_deref().map(recipe::sha256);
        let verify = |second| {
            proofs.verify(
                &example.proof,
                &auth::proof::Expected {
                    method: &example.method,
                    targets: &[Htu::parse(&example.uri).unwrap()],
                    token_digest: digest.as_ref(),
                    bound_to: Some(&example.thumbprint),
                    now: Timestamp::from_second(second).unwrap(),
                },
            )
        };
        let proof =
            verify(example.iat + 5).unwrap_or_else(|error| panic!("{}: {error}", example.source));
        assert_eq!(proof.replay.acceptable_until.as_second(), example.iat + 61);
        assert_eq!(verify(example.iat + 61), Err(ProofError::Time), "{}", example.source);
    }
}

/// A cached token is verified again when the keys change, and its expiry is always checked.
#[test]
fn a_cached_token_is_dropped_with_its_keys_and_expires() {
    let file: Case =
        serde_json::from_str(r#"{"name":"good","expect":"ok","nonces":true}"#).unwrap();
    let (keys, verifier) = (Keys::new(), verifier(&file));
    let request = recipe::requests(&file, &keys).pop().unwrap();
    let (method, path) = (request.method.as_str(), request.path.as_str());
    let credentials = RequestCredentials::read(method, path, &request.headers).unwrap();
    let at = |second| Timestamp::from_second(second).unwrap();
    let result = |set, second| verifier.verify(&credentials, set, at(second)).map(drop);
    assert_eq!(result(&keys.set, request.at), Ok(()));
    assert_eq!(verifier.missing_key(&credentials, &keys.set), Ok(None));
    let rotated = Keys::new().set;
    let unknown = AuthError::Token(auth::token::TokenError::Signature);
    assert_eq!(result(&rotated, request.at), Err(unknown), "verified by rotated keys");
    assert_eq!(result(&keys.set, request.at), Ok(()));
    let expired = AuthError::Proof(ProofError::NonceUnknown);
    assert_eq!(result(&keys.set, request.at + 900), Err(expired), "the proof is checked first");
}
