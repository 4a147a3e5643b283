//! Public keys in a proof's header (RFC 7517, RFC 7518 section 6, RFC 8037 section 2) and their
//! thumbprints (RFC 7638).

use sha2::{Digest, Sha256};

use crate::json::{Object, Value};
use crate::jwt;

/// Members that only a private or a symmetric key has (RFC 7518 sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Smaller keys are weak; larger ones cost too much per proof.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Why a `jwk` is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key has a private or symmetric member")]
    Private,
    #[error("the key is not a usable public key")]
    Unusable,
}

/// Key types. Each allows one algorithm, RSA two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// A public key in the canonical form of RFC 7638 section 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofKey {
    pub kind: KeyKind,
    /// The required members only, ordered; other members of the `jwk` are ignored.
    pub canonical: String,
}

impl ProofKey {
    /// Reads the `jwk` member of a proof's header. Rejects a private member whatever its value,
    /// even `null` (RFC 9449 section 4.3, check 7).
    pub fn read(jwk: &Object<'_>) -> Result<Self, KeyError> {
        if PRIVATE_MEMBERS.into_iter().any(|member| jwk.has(member)) {
            return Err(KeyError::Private);
        }
        if !is_for_signatures(jwk) {
            return Err(KeyError::Unusable);
        }
        Self::canonical(jwk).ok_or(KeyError::Unusable)
    }

    /// `None` if a member is missing or not base64url.
    fn canonical(jwk: &Object<'_>) -> Option<Self> {
        let member = |name: &str| jwk.text(name).filter(|text| is_base64url(text));
        let (kind, canonical) = match (jwk.text("kty")?, jwk.text("crv")) {
            ("EC", Some(curve @ ("P-256" | "P-384"))) => {
                let (x, y) = (member("x")?, member("y")?);
                let kind = if curve == "P-256" { KeyKind::P256 } else { KeyKind::P384 };
                (kind, concat(&[r#"{"crv":""#, curve, r#"","kty":"EC","x":""#, x, r#"","y":""#, y]))
            }
            ("OKP", Some("Ed25519")) => {
                let x = member("x")?;
                (KeyKind::Ed25519, concat(&[r#"{"crv":"Ed25519","kty":"OKP","x":""#, x]))
            }
            ("RSA", _) => {
                let (e, n) = (member("e")?, member("n")?);
                (KeyKind::Rsa, concat(&[r#"{"e":""#, e, r#"","kty":"RSA","n":""#, n]))
            }
            _ => return None,
        };
        Some(Self { kind, canonical })
    }

    /// SHA-256 thumbprint, base64url (RFC 7638 section 3, RFC 9449 section 6.1).
    pub fn thumbprint(&self) -> String {
        jwt::encode(&Sha256::digest(self.canonical.as_bytes()))
    }

    /// The bytes of a member, such as `x` or `n`.
    pub(crate) fn number(&self, name: &str) -> Option<Vec<u8>> {
        let members = Object::parse(self.canonical.as_bytes()).ok()?;
        jwt::decoded(members.text(name)?)
    }

    /// Checks that the numbers have the size and form their type prescribes, before a library sees
    /// the key. The library checks that a point is on its curve.
    pub fn is_well_formed(&self) -> bool {
        let bytes = |name| self.number(name).unwrap_or_default();
        match self.kind {
            // RFC 7518 section 6.2.1.2: the full size of a coordinate.
            KeyKind::P256 => bytes("x").len() == 32 && bytes("y").len() == 32,
            KeyKind::P384 => bytes("x").len() == 48 && bytes("y").len() == 48,
            KeyKind::Ed25519 => bytes("x").len() == 32,
            KeyKind::Rsa => is_sound_rsa(&bytes("n"), &bytes("e")),
        }
    }
}

/// The thumbprint of a public key in JSON.
pub fn thumbprint(jwk: &[u8]) -> Result<String, KeyError> {
    let object = Object::parse(jwk).map_err(|_| KeyError::Unusable)?;
    Ok(ProofKey::read(&object)?.thumbprint())
}

/// Checks that `use` and `key_ops`, if present, allow verification (RFC 7517 sections 4.2 and 4.3).
fn is_for_signatures(jwk: &Object<'_>) -> bool {
    let by_use = match jwk.get("use") {
        None => true,
        Some(value) => value.text() == Some("sig"),
    };
    let by_operation = match jwk.get("key_ops") {
        None => true,
        Some(Value::List(operations)) => {
            operations.iter().any(|operation| operation.text() == Some("verify"))
        }
        Some(_) => false,
    };
    by_use && by_operation
}

/// RFC 7518 section 6.3.1: no leading zeros. An exponent of one makes every message its own
/// signature, a long one is slow, an even one is invalid.
fn is_sound_rsa(modulus: &[u8], exponent: &[u8]) -> bool {
    let bits = match modulus.first() {
        None | Some(0) => return false,
        Some(first) => modulus.len() * 8 - first.leading_zeros() as usize,
    };
    let sound_exponent = match exponent {
        [] | [0, ..] | [1] => false,
        [.., last] => exponent.len() <= 4 && last % 2 == 1,
    };
    RSA_BITS.contains(&bits) && sound_exponent
}

fn is_base64url(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Concatenates the parts and closes the object, with one allocation.
fn concat(parts: &[&str]) -> String {
    let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 2);
    for part in parts {
        text.push_str(part);
    }
    text.push_str("\"}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7638_section_3_1_rsa() {
        let jwk = br#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        assert_eq!(thumbprint(jwk).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn rfc_8037_appendix_a_3_ed25519() {
        let jwk =
            br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(thumbprint(jwk).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_member_that_would_break_out_of_the_json_is_refused() {
        let jwk = br#"{"kty":"OKP","crv":"Ed25519","x":"A\",\"y\":\"A"}"#;
        assert_eq!(thumbprint(jwk), Err(KeyError::Unusable));
    }

    #[test]
    fn an_rsa_key_has_a_sound_size_and_exponent() {
        let modulus = |bytes: usize| [vec![0x80], vec![1; bytes - 1]].concat();
        assert!(is_sound_rsa(&modulus(256), &[1, 0, 1]));
        assert!(is_sound_rsa(&modulus(512), &[3]));
        for (modulus, exponent) in [
            (modulus(255), &[1, 0, 1][..]),
            (modulus(513), &[1, 0, 1]),
            ([vec![0], modulus(256)].concat(), &[1, 0, 1]),
            ([vec![0x7f], modulus(255)].concat(), &[1, 0, 1]),
            (modulus(256), &[]),
            (modulus(256), &[1]),
            (modulus(256), &[2]),
            (modulus(256), &[0, 3]),
            (modulus(256), &[1, 0, 0, 0, 1]),
        ] {
            assert!(!is_sound_rsa(&modulus, exponent), "{} {exponent:?}", modulus.len());
        }
    }
}
