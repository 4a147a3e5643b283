//! Writes requests with mutated proofs and tokens and this crate's outcome for each, one JSON object per
//! line, for `compare.mjs` to check with another implementation.
//!
//! The mutations come from `auth/vectors`: one or two are combined, with any kind of key, and some headers
//! are damaged at a random position. The seed determines all of that; keys and signatures are new each time.
#![expect(clippy::unwrap_used, reason = "a generator may end with a panic")]

#[path = "../tests/vectors/recipe.rs"]
mod recipe;

use std::io::{BufWriter, Write};
use std::path::Path;

use auth::htu::Htu;
use auth::proof::{ProofVerifier, Window};
use auth::token::TokenRules;
use auth::verifier::{RequestCredentials, RequestVerifier};
use http::HeaderValue;
use jiff::Timestamp;
use recipe::{BASE, Case, ISSUER, Keys, Request};
use serde_json::{Map, Value, json};

/// Key and algorithm of each proof before mutation.
const SIGNERS: [(&str, &str); 6] = [
    ("P-256", "ES256"),
    ("P-256", "ES256"),
    ("Ed25519", "EdDSA"),
    ("P-384", "ES384"),
    ("RSA", "RS256"),
    ("RSA", "PS256"),
];
/// Characters that damage a header.
const LETTERS: &[u8] = b"AZaz09-_.=+/ ,~";

/// SplitMix64, which is small and deterministic.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The vectors' cases as mutations, without features that the other implementation lacks.
fn mutations() -> Vec<Map<String, Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for case in file["cases"].as_array_mut().unwrap() {
            let case = case.as_object_mut().unwrap();
            let skipped = ["nonces", "before", "again_after"];
            if case["expect"] != "Device" && !skipped.iter().any(|it| case.contains_key(*it)) {
                case["name"] = json!(format!("{stem}: {}", case["name"].as_str().unwrap()));
                all.push(case.clone());
            }
        }
    }
    all
}

/// Merges `over` into `under`; `over` wins.
fn merge(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (name, value) in over {
        match (under.get_mut(name), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            (Some(Value::Array(under)), Value::Array(over)) if name == "remove" => {
                under.extend(over.clone());
            }
            _ => drop(under.insert(name.clone(), value.clone())),
        }
    }
}

/// Applies up to two mutations to a valid request by any signer. The outcome is known for a single mutation
/// with the vectors' signer.
fn case(dice: &mut Dice, pool: &[Map<String, Value>]) -> Case {
    let (key, algorithm) = *dice.pick(&SIGNERS);
    let mut whole = Map::new();
    let mut names = vec![algorithm.to_owned()];
    let mut proof = json!({"key": key, "header": {"alg": algorithm}});
    if dice.one_in(5) {
        let offset = dice.below(801) as i64 - 400;
        names.push(format!("iat {offset:+}"));
        proof["claims"] = json!({"iat": format!("@now{offset:+}")});
    }
    let is_plain = key == "P-256" && names.len() == 1;
    whole.insert("proof".into(), proof);
    for _ in 0..*dice.pick(&[0, 1, 1, 1, 1, 1, 2, 2, 2, 2]) {
        let mutation = dice.pick(pool);
        names.push(mutation["name"].as_str().unwrap().to_owned());
        let changes = mutation.get("proof").unwrap_or(&Value::Null);
        if changes.get("key").is_some() && changes.pointer("/header/alg").is_none() {
            // Another key determines its own algorithm.
            whole["proof"]["header"].as_object_mut().unwrap().remove("alg");
        }
        merge(&mut whole, mutation);
    }
    if !(is_plain && names.len() == 2) {
        whole.insert("expect".into(), json!(""));
    }
    whole.insert("name".into(), json!(names.join("; ")));
    serde_json::from_value(whole.into()).unwrap()
}

/// Changes, removes or inserts one character of a header.
fn damage(dice: &mut Dice, request: &mut Request) -> Option<String> {
    let name = *dice.pick(&["dpop", "dpop", "authorization"]);
    let mut text = request.headers.get(name)?.as_bytes().to_vec();
    if text.is_empty() {
        return None;
    }
    let (position, letter) = (dice.below(text.len()), *dice.pick(LETTERS));
    match dice.below(3) {
        0 => text[position] = letter,
        1 => drop(text.remove(position)),
        _ => text.insert(position, letter),
    }
    request.headers.insert(name, HeaderValue::from_bytes(&text).ok()?);
    Some(format!("{name} damaged at {position}"))
}

fn verifier(base: &str) -> RequestVerifier {
    let rules = TokenRules { issuer: ISSUER.into(), audience: "bff-backoffice".into() };
    RequestVerifier::new(
        ProofVerifier::new(Window::default()),
        rules,
        vec![Htu::parse(base).unwrap()],
    )
}

fn outcome(verifier: &RequestVerifier, request: &Request, keys: &Keys) -> String {
    let now = Timestamp::from_second(request.at).unwrap();
    let judged = RequestCredentials::read(&request.method, &request.path, &request.headers)
        .and_then(|credentials| verifier.verify(&credentials, &keys.set, now));
    judged.map_or_else(|error| format!("{error:?}"), |_| "ok".to_owned())
}

fn line(name: &str, base: &str, request: &Request, outcome: &str) -> Value {
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({
        "from": name, "method": request.method, "now": request.at, "headers": headers,
        "url": format!("{base}{}?propertyId=ppt_01K0000000000000000000000A", request.path),
        "outcome": outcome,
    })
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let (count, seed) = (numbers.next().unwrap_or(5_000), numbers.next().unwrap_or(9449));
    let (mut dice, keys, pool) = (Dice(seed), Keys::new(), mutations());
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{}", json!({"issuer": ISSUER, "jwks": keys.document()})).unwrap();
    let warm = verifier(BASE);
    for _ in 0..count {
        let case = case(&mut dice, &pool);
        let mut request = recipe::requests(&case, &keys).pop().unwrap();
        let damaged = if dice.one_in(8) { damage(&mut dice, &mut request) } else { None };
        let base = case.base.as_deref().unwrap_or(BASE);
        let known = outcome(&verifier(base), &request, &keys);
        if base == BASE {
            let warm = outcome(&warm, &request, &keys);
            assert_eq!(warm, known, "a warm verifier changed the outcome");
        }
        if !case.expect.is_empty() && damaged.is_none() {
            assert_eq!(known, case.expect, "{}", case.name);
        }
        let name = format!("{}; {}", case.name, damaged.unwrap_or_default());
        writeln!(out, "{}", line(&name, base, &request, &known)).unwrap();
    }
    out.flush().unwrap();
}
