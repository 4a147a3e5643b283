//! Sessions: which operator works at which device, since when and with what desktop. Kept in the
//! session tier, found or opened with the round trip that burns the proof.
//!
//! Not here: who may have one (`edge`), and what was taken back (`revocation`).

use auth::Principal;
use auth::edge::{SessionClaim, StoredSession};
use contracts::clock::{Clock, Entropy};
use contracts::headers;
use contracts::id::{DeviceId, Id, OperatorId, SessionId, TenantId};
use http::HeaderMap;
use jiff::Timestamp;
use metrics::counter;

pub mod profiles;
pub mod refresh_sharing;
pub mod revocation;
pub mod session_store;
pub mod tenant_status;

pub use profiles::{Freshness, Known, Profile, Profiles};

/// A desktop says of itself at most this many characters a header.
const LONGEST_DETAIL: usize = 32;

/// What the desktop says of itself, each with its name in the tier.
const DETAILS: [(&str, &str); 3] = [
    ("appVersion", headers::APP_VERSION),
    ("appPlatform", headers::APP_PLATFORM),
    ("networkMode", headers::NETWORK_MODE),
];

/// A session of the request that is being answered.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub tenant: TenantId,
    pub operator: OperatorId,
    pub device: DeviceId,
    /// Of the device's key (RFC 7638).
    pub thumbprint: String,
    pub opened_at: Timestamp,
    pub last_seen: Timestamp,
    pub app: App,
}

impl Session {
    /// Stands in for the session of a caller, in drills that require none.
    pub(crate) fn unkept(caller: &Principal) -> Self {
        let at = caller.issued_at;
        Self {
            id: SessionId::from_parts(at, 1),
            tenant: caller.tenant,
            operator: caller.operator,
            device: caller.device,
            thumbprint: caller.thumbprint.as_deref().unwrap_or_default().to_owned(),
            opened_at: at,
            last_seen: at,
            app: App::default(),
        }
    }
}

/// What the desktop says of itself; nothing of it is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct App {
    pub version: Option<String>,
    pub platform: Option<String>,
    pub network_mode: Option<String>,
}

/// Makes the questions to the tier, and sessions of its answers.
#[derive(Debug, Clone)]
pub struct Sessions {
    clock: Clock,
    entropy: Entropy,
}

impl Sessions {
    pub fn new(clock: Clock, entropy: Entropy) -> Self {
        Self { clock, entropy }
    }

    /// The session the request says it belongs to. `details` come from [`details`].
    pub fn claim<'a>(
        &self,
        principal: &'a Principal,
        details: &'a [(&'static str, &'a str)],
    ) -> SessionClaim<'a> {
        let fresh = SessionId::generate(&self.clock, &self.entropy);
        SessionClaim::of(principal, fresh, details)
    }

    /// Says so when the request opened it.
    pub fn session(&self, claim: &SessionClaim<'_>, held: StoredSession) -> Session {
        if held.is_new {
            counter!("bff_backoffice_session_opened_total").increment(1);
            tracing::info!(session = %held.id, device = %claim.device, "A session was opened.");
        }
        let said = |name| {
            let found = claim.details.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Session {
            id: held.id,
            tenant: claim.tenant,
            operator: claim.operator,
            device: claim.device,
            thumbprint: claim.thumbprint.to_owned(),
            opened_at: held.opened_at,
            last_seen: self.clock.now(),
            app: App {
                version: said(DETAILS[0].0),
                platform: said(DETAILS[1].0),
                network_mode: said(DETAILS[2].0),
            },
        }
    }
}

/// Of the headers that stand and look like a version or a name.
pub fn details(headers: &HeaderMap) -> Vec<(&'static str, &str)> {
    let said = DETAILS.iter().filter_map(|(name, header)| {
        let value = headers.get(*header)?.to_str().ok()?;
        is_plain(value).then_some((*name, value))
    });
    said.collect()
}

fn is_plain(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    (1..=LONGEST_DETAIL).contains(&value.len()) && value.bytes().all(allowed)
}
