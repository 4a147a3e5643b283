//! Time-based one-time passwords (RFC 6238 over RFC 4226): SHA-1, six digits, 30 seconds. Used
//! by the iam stand-in to check codes and by clients to make them.
//!
//! Not here: which codes were used already.

use aws_lc_rs::hmac;
use jiff::Timestamp;

/// Seconds in a period.
const PERIOD: i64 = 30;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not base32 (RFC 4648 section 6, without padding)")]
pub struct SecretError;

/// The number of the period that contains `at` (RFC 6238 section 4.2).
pub fn step(at: Timestamp) -> i64 {
    at.as_second().div_euclid(PERIOD)
}

/// The code of period `step` for a base32 secret.
pub fn code(secret: &str, step: i64) -> Result<String, SecretError> {
    Ok(hotp(&from_base32(secret)?, step.cast_unsigned(), 6))
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

/// RFC 4648 section 6, without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let letter = |group: &[u8], at: usize| {
        let bits = group.iter().chain(std::iter::repeat(&0)).take(5);
        let number = bits.fold(0_u64, |number, &byte| (number << 8) | u64::from(byte));
        char::from(ALPHABET[((number >> (35 - 5 * at)) & 31) as usize])
    };
    let letters = |group: &[u8]| {
        let count = (group.len() * 8).div_ceil(5);
        (0..count).map(|at| letter(group, at)).collect::<String>()
    };
    bytes.chunks(5).map(letters).collect()
}

fn from_base32(text: &str) -> Result<Vec<u8>, SecretError> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|&known| known == letter).ok_or(SecretError)?;
        held = ((held << 5) | value as u32) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Ok(bytes)
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
            assert_eq!(super::code(&base32(secret), step).unwrap(), code[2..]);
        }
    }

    #[test]
    fn base32_is_that_of_rfc_4648_section_10() {
        for (plain, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), text);
            assert_eq!(from_base32(text).unwrap(), plain.as_bytes());
        }
        assert_eq!(from_base32("mzxw"), Err(SecretError));
    }
}
