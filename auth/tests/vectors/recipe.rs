//! Builds the requests that a case describes, signed with keys of this run.

use std::sync::Arc;

use auth::jwks::KeySet;
use auth::jwt;
use auth::nonce::Nonces;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jwk::alg::ed::EdCurve;
use josekit::jws::{ES256, ES384, EdDSA, HS256, JwsSigner, PS256, RS256};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub(crate) const NOW: i64 = 1_790_000_040;
pub(crate) const BASE: &str = "https://desk.test";
pub(crate) const ISSUER: &str = "https://iam.test";
/// For keys that have none; the proof is refused before it matters.
const ANY_THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const DEVICE: &str = "dev_01K0000000000000000000000A";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// `ok`, or the error as Rust prints it.
    pub(crate) expect: String,
    #[serde(default)]
    pub(crate) nonces: bool,
    pub(crate) base: Option<String>,
    #[serde(default)]
    request: Line,
    #[serde(default)]
    proof: Part,
    #[serde(default)]
    token: Part,
    /// Instead of the good ones.
    headers: Option<Vec<(String, String)>>,
    /// A request before this one: its proof is this one's with these changes.
    before: Option<Part>,
    /// Sends the same request again after so many seconds.
    again_after: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Line {
    method: Option<String>,
    path: Option<String>,
}

/// Changes to one JWT.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Part {
    key: Option<String>,
    /// A key to sign with that is not the one shown.
    signed_by: Option<String>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    jwk: Map<String, Value>,
    remove: Vec<String>,
    /// Appended inside the object as it is, to write what a map cannot hold.
    header_tail: String,
    claims_tail: String,
    jwk_tail: String,
    raw_header: Option<String>,
    raw_claims: Option<String>,
    signature: Option<String>,
    compact: Option<String>,
}

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) at: i64,
}

pub(crate) struct Keys {
    all: Vec<(&'static str, Jwk)>,
    pub(crate) set: Arc<KeySet>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let ec = |curve| Jwk::generate_ec_key(curve).unwrap();
        let all = vec![
            ("P-256", ec(EcCurve::P256)),
            ("attacker", ec(EcCurve::P256)),
            ("P-384", ec(EcCurve::P384)),
            ("secp256k1", ec(EcCurve::Secp256k1)),
            ("Ed25519", Jwk::generate_ed_key(EdCurve::Ed25519).unwrap()),
            ("RSA", Jwk::generate_rsa_key(2048).unwrap()),
            ("RSA-1024", Jwk::generate_rsa_key(1024).unwrap()),
            ("iam", ec(EcCurve::P256)),
            ("oct", Jwk::generate_oct_key(32).unwrap()),
        ];
        let mut keys = Self { all, set: Arc::default() };
        keys.set = Arc::new(KeySet::parse(keys.document().to_string().as_bytes()).unwrap());
        keys
    }

    /// iam's key set as it would be fetched.
    pub(crate) fn document(&self) -> Value {
        let mut iam = self.public("iam");
        iam.insert("kid".into(), json!("iam-1"));
        let mut other = self.public("RSA");
        other.insert("kid".into(), json!("iam-rsa"));
        other.insert("alg".into(), json!("PS256"));
        json!({"keys": [iam, other]})
    }

    fn jwk(&self, name: &str) -> &Jwk {
        let found = self.all.iter().find(|(known, _)| *known == name);
        &found.unwrap_or_else(|| panic!("no key is called {name}")).1
    }

    fn public(&self, name: &str) -> Map<String, Value> {
        let key = self.jwk(name);
        let members = ["kty", "crv", "x", "y", "n", "e"].into_iter();
        let members =
            members.filter_map(|name| Some((name.to_owned(), key.parameter(name)?.clone())));
        let mut public: Map<String, Value> = members.collect();
        if name == "oct" {
            public.insert("k".into(), key.parameter("k").unwrap().clone());
        }
        public
    }

    fn sign(&self, key: &str, algorithm: &str, input: &[u8]) -> Vec<u8> {
        let jwk = self.jwk(key);
        let signed = match (algorithm, key) {
            ("HS256", _) => HS256.signer_from_jwk(self.jwk("oct")).unwrap().sign(input),
            ("PS256", "RSA") => PS256.signer_from_jwk(jwk).unwrap().sign(input),
            (_, "RSA") => RS256.signer_from_jwk(jwk).unwrap().sign(input),
            (_, "P-384") => ES384.signer_from_jwk(jwk).unwrap().sign(input),
            (_, "Ed25519") => EdDSA.signer_from_jwk(jwk).unwrap().sign(input),
            // Keys no algorithm of ours fits; the signature is never reached.
            (_, "RSA-1024" | "secp256k1" | "oct") => return vec![1; 64],
            _ => ES256.signer_from_jwk(jwk).unwrap().sign(input),
        };
        signed.unwrap()
    }
}

