//! The gateway's protections on a request's way, one for each leaf of the decision tree. They are
//! always on: only a build with the feature `sabotage`, made by the drills to show that a
//! protection matters, can switch one off, and only when it starts.
//!
//! Not here: those of the replay store and the token's judge (`auth`) and of the composer.

/// One protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Deny rules of the edge refuse.
    Deny,
    /// Nobody gets behind the edge without credentials.
    Authentication,
    /// A token is good at its own device only.
    Device,
    /// A suspended tenant is refused.
    Suspension,
    /// An operator reaches its own properties only.
    Scope,
    /// What changes or streams needs a session.
    #[cfg(feature = "sabotage")]
    LiveSession,
    /// An upstream is called with a token made out to it.
    Audience,
    /// A failure of an upstream is told as what it is.
    UpstreamProblems,
    /// A repeat reaches the upstream under the key of the first.
    SameKey,
    /// A second factor where a route asks for one.
    Mfa,
    /// With iam away nothing is attested.
    SecondFactor,
    /// An attestation is used once.
    SingleUse,
    /// Nothing is changed that is not written down first.
    Store,
    /// A lock action is in its ledger, before and after.
    LockLedger,
    /// A handshake waits for sync-service no longer than its route may.
    HandshakeDeadline,
    /// What sync-service says of a cursor replaces what is cached.
    CursorAuthority,
}

/// Whether a protection is in force: always.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn holds(_: Guard) -> bool {
    true
}

#[cfg(feature = "sabotage")]
pub(crate) use sabotage::{holds, is_known, switch_off, unheld};

#[cfg(feature = "sabotage")]
mod sabotage {
    use std::sync::{Arc, OnceLock};

    use auth::Principal;
    use contracts::id::{Id, SessionId};

    use super::Guard;
    use crate::sessions::{App, Session};

    static OFF: OnceLock<Vec<Guard>> = OnceLock::new();

    pub(crate) fn holds(guard: Guard) -> bool {
        OFF.get().is_none_or(|off| !off.contains(&guard))
    }

    /// Switches off those of the names that are protections of the gateway's own.
    pub(crate) fn switch_off(names: &[String]) {
        let off = names.iter().filter_map(|name| named(name)).collect();
        assert!(OFF.set(off).is_ok(), "protections are chosen once, at the start");
    }

    pub(crate) fn is_known(name: &str) -> bool {
        named(name).is_some()
    }

    fn named(name: &str) -> Option<Guard> {
        Some(match name {
            "deny" => Guard::Deny,
            "authentication" => Guard::Authentication,
            "device" => Guard::Device,
            "suspension" => Guard::Suspension,
            "scope" => Guard::Scope,
            "live-session" => Guard::LiveSession,
            "audience" => Guard::Audience,
            "upstream-problems" => Guard::UpstreamProblems,
            "same-key" => Guard::SameKey,
            "mfa" => Guard::Mfa,
            "second-factor" => Guard::SecondFactor,
            "single-use" => Guard::SingleUse,
            "store" => Guard::Store,
            "lock-ledger" => Guard::LockLedger,
            "handshake-deadline" => Guard::HandshakeDeadline,
            "cursor-authority" => Guard::CursorAuthority,
            _ => return None,
        })
    }

    /// A session that nobody keeps, for a request that goes on without the session tier.
    pub(crate) fn unheld(principal: &Principal) -> Option<Arc<Session>> {
        let at = principal.issued_at;
        let session = Session {
            id: SessionId::from_parts(at, 1),
            tenant: principal.tenant,
            operator: principal.operator,
            device: principal.device,
            thumbprint: principal.thumbprint.as_deref().unwrap_or_default().to_owned(),
            opened_at: at,
            last_seen: at,
            app: App::default(),
        };
        (!holds(Guard::LiveSession)).then(|| Arc::new(session))
    }
}

#[cfg(all(test, not(feature = "sabotage")))]
mod tests {
    use crate::config::GatewayConfig;

    #[test]
    fn a_production_build_knows_no_switch() {
        let asked = serde_json::json!({"guards_off": ["authentication"]});
        let refused = serde_json::from_value::<GatewayConfig>(asked).unwrap_err().to_string();
        assert!(refused.contains("unknown field `guards_off`"), "{refused}");
    }
}
