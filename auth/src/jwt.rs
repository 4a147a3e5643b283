//! Splits and decodes the compact form of a JWS (RFC 7515 section 3.1), bounded in size and
//! untrusted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

use crate::json::Object;

/// Longer tokens and proofs are rejected before anything is decoded.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("longer than 8 KiB")]
    TooLong,
    #[error("not three base64url parts")]
    Shape,
    #[error("a part is not a JSON object with unique member names")]
    Json,
}

/// A JWS whose signature has not been verified.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// The protected header as it was sent.
    pub header_text: &'a str,
    header: Vec<u8>,
    payload: Vec<u8>,
    pub signature: Vec<u8>,
    /// `header.payload` as it was signed.
    pub signing_input: &'a [u8],
    /// The signature as it was sent.
    pub signature_text: &'a str,
}

impl<'a> Unverified<'a> {
    /// Three non-empty base64url parts without padding (RFC 7515 section 7.1).
    pub fn split(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(JwtError::TooLong);
        }
        let (input, signature) = text.rsplit_once('.').ok_or(JwtError::Shape)?;
        let (header, payload) = input.split_once('.').ok_or(JwtError::Shape)?;
        Ok(Self {
            header_text: header,
            header: decode(header)?,
            payload: decode(payload)?,
            signature: decode(signature)?,
            signing_input: input.as_bytes(),
            signature_text: signature,
        })
    }

    /// Parses the protected header strictly.
    pub fn header(&self) -> Result<Object<'_>, JwtError> {
        Object::parse(&self.header).map_err(|_| JwtError::Json)
    }

    /// Parses the claims strictly.
    pub fn claims(&self) -> Result<Object<'_>, JwtError> {
        Object::parse(&self.payload).map_err(|_| JwtError::Json)
    }

    /// Deserializes the claims, for callers that do not authorize by them.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JwtError> {
        serde_json::from_slice(&self.payload).map_err(|_| JwtError::Json)
    }
}

/// Decodes base64url without padding; rejects an empty part, a second dot and trailing bits.
fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    if part.is_empty() {
        return Err(JwtError::Shape);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Shape)
}

/// Encodes as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding, canonical form only.
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Compares a base64url text with a digest in constant time.
pub(crate) fn is_digest(text: &str, digest: &[u8; 32]) -> bool {
    use subtle::ConstantTimeEq;
    let mut expected = [0; 43];
    let written = URL_SAFE_NO_PAD.encode_slice(digest, &mut expected);
    written.is_ok() && bool::from(text.as_bytes().ct_eq(&expected))
}