pub(crate) fn sha256(text: impl AsRef<str>) -> [u8; 32] {
    Sha256::digest(text.as_ref().as_bytes()).into()
}

/// The requests of a case in order; the result of the last counts.
pub(crate) fn requests(case: &Case, keys: &Keys) -> Vec<Request> {
    let token = token(case, keys);
    let request = |changes: Option<&Part>, at| {
        let proof = proof(case, changes, &token, keys);
        Request {
            method: case.request.method.clone().unwrap_or_else(|| "GET".into()),
            path: case.request.path.clone().unwrap_or_else(|| "/api/today".into()),
            headers: headers(case, &token, &proof),
            at,
        }
    };
    let mut all: Vec<Request> = case.before.iter().map(|part| request(Some(part), NOW)).collect();
    all.push(request(None, NOW));
    if let Some(seconds) = case.again_after {
        let first = all.last().unwrap();
        all.push(Request {
            method: first.method.clone(),
            path: first.path.clone(),
            headers: first.headers.clone(),
            at: NOW + seconds,
        });
    }
    all
}

fn headers(case: &Case, token: &str, proof: &str) -> HeaderMap {
    let good = [("authorization", "DPoP @TOKEN@"), ("dpop", "@PROOF@"), ("x-device-id", DEVICE)];
    let good = good.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut map = HeaderMap::new();
    for (name, value) in case.headers.as_ref().unwrap_or(&good) {
        let value =
            value.replace("@TOKEN@", token).replace("@PROOF@", proof).replace("@DEVICE@", DEVICE);
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn token(case: &Case, keys: &Keys) -> String {
    let part = &case.token;
    let key = part.key.as_deref().unwrap_or("iam");
    let kid = if key == "RSA" { "iam-rsa" } else { "iam-1" };
    let bound = case.proof.key.as_deref().filter(|key| *key != "attacker").unwrap_or("P-256");
    let jkt = auth::jwk::thumbprint(Value::Object(keys.public(bound)).to_string().as_bytes());
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid});
    let claims = json!({
        "iss": ISSUER, "aud": "bff-backoffice", "client_id": "desktop", "sub": "opr_01K0000000000000000000000A",
        "tenant_id": "tnt_01K0000000000000000000000A", "device_id": DEVICE,
        "property_ids": ["ppt_01K0000000000000000000000A"], "roles": ["front_desk"],
        "cnf": {"jkt": jkt.unwrap_or_else(|_| ANY_THUMBPRINT.into())}, "iat": NOW, "exp": NOW + 900, "jti": "t",
    });
    write(part, header, claims, key, keys)
}

fn proof(case: &Case, changes: Option<&Part>, token: &str, keys: &Keys) -> String {
    let part = &case.proof;
    let key = part.key.as_deref().unwrap_or("P-256");
    let algorithm = match key {
        "P-384" => "ES384",
        "Ed25519" => "EdDSA",
        "RSA" | "RSA-1024" => "RS256",
        _ => "ES256",
    };
    let mut jwk = keys.public(key);
    jwk.extend(part.jwk.iter().map(|(name, value)| (name.clone(), filled(value, keys, key))));
    part.remove
        .iter()
        .for_each(|name| drop(name.strip_prefix("jwk.").map(|name| jwk.remove(name))));
    let jwk = with_tail(&Value::Object(jwk), &part.jwk_tail);
    let mut header: Map<String, Value> = Map::new();
    header.insert("typ".into(), json!("dpop+jwt"));
    header.insert("alg".into(), json!(algorithm));
    header.insert("jwk".into(), json!("@JWK@"));
    let ath = jwt::encode(&sha256(token));
    let mut claims = json!({
        "jti": "one", "htm": "GET", "htu": format!("{BASE}/api/today"), "iat": NOW,
        "ath": ath,
    });
    if case.nonces {
        claims["nonce"] = json!("@nonce");
    }
    if let Some(changes) = changes {
        claims.as_object_mut().unwrap().extend(changes.claims.clone());
    }

    write(part, Value::Object(header), claims, key, &WithJwk { keys, jwk: &jwk, ath: &ath })
}

/// Where the text `"@JWK@"` of a header and `@ATH@` of claims are to be replaced.
struct WithJwk<'a> {
    keys: &'a Keys,
    jwk: &'a str,
    ath: &'a str,
}

