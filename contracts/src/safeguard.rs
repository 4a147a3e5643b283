//! The registry of safeguards: protections that a drill switches off to show that each matters.
//!
//! Every safeguard is in force, as a constant, unless the feature `sabotage` is on. With it, a
//! server switches off those that its setting `guards_off` names, once, when it starts.
//!
//! Not here: the protections themselves. Each asks [`safeguard!`](crate::safeguard!) where it acts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Declares the enum and its names from one table.
macro_rules! safeguards {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A protection that a drill can switch off.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
        #[derive(strum::Display, strum::EnumString, strum::IntoStaticStr)]
        #[serde(try_from = "String", into = "&'static str")]
        #[strum(parse_err_ty = UnknownSafeguard, parse_err_fn = UnknownSafeguard::of)]
        pub enum Safeguard {
            $($(#[$doc])* #[strum(serialize = $name)] $variant,)+
        }

        impl Safeguard {
            /// Every safeguard, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in `chaos/catalog/` and in the setting `guards_off`.
            pub fn name(self) -> &'static str {
                self.into()
            }
        }
    };
}

safeguards! {
    /// Refuses requests that a deny rule of the firewall matches.
    DenyRules = "deny",
    /// Counts what a rule in shadow mode matches, and does not enforce the rule.
    ShadowMode = "shadow",
    /// Refuses requests without credentials.
    Authentication = "authentication",
    /// Refuses requests whose DPoP proof is missing or not valid.
    Proof = "proof",
    /// Refuses access tokens that have expired.
    TokenExpiry = "expiry",
    /// Refuses access tokens sent by a device other than their own.
    DeviceBinding = "device",
    /// Keeps the issuer's keys while the issuer is unavailable.
    KeptKeys = "kept-keys",
    /// Refuses proofs that were used before.
    Replay = "replay",
    /// Lets an instance recognise used proofs by itself while the session store is unavailable.
    ReplayFallback = "replay-fallback",
    /// Recognises used proofs while the session tier is out of memory.
    ReplayFilter = "replay-filter",
    /// Takes an instance that accepts a used proof out of traffic.
    ReplayProbe = "replay-probe",
    /// Refuses requests of a suspended tenant.
    TenantSuspension = "suspension",
    /// Refuses properties outside the operator's scope.
    PropertyScope = "scope",
    /// Separates tenants in the keys of what an instance keeps in memory.
    TenantKeys = "tenant-keys",
    /// Requires a session for changes and streams.
    LiveSession = "live-session",
    /// Ends open streams of revoked sessions, devices, operators and tenants.
    ForcedSignOut = "forced-sign-out",
    /// Limits the wait for a missing operator profile.
    ProfileWait = "profile-wait",
    /// Requires a second factor where a route demands one.
    SecondFactorRequired = "mfa",
    /// Attests a second factor only after iam has checked it.
    SecondFactorCheck = "second-factor",
    /// Refuses an attestation that was used before.
    SingleUseAttestation = "single-use",
    /// Stops the routes that require a second factor after an attestation was used twice.
    SecondFactorFreeze = "mfa-freeze",
    /// Records a change durably before it is sent upstream.
    DurableClaim = "store",
    /// Sends a repeat upstream under the idempotency key of the first request.
    SameIdempotencyKey = "same-key",
    /// Records lock actions in the lock audit, before and after the call.
    LockAudit = "lock-ledger",
    /// Refuses lock actions while audit rows of earlier ones are missing.
    LockFreeze = "lock-freeze",
    /// Ends upstream calls at their deadline.
    Deadlines = "deadlines",
    /// Ends a handshake with sync-service at its route's deadline.
    HandshakeDeadline = "handshake-deadline",
    /// Refuses calls to an upstream that keeps failing.
    CircuitBreaker = "breaker",
    /// Shows kept answers, with their age, while their upstream fails.
    StaleSnapshots = "snapshots",
    /// Replaces a cached cursor by the one that sync-service states.
    CursorAuthority = "cursor-authority",
    /// Reads a renewed certificate without a restart.
    TlsReload = "tls-reload",
    /// Admits only configured service accounts to `/internal/*`.
    ServiceIdentity = "identity",
    /// Admits only supervisors to housekeeping's supervisor routes.
    SupervisorRole = "roles",
}

/// A name that no safeguard has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("There is no safeguard named `{0}`. Use a name from contracts/src/safeguard.rs.")]
pub struct UnknownSafeguard(String);

impl UnknownSafeguard {
    fn of(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl TryFrom<String> for Safeguard {
    type Error = UnknownSafeguard;

    fn try_from(name: String) -> Result<Self, UnknownSafeguard> {
        name.parse()
    }
}

/// Whether a safeguard is in force: `safeguard!(Replay)`.
#[macro_export]
macro_rules! safeguard {
    ($variant:ident) => {
        $crate::safeguard::is_in_force($crate::safeguard::Safeguard::$variant)
    };
}

/// Whether the safeguard is in force: always.
#[cfg(not(feature = "sabotage"))]
#[inline]
pub const fn is_in_force(_: Safeguard) -> bool {
    true
}

#[cfg(feature = "sabotage")]
pub use sabotage::{is_in_force, switch_off};

#[cfg(feature = "sabotage")]
mod sabotage {
    use std::sync::OnceLock;

    use super::Safeguard;

    static OFF: OnceLock<Vec<Safeguard>> = OnceLock::new();

    /// Whether the safeguard is in force: unless this process has switched it off.
    pub fn is_in_force(safeguard: Safeguard) -> bool {
        OFF.get().is_none_or(|off| !off.contains(&safeguard))
    }

    /// Switches these safeguards off for this process.
    ///
    /// # Panics
    /// When called twice.
    pub fn switch_off(safeguards: &[Safeguard]) {
        let chosen = OFF.set(safeguards.to_vec());
        assert!(chosen.is_ok(), "safeguards are switched off once, when the process starts");
    }
}

/// The limit, or half a minute when the safeguard that enforces it is switched off.
#[inline]
pub fn time_limit(safeguard: Safeguard, limit: Duration) -> Duration {
    if is_in_force(safeguard) { limit } else { Duration::from_secs(30) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for safeguard in Safeguard::ALL {
            assert_eq!(safeguard.name().parse(), Ok(*safeguard));
            let json = serde_json::to_value(safeguard).unwrap();
            assert_eq!(json, safeguard.name());
            assert_eq!(serde_json::from_value::<Safeguard>(json).unwrap(), *safeguard);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_a_sentence() {
        let refused = serde_json::from_str::<Vec<Safeguard>>(r#"["replay","reply"]"#);
        let sentence = refused.unwrap_err().to_string();
        assert!(sentence.starts_with("There is no safeguard named `reply`."), "{sentence}");
    }

    #[cfg(not(feature = "sabotage"))]
    #[test]
    fn every_safeguard_is_in_force() {
        const { assert!(safeguard!(Replay)) };
        assert!(Safeguard::ALL.iter().all(|safeguard| is_in_force(*safeguard)));
    }
}
