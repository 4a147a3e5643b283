use josekit::jwk::Jwk;
use josekit::jws::JwsSigner;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_790_000_000;
const TARGET: &str = "https://localhost:8083/api/bff/backoffice/v1/dashboard";
const TOKEN: &str = "an.access.token";

struct Device {
    key: Jwk,
}

impl Device {
    fn new() -> Self {
        Self { key: Jwk::generate_ec_key(josekit::jwk::alg::ec::EcCurve::P256).unwrap() }
    }

    fn public(&self) -> Value {
        let public = self.key.to_public_key().unwrap();
        json!({"kty": "EC", "crv": "P-256", "x": public.parameter("x"), "y": public.parameter("y")})
    }

    fn thumbprint(&self) -> String {
        serde_json::from_value::<ProofKey>(self.public()).unwrap().thumbprint().unwrap().0
    }

    fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.public()})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = format!(
            "{}.{}",
            jwt::encode(header.to_string().as_bytes()),
            jwt::encode(claims.to_string().as_bytes())
        );
        let signature = ES256.signer_from_jwk(&self.key).unwrap().sign(input.as_bytes()).unwrap();
        format!("{input}.{}", jwt::encode(&signature))
    }
}

fn claims() -> Value {
    let ath = jwt::encode(&Sha256::digest(TOKEN.as_bytes()));
    json!({"jti": "one", "htm": "GET", "htu": TARGET, "iat": NOW, "ath": ath})
}

fn judge(device: &Device, text: &str) -> Result<Proof, ProofError> {
    let bound = device.thumbprint();
    let expected = Expected {
        method: "GET",
        targets: &[Htu::parse(TARGET).unwrap()],
        access_token: Some(TOKEN),
        bound_to: Some(&bound),
        now: Timestamp::from_second(NOW).unwrap(),
    };
    ProofVerifier::new(Window::default()).verify(text, &expected)
}

fn with(change: impl FnOnce(&mut Value, &mut Value)) -> Result<Proof, ProofError> {
    let device = Device::new();
    let (mut header, mut body) = (device.header(), claims());
    change(&mut header, &mut body);
    let text = device.sign(&header, &body);
    judge(&device, &text)
}

#[test]
fn a_fresh_proof_passes() {
    let proof = with(|_, _| {}).unwrap();
    assert_eq!(proof.replay.acceptable_until.as_second(), NOW + 61);
}

#[test]
fn the_rfc_9449_section_4_1_example_passes() {
    let text = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let expected = Expected {
        method: "POST",
        targets: &[Htu::parse("https://server.example.com/token").unwrap()],
        access_token: None,
        bound_to: None,
        now: Timestamp::from_second(1_562_262_620).unwrap(),
    };
    let proof = ProofVerifier::new(Window::default()).verify(text, &expected).unwrap();
    assert_eq!(proof.thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn each_check_has_its_own_answer() {
    use ProofError as E;
    type Change = fn(&mut Value, &mut Value);
    let cases: &[(&str, Change, E)] = &[
        (
            "typ absent",
            |h, _| {
                h.as_object_mut().unwrap().remove("typ");
            },
            E::Type,
        ),
        ("typ of an access token", |h, _| h["typ"] = json!("at+jwt"), E::Type),
        ("alg none", |h, _| h["alg"] = json!("none"), E::Algorithm),
        ("alg HS256", |h, _| h["alg"] = json!("HS256"), E::Algorithm),
        ("alg of another curve", |h, _| h["alg"] = json!("ES384"), E::Algorithm),
        ("crit", |h, _| h["crit"] = json!(["zz"]), E::Critical),
        ("private member", |h, _| h["jwk"]["d"] = json!("AA"), E::PrivateKey),
        ("private member null", |h, _| h["jwk"]["k"] = json!("AA"), E::PrivateKey),
        ("not a point", |h, _| h["jwk"]["x"] = json!("AAAA"), E::Key),
        ("jti empty", |_, c| c["jti"] = json!(""), E::Claims),
        ("jti long", |_, c| c["jti"] = json!("x".repeat(257)), E::Claims),
        (
            "jti absent",
            |_, c| {
                c.as_object_mut().unwrap().remove("jti");
            },
            E::Claims,
        ),
        ("iat a string", |_, c| c["iat"] = json!("1"), E::Claims),
        ("iat a float", |_, c| c["iat"] = json!(1.5), E::Claims),
        (
            "ath absent",
            |_, c| {
                c.as_object_mut().unwrap().remove("ath");
            },
            E::Claims,
        ),
        ("htm lower case", |_, c| c["htm"] = json!("get"), E::Method),
        ("htm other", |_, c| c["htm"] = json!("POST"), E::Method),
        ("htu other path", |_, c| c["htu"] = json!("https://localhost:8083/other"), E::Uri),
        ("htu relative", |_, c| c["htu"] = json!("/dashboard"), E::Uri),
        ("too old", |_, c| c["iat"] = json!(NOW - 61), E::Time),
        ("too far ahead", |_, c| c["iat"] = json!(NOW + 11), E::Time),
        ("the smallest integer", |_, c| c["iat"] = json!(i64::MIN), E::Time),
        ("ath of another token", |_, c| c["ath"] = json!("x"), E::TokenDigest),
    ];
    for (name, change, error) in cases {
        assert_eq!(with(change).unwrap_err(), *error, "{name}");
    }
}

#[test]
fn the_window_s_edges_are_inside() {
    assert!(with(|_, c| c["iat"] = json!(NOW - 60)).is_ok());
    assert!(with(|_, c| c["iat"] = json!(NOW + 10)).is_ok());
}

#[test]
fn another_key_is_refused_even_with_a_valid_proof() {
    let (owner, thief) = (Device::new(), Device::new());
    let text = thief.sign(&thief.header(), &claims());
    assert_eq!(judge(&owner, &text).unwrap_err(), ProofError::Binding);
}

#[test]
fn a_signature_of_another_key_or_form_is_refused() {
    let (device, other) = (Device::new(), Device::new());
    let forged = other.sign(&device.header(), &claims());
    assert_eq!(judge(&device, &forged).unwrap_err(), ProofError::Signature);
    let good = device.sign(&device.header(), &claims());
    let (input, _) = good.rsplit_once('.').unwrap();
    let zero = format!("{input}.{}", jwt::encode(&[0; 64]));
    assert_eq!(judge(&device, &zero).unwrap_err(), ProofError::Signature);
    let long = format!("{input}.{}", jwt::encode(&[1; 70]));
    assert_eq!(judge(&device, &long).unwrap_err(), ProofError::Signature);
}

#[test]
fn what_is_not_one_compact_jws_is_refused() {
    let device = Device::new();
    let good = device.sign(&device.header(), &claims());
    for bad in [
        "",
        "abc",
        "a.b.c.d.e",
        "..",
        &format!("{good}, {good}"),
        &format!("{good}="),
        &"a".repeat(9000),
    ] {
        assert!(matches!(judge(&device, bad), Err(ProofError::Jwt(_))), "{bad}");
    }
}
