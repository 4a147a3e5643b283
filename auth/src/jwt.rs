//! The compact form of a JWS (RFC 7515 section 3.1), bounded, split and decoded without trust.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

use crate::json::Object;

/// Tokens and proofs longer than this are refused before anything is decoded.
pub const LONGEST: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("it is longer than 8 KiB")]
    TooLong,
    #[error("it does not have three base64url parts")]
    Shape,
    #[error("a part is not one JSON object in which every name stands once")]
    Json,
}

/// A JWS whose signature nobody has checked yet.
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
        if text.len() > LONGEST {
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

    /// The protected header, read strictly.
    pub fn header(&self) -> Result<Object<'_>, JwtError> {
        Object::parse(&self.header).map_err(|_| JwtError::Json)
    }

    /// The claims, read strictly.
    pub fn claims(&self) -> Result<Object<'_>, JwtError> {
        Object::parse(&self.payload).map_err(|_| JwtError::Json)
    }

    /// The claims as a type of the caller's, for those who decide nothing by them.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JwtError> {
        serde_json::from_slice(&self.payload).map_err(|_| JwtError::Json)
    }
}

/// base64url without padding; an empty part, a second dot or loose trailing bits are refused.
fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    if part.is_empty() {
        return Err(JwtError::Shape);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Shape)
}

/// base64url without padding of these bytes.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Bytes of a base64url text without padding, if it is one and in its only form.
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Whether the text is the base64url form of these 32 bytes; takes as long for any text of its length.
pub(crate) fn is_digest(text: &str, digest: &[u8; 32]) -> bool {
    use subtle::ConstantTimeEq;
    let mut expected = [0; 43];
    let written = URL_SAFE_NO_PAD.encode_slice(digest, &mut expected);
    written.is_ok() && bool::from(text.as_bytes().ct_eq(&expected))
}
