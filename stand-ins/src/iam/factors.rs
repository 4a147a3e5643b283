//! Checks codes of second factors: each is valid once (RFC 6238 section 5.2), and a series of wrong
//! ones locks the operator for a while.

use std::collections::HashMap;

use contracts::id::OperatorId;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

use crate::demo::Operator;
use crate::totp;

/// Periods by which a client's clock may differ (RFC 6238 section 5.2 recommends one).
const MAX_STEP_SKEW: i64 = 1;
/// Wrong codes within [`WRONG_CODE_WINDOW`] that lock the operator.
const MAX_WRONG_CODES: usize = 5;
/// How long a wrong code counts.
const WRONG_CODE_WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Attempts by operator.
#[derive(Debug, Default)]
pub(super) struct Factors(Mutex<HashMap<OperatorId, Attempts>>);

#[derive(Debug, Default)]
struct Attempts {
    /// Periods whose code was used and is not expired.
    used: Vec<i64>,
    /// Times of wrong codes since the last right one.
    wrong: Vec<Timestamp>,
}

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeCheck {
    Accepted,
    Rejected,
    /// It was not compared.
    Locked {
        retry_after: u64,
    },
}

impl Factors {
    /// Accepts a code that is current and unused, marks it as used, and ends the series of wrong ones.
    pub(super) fn check(&self, operator: &Operator, code: &str, now: Timestamp) -> CodeCheck {
        let mut all = self.0.lock();
        let attempts = all.entry(operator.id).or_default();
        if let Some(retry_after) = attempts.locked_for(now) {
            return CodeCheck::Locked { retry_after };
        }
        if attempts.accept(operator, code, totp::step(now)) {
            attempts.wrong.clear();
            return CodeCheck::Accepted;
        }
        attempts.wrong.push(now);
        CodeCheck::Rejected
    }
}

impl Attempts {
    /// Seconds until codes are checked again.
    fn locked_for(&mut self, now: Timestamp) -> Option<u64> {
        self.wrong.retain(|at| now.duration_since(*at) < WRONG_CODE_WINDOW);
        let oldest = self.wrong.first().filter(|_| self.wrong.len() >= MAX_WRONG_CODES)?;
        let left = WRONG_CODE_WINDOW - now.duration_since(*oldest);
        Some(left.as_secs().unsigned_abs() + 1)
    }

    fn accept(&mut self, operator: &Operator, code: &str, current: i64) -> bool {
        self.used.retain(|step| *step >= current - MAX_STEP_SKEW);
        let mut right = None;
        for step in current - MAX_STEP_SKEW..=current + MAX_STEP_SKEW {
            let expected = totp::code(&operator.totp_secret, step).unwrap_or_default();
            // Every period is compared, and each in constant time.
            let is_equal = bool::from(expected.as_bytes().ct_eq(code.as_bytes()));
            if is_equal && !self.used.contains(&step) {
                right = Some(step);
            }
        }
        self.used.extend(right);
        right.is_some()
    }
}
