//! Public keys in a proof's header, and their RFC 7638 thumbprints.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::jwt;

/// The `jwk` of a proof's header. Members of private and symmetric keys are read only to be refused.
#[derive(Debug, Deserialize)]
pub struct ProofKey {
    pub kty: String,
    pub crv: Option<String>,
    pub x: Option<String>,
    pub y: Option<String>,
    pub n: Option<String>,
    pub e: Option<String>,
    d: Option<serde::de::IgnoredAny>,
    p: Option<serde::de::IgnoredAny>,
    q: Option<serde::de::IgnoredAny>,
    dp: Option<serde::de::IgnoredAny>,
    dq: Option<serde::de::IgnoredAny>,
    qi: Option<serde::de::IgnoredAny>,
    oth: Option<serde::de::IgnoredAny>,
    k: Option<serde::de::IgnoredAny>,
}

impl ProofKey {
    /// Whether the key carries a part that must never leave its device (RFC 9449 section 4.3, check 7).
    pub fn has_private_member(&self) -> bool {
        let members = [&self.d, &self.p, &self.q, &self.dp, &self.dq, &self.qi, &self.oth, &self.k];
        members.into_iter().any(Option::is_some)
    }

    /// The members RFC 7638 section 3.2 requires, in its order. `None` when one is missing
    /// or holds a character that JSON would have to escape.
    fn canonical(&self) -> Option<String> {
        let member = |value: &Option<String>| value.clone().filter(|text| is_plain(text));
        match self.kty.as_str() {
            "EC" => {
                let (crv, x, y) = (member(&self.crv)?, member(&self.x)?, member(&self.y)?);
                Some(format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#))
            }
            "OKP" => {
                let (crv, x) = (member(&self.crv)?, member(&self.x)?);
                Some(format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#))
            }
            "RSA" => {
                let (e, n) = (member(&self.e)?, member(&self.n)?);
                Some(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#))
            }
            _ => None,
        }
    }

    /// SHA-256 thumbprint, base64url, and the canonical JSON it was made of.
    pub fn thumbprint(&self) -> Option<(String, String)> {
        let canonical = self.canonical()?;
        Some((jwt::encode(&Sha256::digest(canonical.as_bytes())), canonical))
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thumbprint(jwk: &str) -> String {
        serde_json::from_str::<ProofKey>(jwk).unwrap().thumbprint().unwrap().0
    }

    #[test]
    fn rfc_7638_section_3_1_rsa() {
        let jwk = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        assert_eq!(thumbprint(jwk), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn rfc_8037_appendix_a_3_ed25519() {
        let jwk =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(thumbprint(jwk), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_member_that_would_break_out_of_the_json_is_refused() {
        let jwk = r#"{"kty":"OKP","crv":"Ed25519\",\"x\":\"","x":"AA"}"#;
        assert!(serde_json::from_str::<ProofKey>(jwk).unwrap().thumbprint().is_none());
    }
}
