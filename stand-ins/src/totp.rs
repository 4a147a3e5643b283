//! Time-based one-time passwords (RFC 6238 over RFC 4226): SHA-1, six digits, 30 seconds. Used
//! by the iam stand-in to check codes and by clients to make them.
//!
//! Not here: which codes were used already.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;

/// Seconds in a period.
const PERIOD: i64 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not base32 (RFC 4648 section 6, without padding)")]
pub struct SecretError;

/// The number of the period that contains `at` (RFC 6238 section 4.2).
pub fn step(at: Timestamp) -> i64 {
    at.as_second().div_euclid(PERIOD)
}

/// The code of period `step` for a base32 secret.
pub fn code(secret: &str, step: i64) -> Result<String, SecretError> {
    let secret = BASE32_NOPAD.decode(secret.as_bytes()).map_err(|_| SecretError)?;
    Ok(hotp(&secret, step.cast_unsigned(), 6))
}

/// RFC 4226 section 5.3.
fn hotp(secret: &[u8], counter: u64, digits: usize) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 0x0f);
    let chosen = [tag[offset] & 0x7f, tag[offset + 1], tag[offset + 2], tag[offset + 3]];
    let number = u32::from_be_bytes(chosen) % 10_u32.pow(digits as u32);
    format!("{number:0digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_6238_appendix_b_hold() {
        let secret = b"12345678901234567890";
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let step = step(Timestamp::from_second(seconds).unwrap());
            assert_eq!(hotp(secret, step.cast_unsigned(), 8), code);
            assert_eq!(super::code(&BASE32_NOPAD.encode(secret), step).unwrap(), code[2..]);
        }
    }

    #[test]
    fn a_secret_is_base32_in_capitals_without_padding() {
        assert!(code("MZXW6", 1).is_ok());
        for wrong in ["mzxw6", "MZXW6===", "MZXW1", "M"] {
            assert_eq!(code(wrong, 1), Err(SecretError), "{wrong}");
        }
    }
}
