//! A key that signs tokens, and its public half.

use contracts::upstream::iam::AccessTokenClaims;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("a key of the iam is not a P-256 private key in PKCS#8 PEM form: {0}. Make a new one.")]
    Pem(#[from] jsonwebtoken::errors::Error),
    #[error("MELMASTOON_IAM__ISSUER is not an http or https address. Leave it out to use its own.")]
    Issuer,
}

#[derive(derive_more::Debug)]
#[debug("SigningKey {{ id: {:?}, .. }}", self.public.common.key_id)]
pub(crate) struct SigningKey {
    key: EncodingKey,
    public: Jwk,
}

/// The claims that the gateway reads, and `client_id`, which RFC 9068 requires as well.
#[derive(Serialize)]
struct Payload<'a> {
    client_id: &'a str,
    #[serde(flatten)]
    claims: &'a AccessTokenClaims,
}

impl SigningKey {
    pub(crate) fn read(pem: &[u8]) -> Result<Self, KeyError> {
        let key = EncodingKey::from_ec_pem(pem)?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, public })
    }

    /// A JWT access token (RFC 9068 section 2).
    pub(crate) fn sign(&self, client_id: &str, claims: &AccessTokenClaims) -> String {
        self.sign_as("at+jwt", &Payload { client_id, claims })
    }

    /// A JWT of this `typ`.
    pub(crate) fn sign_as(&self, typ: &str, claims: &impl Serialize) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.to_owned());
        header.kid.clone_from(&self.public.common.key_id);
        encode(&header, claims, &self.key).expect("the key was checked when it was read")
    }

    pub(crate) fn public(&self) -> JwkSet {
        JwkSet { keys: vec![self.public.clone()] }
    }
}
