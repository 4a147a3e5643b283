//! Sessions: each a family of refresh tokens of which one is good. A token that was used before
//! ends its family, because two parties hold it (RFC 9700 section 4.14.2).

use std::collections::HashMap;
use std::sync::Mutex;

use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, Id, OperatorId, SessionId};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::ledger::lock;

/// How long a refresh token may lie unused.
const IDLE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Ended sessions are forgotten when there are more than this many.
const TIDY_ABOVE: usize = 10_000;

/// Only digests are kept, as a real server would.
type TokenDigest = [u8; 32];

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) operator: OperatorId,
    pub(super) device: DeviceId,
    /// RFC 7638 thumbprint of the key it is bound to.
    pub(super) thumbprint: String,
    good: TokenDigest,
    ends_at: Timestamp,
    revoked: bool,
}

/// What became of a refresh token.
#[derive(Debug)]
pub(super) enum Refreshed {
    Rotated {
        session: Session,
        token: String,
    },
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
}

impl Sessions {
    /// A new session and its first refresh token.
    pub(super) fn open(
        &self,
        (operator, device): (OperatorId, DeviceId),
        thumbprint: &str,
        clock: &Clock,
        entropy: &Entropy,
    ) -> (Session, String) {
        let (token, good) = fresh(entropy);
        let session = Session {
            id: SessionId::generate(clock, entropy),
            operator,
            device,
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

    /// Exchanges a refresh token, presented with the key of `thumbprint`.
    pub(super) fn refresh(
        &self,
        token: &str,
        thumbprint: &str,
        clock: &Clock,
        entropy: &Entropy,
    ) -> Refreshed {
        let presented = digest(token);
        let mut book = lock(&self.0);
        let Some(session) = book.session_of(&presented) else { return Refreshed::Refused };
        // A thief without the key learns nothing and ends nothing.
        if session.revoked || session.ends_at <= clock.now() || session.thumbprint != thumbprint {
            return Refreshed::Refused;
        }
        if session.good != presented {
            session.revoked = true;
            return Refreshed::Reused(session.clone());
        }
        let (token, good) = fresh(entropy);
        session.good = good;
        session.ends_at = clock.now() + IDLE;
        let session = session.clone();
        book.tokens.insert(good, session.id);
        Refreshed::Rotated { session, token }
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
