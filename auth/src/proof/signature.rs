//! Check 6 of RFC 9449 section 4.3: signatures of proofs, with keys that were read before.
//!
//! josekit reads every key and judges the seldom algorithms. ES256 and EdDSA, which devices
//! use, are judged by aws-lc-rs: josekit sets OpenSSL's context up anew for each signature
//! (auth/README.md, "Cost"). Not here: which algorithm a proof may name.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use josekit::jwk::Jwk;
use josekit::jws::{ES256, ES384, EdDSA, JwsVerifier, PS256, RS256};

use crate::thumbprint::{KeyError, KeyKind, ProofKey};

/// A device's key, ready to judge signatures of one algorithm.
#[derive(Debug)]
pub(crate) struct Verifier {
    kind: KeyKind,
    library: Library,
}

#[derive(Debug)]
enum Library {
    AwsLc(ParsedPublicKey),
    Josekit(Box<dyn JwsVerifier>),
}

impl Verifier {
    /// Makes it from the canonical members alone, so that nothing else in the `jwk` is believed.
    /// Both libraries refuse a point that is not on its curve.
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

    /// Whether the key made this signature of this message.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        self.has_its_length(signature)
            && match &self.library {
                Library::AwsLc(key) => key.verify_sig(message, signature).is_ok(),
                Library::Josekit(verifier) => verifier.verify(message, signature).is_ok(),
            }
    }

    /// Elliptic signatures have one length (RFC 7518 section 3.4, RFC 8032 section 5.1.6): DER
    /// and padded forms are refused. RSA's is the modulus's, which its library asks for.
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
        "ES256" => ES256.verifier_from_jwk(&jwk).map(|it| Box::new(it) as _),
        "ES384" => ES384.verifier_from_jwk(&jwk).map(|it| Box::new(it) as _),
        "EdDSA" | "Ed25519" => EdDSA.verifier_from_jwk(&jwk).map(|it| Box::new(it) as _),
        "RS256" => RS256.verifier_from_jwk(&jwk).map(|it| Box::new(it) as _),
        _ => PS256.verifier_from_jwk(&jwk).map(|it| Box::new(it) as _),
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
