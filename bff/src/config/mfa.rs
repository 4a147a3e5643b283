use std::num::NonZeroU32;

use garde::Validate;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

/// Time from the issue of an attestation to its expiry.
pub(crate) const ATTESTATION_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// When wrong codes lock an operator's second factor.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct MfaConfig {
    /// Wrong codes within the window that lock an operator's second factor, of a million possible
    /// codes.
    pub wrong_codes: NonZeroU32,
    /// Seconds a wrong code counts. Not shorter than iam's own window, else iam locks for longer.
    #[garde(range(min = 1))]
    pub window_s: u64,
}

impl Default for MfaConfig {
    fn default() -> Self {
        Self { wrong_codes: const { NonZeroU32::new(5).unwrap() }, window_s: 15 * 60 }
    }
}
