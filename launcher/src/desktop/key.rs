//! The device's P-256 key, stored as a JWK in a file that only its owner can read.

use std::fs;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jws::alg::ecdsa::EcdsaJwsSigner;
use josekit::jws::{ES256, JwsSigner};
use serde_json::{Value, json};

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

    /// Signs a compact JWS over exactly this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.signer.sign(message.as_bytes()).context("signing a proof")?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
