//! Every file of `vectors/`, judged as a request is at the gateway.
//!
//! A case changes one thing of a good request, or brings its own signed text; auth/README.md
//! describes the recipe. Keys are made anew for each run.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

mod recipe;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auth::htu::Htu;
use auth::judge::{AuthError, Credentials, Judge};
use auth::nonce::Nonces;
use auth::proof::{ProofError, ProofVerifier, Window};
use auth::replay::LocalReplays;
use auth::token::TokenRules;
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

fn judge(case: &Case) -> Judge {
    let mut proofs = ProofVerifier::new(Window::default());
    if case.nonces {
        proofs = proofs.with_nonces(Nonces::new(&[7; 32]).unwrap());
    }
    let rules = TokenRules { issuer: ISSUER.into(), audience: "bff-backoffice".into() };
    Judge::new(proofs, rules, vec![Htu::parse(case.base.as_deref().unwrap_or(BASE)).unwrap()])
}

/// The verdict on the last of these requests, each of which burns its proof. `looks`: how often the
/// judge has seen them by then, because it keeps tokens and headers that hold.
fn verdict(case: &Case, keys: &Keys, looks: u8) -> Result<(), AuthError> {
    let (judge, replays) = (judge(case), LocalReplays::new(100, Duration::from_secs(200)));
    for Request { method, path, headers, at } in
        (1..looks).flat_map(|_| recipe::requests(case, keys))
    {
        let request = Credentials::read(&method, &path, &headers);
        let now = Timestamp::from_second(at).unwrap();
        let _ = request.map(|request| judge.judge(&request, &keys.set, now));
    }
    let mut last = Ok(());
    for Request { method, path, headers, at } in recipe::requests(case, keys) {
        let now = Timestamp::from_second(at).unwrap();
        last = Credentials::read(&method, &path, &headers)
            .and_then(|request| judge.judge(&request, &keys.set, now))
            .and_then(|verified| {
                verified.check_device(&headers)?;
                let first = replays.first_use(verified.replay, now);
                if first { Ok(()) } else { Err(ProofError::Replayed.into()) }
            });
    }
    last
}

#[test]
fn every_vector_is_judged_as_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let keys = Keys::new();
    let (mut cases, mut wrong) = (0, Vec::new());
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file: File = serde_json::from_slice(&std::fs::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!file.check.is_empty() && !file.source.is_empty() && !file.cases.is_empty());
        for (case, looks) in file.cases.iter().flat_map(|case| [(case, 1), (case, 2)]) {
            cases += 1;
            let got = match verdict(case, &keys, looks) {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            let (of, expected) = (&case.name, &case.expect);
            if got != *expected {
                wrong.push(format!("{name}: {of}, look {looks}: expected {expected}, got {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 800, "only {cases} cases were found");
}

/// The examples of the RFCs, whose time and URI are their own.
#[test]
fn the_examples_of_rfc_9449_are_taken_at_their_time_and_no_other() {
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

/// A known token is asked of its keys again when they change, and of its expiry every time.
#[test]
fn a_known_token_is_forgotten_with_its_keys_and_ends_at_its_time() {
    let file: Case =
        serde_json::from_str(r#"{"name":"good","expect":"ok","nonces":true}"#).unwrap();
    let (keys, judge) = (Keys::new(), judge(&file));
    let request = recipe::requests(&file, &keys).pop().unwrap();
    let (method, path) = (request.method.as_str(), request.path.as_str());
    let credentials = Credentials::read(method, path, &request.headers).unwrap();
    let at = |second| Timestamp::from_second(second).unwrap();
    let verdict = |set, second| judge.judge(&credentials, set, at(second)).map(drop);
    assert_eq!(verdict(&keys.set, request.at), Ok(()));
    assert_eq!(judge.missing_key(&credentials, &keys.set), Ok(None));
    let rotated = Keys::new().set;
    let unknown = AuthError::Token(auth::token::TokenError::Signature);
    assert_eq!(verdict(&rotated, request.at), Err(unknown), "verified by keys that are gone");
    assert_eq!(verdict(&keys.set, request.at), Ok(()));
    let expired = AuthError::Proof(ProofError::NonceUnknown);
    assert_eq!(verdict(&keys.set, request.at + 900), Err(expired), "the proof is judged first");
}
