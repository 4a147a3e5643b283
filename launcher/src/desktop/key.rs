//! The device's P-256 key, stored as a JWK in a file that only its owner can read.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jws::alg::ecdsa::EcdsaJwsSigner;
use josekit::jws::{ES256, JwsSigner};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::data_dir::write_private;

#[derive(Debug, Clone)]
pub struct DeviceKey {
    jwk: Jwk,
    /// Built once: parsing the key takes far longer than signing with it.
    signer: EcdsaJwsSigner,
}

impl DeviceKey {
    pub fn generate() -> anyhow::Result<Self> {
        Self::of(Jwk::generate_ec_key(EcCurve::P256).context("making a device key")?)
    }

    fn of(jwk: Jwk) -> anyhow::Result<Self> {
        let signer = ES256.signer_from_jwk(&jwk).context("the device key cannot sign")?;
        Ok(Self { jwk, signer })
    }

    /// Reads a P-256 key in PKCS#8 PEM, such as the servers' signing keys.
    pub fn from_pem(pem: &[u8]) -> anyhow::Result<Self> {
        let pair = EcKeyPair::from_pem(pem, Some(EcCurve::P256)).context("reading a key")?;
        Self::of(pair.to_jwk_key_pair())
    }

    pub fn load_or_make(file: &Path) -> anyhow::Result<Self> {
        if let Ok(text) = fs::read(file) {
            let key = Jwk::from_bytes(&text);
            return Self::of(key.with_context(|| format!("{} is no JWK", file.display()))?);
        }
        let key = Self::generate()?;
        write_private(file, key.jwk.to_string().as_bytes())?;
        Ok(key)
    }

    /// The public JWK, as in a proof's header.
    pub fn public_jwk(&self) -> anyhow::Result<Value> {
        let member = |name: &str| {
            self.jwk
                .parameter(name)
                .cloned()
                .with_context(|| format!("the device key has no {name}"))
        };
        Ok(json!({"kty": "EC", "crv": "P-256", "x": member("x")?, "y": member("y")?}))
    }

    /// The JWK including the private member, for proofs that wrongly include it.
    pub fn private_jwk(&self) -> Value {
        Value::Object(self.jwk.as_ref().clone())
    }

    /// RFC 7638 thumbprint, base64url; equals the token's `cnf.jkt`.
    pub fn thumbprint(&self) -> anyhow::Result<String> {
        thumbprint_of(&self.public_jwk()?)
    }

    /// Signs a compact JWS over exactly this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.signer.sign(message.as_bytes()).context("signing a proof")?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn thumbprint_of(public: &Value) -> anyhow::Result<String> {
    let (Some(x), Some(y)) = (public["x"].as_str(), public["y"].as_str()) else {
        bail!("the device key's coordinates are no strings");
    };
    // The required members in the order of their names, without white space.
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_9449() {
        // The key of RFC 9449 section 4.1, and `cnf.jkt` of section 6.1.
        let public = json!({"kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"});
        assert_eq!(thumbprint_of(&public).unwrap(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }
}
