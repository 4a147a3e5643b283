//! The compact form of a JWS (RFC 7515 section 3.1), split and decoded without trust.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

/// Tokens and proofs longer than this are refused before anything is decoded.
pub const LONGEST: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("it is longer than 8 KiB")]
    TooLong,
    #[error("it does not have three base64url parts")]
    Shape,
    #[error("a part is not the JSON object it should be")]
    Json,
}

/// A JWS whose signature nobody has checked yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    header: Vec<u8>,
    payload: Vec<u8>,
    pub signature: Vec<u8>,
    /// `header.payload` as it was signed.
    pub signing_input: &'a [u8],
}

impl<'a> Unverified<'a> {
    pub fn split(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > LONGEST {
            return Err(JwtError::TooLong);
        }
        let (input, signature) = text.rsplit_once('.').ok_or(JwtError::Shape)?;
        let (header, payload) = input.split_once('.').ok_or(JwtError::Shape)?;
        Ok(Self {
            header: decode(header)?,
            payload: decode(payload)?,
            signature: decode(signature)?,
            signing_input: input.as_bytes(),
        })
    }

    pub fn header<T: DeserializeOwned>(&self) -> Result<T, JwtError> {
        serde_json::from_slice(&self.header).map_err(|_| JwtError::Json)
    }

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
