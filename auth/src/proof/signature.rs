//! Verifies signatures of proofs (check 6 of RFC 9449 section 4.3).
//!
//! josekit parses every key and verifies the rare algorithms. ES256 and EdDSA, which devices use,
//! are verified by aws-lc-rs, because josekit creates an OpenSSL context per signature
//! (auth/README.md, "Cost"). Not here: which algorithms a proof may use.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use josekit::jwk::Jwk;
use josekit::jws::{ES256, ES384, EdDSA, JwsVerifier, PS256, RS256};

use crate::jwk::{KeyError, KeyKind, ProofKey};

/// Verifies signatures of one key with one algorithm.
#[derive(Debug)]
pub(crate) struct SignatureVerifier {
    kind: KeyKind,
    library: Library,
}

#[derive(Debug)]
enum Library {
    AwsLc(ParsedPublicKey),
    Josekit(Box<dyn JwsVerifier>),
}

impl SignatureVerifier {
    /// Uses the canonical members only; nothing else in the `jwk` is trusted. Both libraries reject
    /// a point that is not on its curve.
    pub(crate) fn new(algorithm: &str, key: &ProofKey) -> Result<Self, KeyError> {
        if !key.is_well_formed() {
            return Err(KeyError::Unusable);
        }
        let read = josekit_verifier(algorithm, key)?;
        let library = match key.kind {
            KeyKind::P256 => aws_lc(&ECDSA_P256_SHA256_FIXED, &point(key)?)?,
            KeyKind::Ed25519 => aws_lc(&ED25519, &key.number("x").ok_or(KeyError::Unusable)?)?,
            KeyKind::P384 | KeyKind::Rsa => Library::Josekit(read),
        };
        Ok(Self { kind: key.kind, library })
    }

    /// Whether this is the key's signature of this message.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        self.has_its_length(signature)
            && match &self.library {
                Library::AwsLc(key) => key.verify_sig(message, signature).is_ok(),
                Library::Josekit(verifier) => verifier.verify(message, signature).is_ok(),
            }
    }

    /// Elliptic signatures have a fixed length (RFC 7518 section 3.4, RFC 8032 section 5.1.6), so
    /// DER and padded forms are rejected. The library checks the length of RSA signatures.
    fn has_its_length(&self, signature: &[u8]) -> bool {
        match self.kind {
            KeyKind::P256 | KeyKind::Ed25519 => signature.len() == 64,
            KeyKind::P384 => signature.len() == 96,
            KeyKind::Rsa => true,
        }
    }
}

fn josekit_verifier(algorithm: &str, key: &ProofKey) -> Result<Box<dyn JwsVerifier>, KeyError> {
    let jwk = Jwk::from_bytes(&key.canonical).map_err(|_| KeyError::Unusable)?;
    let made: Result<Box<dyn JwsVerifier>, _> = match algorithm {
        "ES256" => ES256.verifier_from_jwk(&jwk).map(|verifier| Box::new(verifier) as _),
        "ES384" => ES384.verifier_from_jwk(&jwk).map(|verifier| Box::new(verifier) as _),
        "EdDSA" | "Ed25519" => {
            EdDSA.verifier_from_jwk(&jwk).map(|verifier| Box::new(verifier) as _)
        }
        "RS256" => RS256.verifier_from_jwk(&jwk).map(|verifier| Box::new(verifier) as _),
        _ => PS256.verifier_from_jwk(&jwk).map(|verifier| Box::new(verifier) as _),
    };
    made.map_err(|_| KeyError::Unusable)
}

fn aws_lc(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<Library, KeyError> {
    ParsedPublicKey::new(algorithm, key).map(Library::AwsLc).map_err(|_| KeyError::Unusable)
}

/// The uncompressed form (SEC 1 section 2.3.3).
fn point(key: &ProofKey) -> Result<Vec<u8>, KeyError> {
    let (x, y) = (key.number("x"), key.number("y"));
    let (x, y) = x.zip(y).ok_or(KeyError::Unusable)?;
    Ok([&[4][..], &x, &y].concat())
}
