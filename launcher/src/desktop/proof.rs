//! DPoP proof builder. Tests can set or remove any member.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;

use super::key::DeviceKey;
use crate::secrets::random_hex;

#[derive(Debug, Clone)]
pub struct Proof {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Proof {
    /// A correct proof for one request, without a token. `now`: Unix seconds.
    pub fn new(method: &Method, url: &Url, now: i64) -> Self {
        let mut target = url.clone();
        target.set_query(None);
        target.set_fragment(None);
        Self { header: Map::new(), claims: Map::new() }
            .header("typ", "dpop+jwt")
            .header("alg", "ES256")
            .claim("htm", method.as_str())
            .claim("htu", target.as_str())
            .claim("iat", now)
            .claim("jti", random_hex(16))
    }

    /// Binds it to an access token.
    pub fn for_token(self, token: &str) -> Self {
        self.claim("ath", URL_SAFE_NO_PAD.encode(Sha256::digest(token)))
    }

    /// Sets a claim, right or wrong.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a header member, right or wrong.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim or header member.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self.header.remove(name);
        self
    }

    /// Signs with `key`. The header contains the public key unless another was set.
    pub fn sign(mut self, key: &DeviceKey) -> anyhow::Result<String> {
        let public = key.public_jwk()?;
        self.header.entry("jwk").or_insert(public);
        key.sign(&Value::Object(self.header), &Value::Object(self.claims))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_target_carries_no_query() {
        let url = Url::parse("https://localhost:8083/a?b=c#d").unwrap();
        let proof = Proof::new(&Method::GET, &url, 7);
        assert_eq!(proof.claims["htu"], json!("https://localhost:8083/a"));
        assert_eq!(proof.claims["htm"], json!("GET"));
    }

    #[test]
    fn a_proof_verifies_with_the_key_it_shows() {
        let key = DeviceKey::generate().unwrap();
        let url = Url::parse("https://localhost/a").unwrap();
        let proof = Proof::new(&Method::POST, &url, 7).for_token("t").sign(&key).unwrap();
        let shown = josekit::jwk::Jwk::from_bytes(key.public_jwk().unwrap().to_string()).unwrap();
        let verifier = josekit::jws::ES256.verifier_from_jwk(&shown).unwrap();
        let (claims, header) = josekit::jws::deserialize_compact(&proof, &verifier).unwrap();
        assert_eq!(header.claim("typ"), Some(&json!("dpop+jwt")));
        assert!(String::from_utf8(claims).unwrap().contains("\"ath\""));
    }
}
