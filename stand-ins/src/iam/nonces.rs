//! Nonces the token endpoint asks proofs for, when that is switched on (RFC 9449 section 8).

use std::sync::Mutex;
use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use jiff::Timestamp;

use crate::ledger::lock;

/// How long a nonce is handed out; it is taken for as long again.
const CURRENT_FOR: Duration = Duration::from_secs(60);
/// The longest time a nonce is taken.
pub(super) const LIFETIME: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Nonces {
    clock: Clock,
    entropy: Entropy,
    issued: Mutex<Issued>,
}

#[derive(Debug)]
struct Issued {
    current: String,
    since: Timestamp,
    previous: Option<String>,
}

impl Nonces {
    pub(super) fn new(clock: Clock, entropy: Entropy) -> Self {
        let issued = Issued { current: fresh(&entropy), since: clock.now(), previous: None };
        Self { clock, entropy, issued: Mutex::new(issued) }
    }

    /// The one to use next.
    pub(super) fn current(&self) -> String {
        let mut issued = lock(&self.issued);
        self.turn(&mut issued);
        issued.current.clone()
    }

    pub(super) fn takes(&self, nonce: &str) -> bool {
        let mut issued = lock(&self.issued);
        self.turn(&mut issued);
        issued.current == nonce || issued.previous.as_deref() == Some(nonce)
    }

    fn turn(&self, issued: &mut Issued) {
        let age = self.clock.now().duration_since(issued.since);
        let age = Duration::try_from(age).unwrap_or_default();
        if age < CURRENT_FOR {
            return;
        }
        let last = std::mem::replace(&mut issued.current, fresh(&self.entropy));
        issued.previous = (age < LIFETIME).then_some(last);
        issued.since = self.clock.now();
    }
}

fn fresh(entropy: &Entropy) -> String {
    auth::jwt::encode(&entropy.u128().to_be_bytes())
}
