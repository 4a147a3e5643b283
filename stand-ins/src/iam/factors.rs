//! Second factors that were shown: a code counts once for its operator (RFC 6238 section 5.2).

use std::collections::HashMap;
use std::sync::Mutex;

use contracts::id::OperatorId;
use jiff::Timestamp;
use subtle::{Choice, ConstantTimeEq};

use crate::demo::Operator;
use crate::ledger::lock;
use crate::totp;

/// Periods a client's clock may be off (RFC 6238 section 5.2 recommends one).
const SKEW: i64 = 1;

/// By operator: the periods whose code was used and might still be shown again.
#[derive(Debug, Default)]
pub(super) struct Factors(Mutex<HashMap<OperatorId, Vec<i64>>>);

impl Factors {
    /// Whether the code is the operator's, of now, and unused. It is used from then on.
    pub(super) fn accept(&self, operator: &Operator, code: &str, now: Timestamp) -> bool {
        let current = totp::step(now);
        let mut all = lock(&self.0);
        let used = all.entry(operator.id).or_default();
        used.retain(|step| *step >= current - SKEW);
        let mut right = None;
        for step in current - SKEW..=current + SKEW {
            // Every period is compared, and each in constant time.
            if bool::from(is_code(operator, step, code)) && !used.contains(&step) {
                right = Some(step);
            }
        }
        used.extend(right);
        right.is_some()
    }
}

fn is_code(operator: &Operator, step: i64, given: &str) -> Choice {
    let expected = totp::code(&operator.totp_secret, step).unwrap_or_default();
    expected.as_bytes().ct_eq(given.as_bytes())
}
