//! Sessions: each a family of refresh tokens of which one is good. A token that was used before
//! ends its family, because two parties hold it (RFC 9700 section 4.14.2). For 30 s after its use it
//! gets the same pair again: the first answer may have been lost.

use std::collections::HashMap;
use std::sync::Mutex;

use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, Id, OperatorId, SessionId, TenantId};
use contracts::upstream::iam::TokenResponse;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::demo::Operator;
use crate::ledger::lock;

/// How long a refresh token may lie unused.
const IDLE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a used refresh token gets the pair that it was exchanged for.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// Ended sessions are forgotten when there are more than this many.
const TIDY_ABOVE: usize = 10_000;

/// Only digests are kept, as a real server would; but for [`GRACE`] the pair.
type TokenDigest = [u8; 32];

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) tenant: TenantId,
    pub(super) operator: OperatorId,
    pub(super) device: DeviceId,
    /// RFC 7638 thumbprint of the key it is bound to.
    pub(super) thumbprint: String,
    good: TokenDigest,
    ends_at: Timestamp,
    revoked: bool,
}

/// A refresh token and who sends it.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) token: &'a str,
    /// Of the key whose proof came with it.
    pub(super) thumbprint: &'a str,
    /// Where the sender says which device it is.
    pub(super) device: Option<DeviceId>,
}

/// Whose sessions end.
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

/// What became of a sign-out.
#[derive(Debug)]
pub(super) enum SignedOut {
    Now(Session),
    Before,
    NotTheirs,
}

/// What became of a refresh token.
#[derive(Debug)]
pub(super) enum Refreshed {
    Rotated {
        session: Session,
        pair: TokenResponse,
    },
    /// It was used a moment ago, and gets the same pair.
    Repeated(TokenResponse),
    /// It was used before; its session is now revoked.
    Reused(Session),
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    sessions: HashMap<SessionId, Session>,
    /// Every token ever given to a session that is remembered.
    tokens: HashMap<TokenDigest, SessionId>,
    /// What tokens were exchanged for within [`GRACE`].
    exchanged: HashMap<TokenDigest, Exchanged>,
}

#[derive(Debug)]
struct Exchanged {
    at: Timestamp,
    pair: TokenResponse,
}

impl Sessions {
    /// A new session and its first refresh token.
    pub(super) fn open(
        &self,
        operator: &Operator,
        thumbprint: &str,
        clock: &Clock,
        entropy: &Entropy,
    ) -> (Session, String) {
        let (token, good) = fresh(entropy);
        let session = Session {
            id: SessionId::generate(clock, entropy),
            tenant: operator.tenant_id,
            operator: operator.id,
            device: operator.device_id,
            thumbprint: thumbprint.to_owned(),
            good,
            ends_at: clock.now() + IDLE,
            revoked: false,
        };
        let mut book = lock(&self.0);
        book.tidy(clock.now());
        book.tokens.insert(good, session.id);
        book.sessions.insert(session.id, session.clone());
        (session, token)
    }

    /// Exchanges a refresh token for the pair that `issue` makes of the session and a new refresh
    /// token; without one nothing is exchanged.
    pub(super) fn refresh(
        &self,
        presented: &Presented<'_>,
        now: Timestamp,
        entropy: &Entropy,
        issue: impl FnOnce(&Session, String) -> Option<TokenResponse>,
    ) -> Refreshed {
        let given = digest(presented.token);
        let mut book = lock(&self.0);
        book.exchanged.retain(|_, exchanged| now < exchanged.at + GRACE);
        let again = book.exchanged.get(&given).map(|exchanged| exchanged.pair.clone());
        let Some(session) = book.session_of(&given) else { return Refreshed::Refused };
        // A thief without the key learns nothing and ends nothing.
        if session.revoked || session.ends_at <= now || !session.is_held_by(presented) {
            return Refreshed::Refused;
        }
        if let Some(pair) = again {
            return Refreshed::Repeated(pair);
        }
        if session.good != given {
            session.revoked = true;
            return Refreshed::Reused(session.clone());
        }
        let (token, good) = fresh(entropy);
        let Some(pair) = issue(session, token) else { return Refreshed::Refused };
        session.good = good;
        session.ends_at = now + IDLE;
        let session = session.clone();
        book.tokens.insert(good, session.id);
        book.exchanged.insert(given, Exchanged { at: now, pair: pair.clone() });
        Refreshed::Rotated { session, pair }
    }

    /// Ends a session of this operator on this device.
    pub(super) fn sign_out(
        &self,
        id: SessionId,
        operator: OperatorId,
        device: DeviceId,
    ) -> SignedOut {
        let mut book = lock(&self.0);
        let found = book.sessions.get_mut(&id);
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

    /// Ends every session of the target inside `tenant`; those that had not ended before.
    pub(super) fn revoke(&self, tenant: TenantId, target: Target) -> Vec<Session> {
        let mut book = lock(&self.0);
        let hit = book.sessions.values_mut().filter(|session| {
            session.tenant == tenant && target.is_of(session) && !session.revoked
        });
        let end = |session: &mut Session| {
            session.revoked = true;
            session.clone()
        };
        hit.map(end).collect()
    }
}

impl Session {
    fn is_held_by(&self, presented: &Presented<'_>) -> bool {
        self.thumbprint == presented.thumbprint
            && presented.device.is_none_or(|device| device == self.device)
    }
}

impl Book {
    fn session_of(&mut self, token: &TokenDigest) -> Option<&mut Session> {
        self.sessions.get_mut(self.tokens.get(token)?)
    }

    fn tidy(&mut self, now: Timestamp) {
        if self.sessions.len() > TIDY_ABOVE {
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
