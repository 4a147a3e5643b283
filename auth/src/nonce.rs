//! Server nonces for DPoP proofs (RFC 9449 sections 8 and 9). Derived from a key that all instances
//! share, so that none is stored and each instance accepts the others'.
//!
//! A nonce is the number of its period and a MAC over it. All clients of a period get the same one:
//! the `jti` makes a proof unique, the nonce only proves when it was made.

use aws_lc_rs::hmac;
use jiff::Timestamp;

use crate::jwt;

/// A nonce is issued for one period and accepted until the end of the next.
const PERIOD_SECONDS: i64 = 60;
/// Domain separation from other uses of the key.
const PURPOSE: &[u8] = b"melmastoon dpop nonce 1";
const NUMBER_BYTES: usize = 8;
const NONCE_BYTES: usize = NUMBER_BYTES + 32;

/// Issues and verifies nonces.
#[derive(derive_more::Debug)]
#[debug("Nonces")]
pub struct Nonces(hmac::Key);

/// The key is too short to resist guessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a nonce key has at least 32 random bytes")]
pub struct KeyTooShort;

impl Nonces {
    /// The longest time a nonce is accepted, in seconds, by a server whose clock lags by `ahead`.
    pub(crate) const fn max_lifetime(ahead: i64) -> i64 {
        2 * PERIOD_SECONDS + ahead
    }

    /// `key`: at least 32 random bytes, the same on every instance.
    pub fn new(key: &[u8]) -> Result<Self, KeyTooShort> {
        if key.len() < 32 {
            return Err(KeyTooShort);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The nonce to issue now (RFC 9449 section 8.2): 54 characters of base64url.
    pub fn current(&self, now: Timestamp) -> String {
        let period_number = period(now).to_be_bytes();
        let mut whole = [0; NONCE_BYTES];
        whole[..NUMBER_BYTES].copy_from_slice(&period_number);
        whole[NUMBER_BYTES..].copy_from_slice(self.tag(period_number).as_ref());
        jwt::encode(&whole)
    }

    /// Returns when the nonce expires, or `None` if it is not of this or the previous period or not
    /// issued by this service. `ahead`: seconds by which the issuing instance's clock may lead. The
    /// MAC is compared in constant time.
    pub fn expires_at(&self, nonce: &str, now: Timestamp, ahead: i64) -> Option<Timestamp> {
        if nonce.len() != NONCE_BYTES.div_ceil(3) * 4 - 2 {
            return None;
        }
        let whole = jwt::decoded(nonce)?;
        let (period_number, tag) = whole.split_at_checked(NUMBER_BYTES)?;
        let period_number: [u8; NUMBER_BYTES] = period_number.try_into().ok()?;
        hmac::verify(&self.0, &message(period_number), tag).ok()?;
        let issued_in = i64::from_be_bytes(period_number);
        let newest = now.as_second().checked_add(ahead)?.div_euclid(PERIOD_SECONDS);
        if issued_in < period(now) - 1 || issued_in > newest {
            return None;
        }
        Timestamp::from_second((issued_in + 2) * PERIOD_SECONDS).ok()
    }

    fn tag(&self, period_number: [u8; NUMBER_BYTES]) -> hmac::Tag {
        hmac::sign(&self.0, &message(period_number))
    }
}

fn period(now: Timestamp) -> i64 {
    now.as_second().div_euclid(PERIOD_SECONDS)
}

fn message(period_number: [u8; NUMBER_BYTES]) -> [u8; NUMBER_BYTES + PURPOSE.len()] {
    let mut message = [0; NUMBER_BYTES + PURPOSE.len()];
    message[..NUMBER_BYTES].copy_from_slice(&period_number);
    message[NUMBER_BYTES..].copy_from_slice(PURPOSE);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a period.
    const START: i64 = 1_790_000_040;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn nonces(key: u8) -> Nonces {
        Nonces::new(&[key; 32]).unwrap()
    }

    #[test]
    fn a_nonce_is_accepted_in_its_period_and_the_next() {
        assert_eq!(START % PERIOD_SECONDS, 0);
        let (one, other) = (nonces(7), nonces(7));
        let nonce = one.current(at(START + 30));
        for second in [START, START + 30, START + 119] {
            assert_eq!(other.expires_at(&nonce, at(second), 0), Some(at(START + 120)), "{second}");
        }
        assert_eq!(other.expires_at(&nonce, at(START + 120), 0), None);
        assert_eq!(one.current(at(START)), nonce);
        assert_ne!(one.current(at(START + 60)), nonce);
    }

    #[test]
    fn an_instance_whose_clock_lags_accepts_the_next_periods_nonce() {
        let nonce = nonces(7).current(at(START));
        assert!(nonces(7).expires_at(&nonce, at(START - 10), 10).is_some());
        assert!(nonces(7).expires_at(&nonce, at(START - 11), 10).is_none());
    }

    #[test]
    fn forged_or_altered_nonces_are_rejected() {
        let ours = nonces(7);
        let nonce = ours.current(at(START));
        assert!(ours.expires_at(&nonces(8).current(at(START)), at(START), 10).is_none());
        for index in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(ours.expires_at(&changed, at(START), 10).is_none(), "{index}");
        }
        for bad in ["", "guess", &nonce[1..], &format!("{nonce}="), &"é".repeat(27)] {
            assert!(ours.expires_at(bad, at(START), 10).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!(Nonces::new(&[1; 31]).unwrap_err(), KeyTooShort);
    }
}
