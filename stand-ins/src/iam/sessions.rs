//! Sessions: each has one current refresh token. Reuse of an earlier one revokes the session, because
//! two parties hold it (RFC 9700 section 4.14.2), except within 30 s of its first use, which returns
//! the same pair again: the first response may have been lost.

use std::collections::HashMap;

use contracts::clock::Entropy;
use contracts::env::Env;
use contracts::id::{DeviceId, OperatorId, SessionId, TenantId};
use contracts::upstream::iam::TokenResponse;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::demo::Operator;

/// Lifetime of an unused refresh token.
const REFRESH_TOKEN_TTL: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a used refresh token returns the pair that it was exchanged for.
const REPEAT_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// Ended sessions are dropped when there are more sessions than this.
const PURGE_ABOVE: usize = 10_000;

/// Digests are kept instead of tokens, except for pairs within [`REPEAT_GRACE`].
type TokenDigest = [u8; 32];

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) tenant: TenantId,
    pub(super) operator: OperatorId,
    pub(super) device: DeviceId,
    /// RFC 7638 thumbprint of the key it is bound to.
    pub(super) thumbprint: String,
    current: TokenDigest,
    ends_at: Timestamp,
    revoked: bool,
}

/// A refresh token and its sender.
#[derive(Clone, Copy)]
pub(super) struct PresentedToken<'a> {
    pub(super) token: &'a str,
    /// RFC 7638 thumbprint of the proof's key.
    pub(super) thumbprint: &'a str,
    /// The device, where the request names it.
    pub(super) device: Option<DeviceId>,
}

/// Which sessions are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Session(SessionId),
    Device(DeviceId),
    Operator(OperatorId),
    Tenant(TenantId),
}

impl Target {
    /// `kind` and `id` as the event names them.
    pub(crate) fn parse(kind: &str, id: &str) -> Option<Self> {
        match kind {
            "session" => id.parse().ok().map(Self::Session),
            "device" => id.parse().ok().map(Self::Device),
            "operator" => id.parse().ok().map(Self::Operator),
            "tenant" => id.parse().ok().map(Self::Tenant),
            _ => None,
        }
    }

    fn is_of(self, session: &Session) -> bool {
        match self {
            Self::Session(id) => id == session.id,
            Self::Device(id) => id == session.device,
            Self::Operator(id) => id == session.operator,
            Self::Tenant(id) => id == session.tenant,
        }
    }
}

/// Outcome of a sign-out.
#[derive(Debug)]
pub(super) enum SignedOut {
    Now(Session),
    Before,
    NotTheirs,
}

/// Outcome of a refresh.
#[derive(Debug)]
pub(super) enum Refreshed {
    Rotated {
        session: Session,
        pair: TokenResponse,
    },
    /// It was used a moment ago: the same pair is returned.
    Repeated(TokenResponse),
    /// It was used before; its session is now revoked.
    Reused(Session),
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<SessionTable>);

#[derive(Debug, Default)]
struct SessionTable {
    sessions: HashMap<SessionId, Session>,
    /// All tokens of the sessions, current or not.
    tokens: HashMap<TokenDigest, SessionId>,
    /// Pairs issued within [`REPEAT_GRACE`], by the token that was exchanged.
    exchanged: HashMap<TokenDigest, Exchanged>,
}

#[derive(Debug)]
struct Exchanged {
    at: Timestamp,
    pair: TokenResponse,
}

impl Sessions {
    /// Opens a session and returns it with its first refresh token.
    pub(super) fn open(
        &self,
        operator: &Operator,
        thumbprint: &str,
        env: &Env,
    ) -> (Session, String) {
        let (token, current) = fresh(&env.entropy);
        let session = Session {
            id: env.new_id(),
            tenant: operator.tenant_id,
            operator: operator.id,
            device: operator.device_id,
            thumbprint: thumbprint.to_owned(),
            current,
            ends_at: env.now() + REFRESH_TOKEN_TTL,
            revoked: false,
        };
        let mut table = self.0.lock();
        table.purge(env.now());
        table.tokens.insert(current, session.id);
        table.sessions.insert(session.id, session.clone());
        (session, token)
    }

    /// Exchanges a refresh token for the pair that `issue` makes of the session and a new refresh
    /// token. Nothing changes when `issue` returns `None`.
    pub(super) fn refresh(
        &self,
        presented: &PresentedToken<'_>,
        env: &Env,
        issue: impl FnOnce(&Session, String) -> Option<TokenResponse>,
    ) -> Refreshed {
        let (given, now) = (digest(presented.token), env.now());
        let mut table = self.0.lock();
        table.exchanged.retain(|_, exchanged| now < exchanged.at + REPEAT_GRACE);
        let again = table.exchanged.get(&given).map(|exchanged| exchanged.pair.clone());
        let Some(session) = table.session_of(&given) else { return Refreshed::Refused };
        let is_holder = session.thumbprint == presented.thumbprint
            && presented.device.is_none_or(|device| device == session.device);
        // A caller without the key learns nothing and cannot revoke the session.
        if session.revoked || session.ends_at <= now || !is_holder {
            return Refreshed::Refused;
        }
        if let Some(pair) = again {
            return Refreshed::Repeated(pair);
        }
        if session.current != given {
            session.revoked = true;
            return Refreshed::Reused(session.clone());
        }
        let (token, current) = fresh(&env.entropy);
        let Some(pair) = issue(session, token) else { return Refreshed::Refused };
        session.current = current;
        session.ends_at = now + REFRESH_TOKEN_TTL;
        let session = session.clone();
        table.tokens.insert(current, session.id);
        table.exchanged.insert(given, Exchanged { at: now, pair: pair.clone() });
        Refreshed::Rotated { session, pair }
    }

    /// Ends a session of this operator on this device.
    pub(super) fn sign_out(
        &self,
        id: SessionId,
        operator: OperatorId,
        device: DeviceId,
    ) -> SignedOut {
        let mut table = self.0.lock();
        let found = table.sessions.get_mut(&id);
        let own = found.filter(|session| session.operator == operator && session.device == device);
        match own {
            None => SignedOut::NotTheirs,
            Some(session) if session.revoked => SignedOut::Before,
            Some(session) => {
                session.revoked = true;
                SignedOut::Now(session.clone())
            }
        }
    }

    /// Revokes the sessions of the target in `tenant`, and returns those not revoked before.
    pub(super) fn revoke(&self, tenant: TenantId, target: Target) -> Vec<Session> {
        let mut table = self.0.lock();
        let hit = table.sessions.values_mut().filter(|session| {
            session.tenant == tenant && target.is_of(session) && !session.revoked
        });
        let end = |session: &mut Session| {
            session.revoked = true;
            session.clone()
        };
        hit.map(end).collect()
    }
}

impl SessionTable {
    fn session_of(&mut self, token: &TokenDigest) -> Option<&mut Session> {
        self.sessions.get_mut(self.tokens.get(token)?)
    }

    fn purge(&mut self, now: Timestamp) {
        if self.sessions.len() > PURGE_ABOVE {
            self.sessions.retain(|_, session| !session.revoked && session.ends_at > now);
            self.tokens.retain(|_, session| self.sessions.contains_key(session));
        }
    }
}

fn fresh(entropy: &Entropy) -> (String, TokenDigest) {
    let bytes = [entropy.u128().to_be_bytes(), entropy.u128().to_be_bytes()].concat();
    let token = auth::jwt::encode(&bytes);
    let digest = digest(&token);
    (token, digest)
}

fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token).into()
}
