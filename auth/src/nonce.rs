//! Nonces the server asks proofs to carry (RFC 9449 sections 8 and 9): made and judged from a
//! key that instances share, so that none is stored and each instance takes the others'.
//!
//! A nonce is its period's number and a MAC over it. All clients of a period get the same one:
//! what makes a proof single is its `jti`, the nonce only shows when it was made.

use aws_lc_rs::hmac;
use jiff::Timestamp;

use crate::jwt;

/// Seconds a nonce is handed out; it is taken for as long again.
const PERIOD: i64 = 60;
/// Separates these MACs from any other use of the key.
const PURPOSE: &[u8] = b"melmastoon dpop nonce 1";
const NUMBER: usize = 8;
const WHOLE: usize = NUMBER + 32;

/// Makes and judges nonces.
pub struct Nonces(hmac::Key);

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces")
    }
}

/// The key is too short to resist guessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a nonce key has at least 32 random bytes")]
pub struct KeyTooShort;

impl Nonces {
    /// The longest time a nonce is taken, in seconds, for a server whose clock lags by `ahead`.
    pub(crate) const fn longest(ahead: i64) -> i64 {
        2 * PERIOD + ahead
    }

    /// `key`: at least 32 random bytes, the same on every instance.
    pub fn new(key: &[u8]) -> Result<Self, KeyTooShort> {
        if key.len() < 32 {
            return Err(KeyTooShort);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The nonce to hand out now (RFC 9449 section 8.2): 54 characters of base64url.
    pub fn current(&self, now: Timestamp) -> String {
        let number = period(now).to_be_bytes();
        let mut whole = [0; WHOLE];
        whole[..NUMBER].copy_from_slice(&number);
        whole[NUMBER..].copy_from_slice(self.tag(number).as_ref());
        jwt::encode(&whole)
    }

    /// The first instant at which the nonce is no longer taken; `None` when it is not one of
    /// this or the previous period, or not ours. `ahead`: seconds by which the clock of the
    /// instance that made it may lead. The MAC is compared in constant time.
    pub fn ends(&self, nonce: &str, now: Timestamp, ahead: i64) -> Option<Timestamp> {
        if nonce.len() != WHOLE.div_ceil(3) * 4 - 2 {
            return None;
        }
        let whole = jwt::decoded(nonce)?;
        let (number, tag) = whole.split_at_checked(NUMBER)?;
        let number: [u8; NUMBER] = number.try_into().ok()?;
        hmac::verify(&self.0, &message(number), tag).ok()?;
        let made_in = i64::from_be_bytes(number);
        let newest = now.as_second().checked_add(ahead)?.div_euclid(PERIOD);
        if made_in < period(now) - 1 || made_in > newest {
            return None;
        }
        Timestamp::from_second((made_in + 2) * PERIOD).ok()
    }

    fn tag(&self, number: [u8; NUMBER]) -> hmac::Tag {
        hmac::sign(&self.0, &message(number))
    }
}

fn period(now: Timestamp) -> i64 {
    now.as_second().div_euclid(PERIOD)
}

fn message(number: [u8; NUMBER]) -> [u8; NUMBER + PURPOSE.len()] {
    let mut message = [0; NUMBER + PURPOSE.len()];
    message[..NUMBER].copy_from_slice(&number);
    message[NUMBER..].copy_from_slice(PURPOSE);
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
    fn a_nonce_is_taken_in_its_period_and_the_next() {
        assert_eq!(START % PERIOD, 0);
        let (one, other) = (nonces(7), nonces(7));
        let nonce = one.current(at(START + 30));
        for second in [START, START + 30, START + 119] {
            assert_eq!(other.ends(&nonce, at(second), 0), Some(at(START + 120)), "{second}");
        }
        assert_eq!(other.ends(&nonce, at(START + 120), 0), None);
        assert_eq!(one.current(at(START)), nonce);
        assert_ne!(one.current(at(START + 60)), nonce);
    }

    #[test]
    fn an_instance_whose_clock_lags_takes_the_next_period_s() {
        let nonce = nonces(7).current(at(START));
        assert!(nonces(7).ends(&nonce, at(START - 10), 10).is_some());
        assert!(nonces(7).ends(&nonce, at(START - 11), 10).is_none());
    }

    #[test]
    fn what_another_key_made_or_somebody_changed_is_not_taken() {
        let ours = nonces(7);
        let nonce = ours.current(at(START));
        assert!(ours.ends(&nonces(8).current(at(START)), at(START), 10).is_none());
        for place in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(ours.ends(&changed, at(START), 10).is_none(), "{place}");
        }
        for bad in ["", "guess", &nonce[1..], &format!("{nonce}="), &"é".repeat(27)] {
            assert!(ours.ends(bad, at(START), 10).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!(Nonces::new(&[1; 31]).unwrap_err(), KeyTooShort);
    }
}
