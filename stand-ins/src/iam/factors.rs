//! Second factors that were shown: a code counts once for its operator (RFC 6238 section 5.2), and
//! a series of wrong ones locks the operator out for a while.

use std::collections::HashMap;
use std::sync::Mutex;

use contracts::id::OperatorId;
use jiff::{SignedDuration, Timestamp};
use subtle::{Choice, ConstantTimeEq};

use crate::demo::Operator;
use crate::ledger::lock;
use crate::totp;

/// Periods a client's clock may be off (RFC 6238 section 5.2 recommends one).
const SKEW: i64 = 1;
/// Wrong codes within [`WINDOW`] that lock.
const WRONG_CODES: usize = 5;
/// How long a wrong code counts.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// What was shown, by operator.
#[derive(Debug, Default)]
pub(super) struct Factors(Mutex<HashMap<OperatorId, Shown>>);

#[derive(Debug, Default)]
struct Shown {
    /// Periods whose code was used and might still be shown again.
    used: Vec<i64>,
    /// When wrong codes were shown, since the last right one.
    wrong: Vec<Timestamp>,
}

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Right,
    Wrong,
    /// It was not compared.
    Locked {
        retry_after: u64,
    },
}

impl Factors {
    /// Whether the code is the operator's, of now, and unused. It is used from then on, and ends the
    /// series of wrong ones.
    pub(super) fn judge(&self, operator: &Operator, code: &str, now: Timestamp) -> Judgement {
        let mut all = lock(&self.0);
        let shown = all.entry(operator.id).or_default();
        if let Some(retry_after) = shown.locked_for(now) {
            return Judgement::Locked { retry_after };
        }
        if shown.accept(operator, code, totp::step(now)) {
            shown.wrong.clear();
            return Judgement::Right;
        }
        shown.wrong.push(now);
        Judgement::Wrong
    }
}

impl Shown {
    /// Seconds until the next code is compared.
    fn locked_for(&mut self, now: Timestamp) -> Option<u64> {
        self.wrong.retain(|at| now.duration_since(*at) < WINDOW);
        let oldest = self.wrong.first().filter(|_| self.wrong.len() >= WRONG_CODES)?;
        let left = WINDOW - now.duration_since(*oldest);
        Some(left.as_secs().unsigned_abs() + 1)
    }

    fn accept(&mut self, operator: &Operator, code: &str, current: i64) -> bool {
        self.used.retain(|step| *step >= current - SKEW);
        let mut right = None;
        for step in current - SKEW..=current + SKEW {
            // Every period is compared, and each in constant time.
            if bool::from(is_code(operator, step, code)) && !self.used.contains(&step) {
                right = Some(step);
            }
        }
        self.used.extend(right);
        right.is_some()
    }
}

fn is_code(operator: &Operator, step: i64, given: &str) -> Choice {
    let expected = totp::code(&operator.totp_secret, step).unwrap_or_default();
    expected.as_bytes().ct_eq(given.as_bytes())
}
