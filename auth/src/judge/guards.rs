//! The judge's protections. They are always on: only a build with the feature `sabotage`,
//! made by the drills to show that a protection matters, can switch one off.

use jiff::Timestamp;

use crate::proof::ProofError;
use crate::replay::Use;
use crate::token::TokenError;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guards {
    #[cfg(feature = "sabotage")]
    no_proof: bool,
    #[cfg(feature = "sabotage")]
    no_expiry: bool,
}

#[cfg(not(feature = "sabotage"))]
#[expect(clippy::unused_self, reason = "the sabotaged twin looks at itself")]
impl Guards {
    /// A proof that does not hold is refused.
    pub(super) fn proof(
        self,
        judged: Result<Use, ProofError>,
        _: Timestamp,
    ) -> Result<Use, ProofError> {
        judged
    }

    /// A token ends.
    pub(super) fn expiry(self, judged: Result<(), TokenError>) -> Result<(), TokenError> {
        judged
    }
}

#[cfg(feature = "sabotage")]
impl Guards {
    pub(super) fn switch_off(&mut self, guard: &str) {
        match guard {
            "proof" => self.no_proof = true,
            "expiry" => self.no_expiry = true,
            other => panic!("there is no guard named {other}"),
        }
    }

    /// Without it a proof that does not hold counts as a new one.
    pub(super) fn proof(
        self,
        judged: Result<Use, ProofError>,
        now: Timestamp,
    ) -> Result<Use, ProofError> {
        let unjudged =
            Use { key: crate::replay::ReplayKey::of("", &now.to_string()), acceptable_until: now };
        if self.no_proof { Ok(judged.unwrap_or(unjudged)) } else { judged }
    }

    pub(super) fn expiry(self, judged: Result<(), TokenError>) -> Result<(), TokenError> {
        if self.no_expiry { Ok(()) } else { judged }
    }
}
