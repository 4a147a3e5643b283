use std::num::NonZeroU32;
use std::time::Duration;

use garde::Validate;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

/// Time from the issue of an attestation to its expiry.
pub(crate) const ATTESTATION_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// When wrong codes lock an operator's second factor.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
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

/// When wrong codes lock an operator's second factor.
#[derive(Debug, Clone, Copy)]
pub struct Lockout {
    /// Wrong codes that lock the factor.
    pub wrong_codes: u32,
    /// How long each wrong code counts.
    pub window: Duration,
}

impl MfaConfig {
    pub fn lockout(&self) -> Lockout {
        let window = Duration::from_secs(self.window_s);
        Lockout { wrong_codes: self.wrong_codes.get(), window }
    }
}