trait Signing {
    fn keys(&self) -> &Keys;
    fn fill_in(&self, text: String) -> String {
        text
    }
}

impl Signing for Keys {
    fn keys(&self) -> &Keys {
        self
    }
}

impl Signing for WithJwk<'_> {
    fn keys(&self) -> &Keys {
        self.keys
    }

    fn fill_in(&self, text: String) -> String {
        text.replace("\"@JWK@\"", self.jwk).replace("@ATH@", self.ath)
    }
}

fn write(part: &Part, header: Value, claims: Value, key: &str, with: &impl Signing) -> String {
    let keys = with.keys();
    let change = |whole: Value, changes: &Map<String, Value>, prefix: &str| {
        let Value::Object(mut whole) = whole else { unreachable!("both are objects") };
        whole.extend(changes.clone());
        part.remove
            .iter()
            .for_each(|name| drop(name.strip_prefix(prefix).map(|member| whole.remove(member))));
        whole.values_mut().for_each(|value| *value = filled(value, keys, key));
        Value::Object(whole)
    };
    let header = change(header, &part.header, "header.");
    let claims = change(claims, &part.claims, "claims.");
    let algorithm = header["alg"].as_str().unwrap_or_default().to_owned();
    let header = part.raw_header.clone().unwrap_or_else(|| with_tail(&header, &part.header_tail));
    let claims = part.raw_claims.clone().unwrap_or_else(|| with_tail(&claims, &part.claims_tail));
    let input = format!(
        "{}.{}",
        jwt::encode(with.fill_in(header).as_bytes()),
        jwt::encode(with.fill_in(claims).as_bytes())
    );
    let signer = part.signed_by.as_deref().unwrap_or(key);
    let signature = keys.sign(signer, &algorithm, input.as_bytes());
    let signature = deform(signature, part.signature.as_deref());
    let whole = format!("{input}.{}", jwt::encode(&signature));
    match &part.compact {
        None => whole,
        Some(text) => text
            .replace("@LONG@", &"A".repeat(9000))
            .replace("@THIS@", &whole)
            .replace("@INPUT@", &input)
            .replace("@SIGNATURE@", &jwt::encode(&signature)),
    }
}

fn with_tail(value: &Value, tail: &str) -> String {
    let text = value.to_string();
    format!("{}{tail}}}", &text[..text.len() - 1])
}

fn deform(mut signature: Vec<u8>, how: Option<&str>) -> Vec<u8> {
    let half = signature.len() / 2;
    match how {
        None => return signature,
        Some("flip first") => signature[0] ^= 1,
        Some("flip last") => *signature.last_mut().unwrap() ^= 0x80,
        Some("zero") => signature.fill(0),
        Some("zero r") => signature[..half].fill(0),
        Some("zero s") => signature[half..].fill(0),
        Some("ones") => signature.fill(0xff),
        Some("short") => drop(signature.pop()),
        Some("long") => signature.push(0),
        Some("der") => {
            signature =
                [&[0x30, 0x44, 2, 0x20][..], &signature[..half], &[2, 0x20], &signature[half..]]
                    .concat();
        }
        Some(other) => panic!("no signature is deformed so: {other}"),
    }
    signature
}

/// Texts that begin with `@` stand for what is known only now.
fn filled(value: &Value, keys: &Keys, key: &str) -> Value {
    let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) else {
        return value.clone();
    };
    if let Some(offset) = name.strip_prefix("now") {
        return json!(NOW + offset.parse::<i64>().unwrap_or(0));
    }
    if let Some(length) = name.strip_prefix("long ") {
        return json!("x".repeat(length.parse().unwrap()));
    }
    if let Some(member) = name.strip_prefix("own ") {
        // A key that has no such member shows something else.
        return keys.jwk(key).parameter(member).cloned().unwrap_or_else(|| json!("AA"));
    }
    let nonce = |key: u8, at| {
        json!(Nonces::new(&[key; 32]).unwrap().current(Timestamp::from_second(at).unwrap()))
    };
    match name {
        "nonce" => nonce(7, NOW),
        "previous nonce" => nonce(7, NOW - 60),
        "old nonce" => nonce(7, NOW - 120),
        "early nonce" => nonce(7, NOW + 60),
        "foreign nonce" => nonce(8, NOW),
        "ath of another" => json!(jwt::encode(&sha256("another"))),
        "JWK@" => value.clone(),
        other => panic!("nothing is called @{other}"),
    }
}
