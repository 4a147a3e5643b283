//! Sessions: operator, device, start and desktop version. Kept in the session store, read or opened
//! in the round trip that records the proof.
//!
//! Not here: authentication (`edge`) and revocations (`revocation`).

use auth::Principal;
use auth::edge::{SessionClaim, StoredSession};
use contracts::clock::{Clock, Entropy};
use contracts::headers;
use contracts::id::{DeviceId, Id, OperatorId, SessionId, TenantId};
use http::HeaderMap;
use jiff::Timestamp;
use metrics::counter;

pub(crate) mod profiles;
pub(crate) mod refresh_sharing;
pub(crate) mod revocation;
pub(crate) mod session_store;
pub(crate) mod tenant_status;

pub(crate) use profiles::{Freshness, ProfileState, Profiles};

/// Maximum length of a detail header.
const MAX_DETAIL_LENGTH: usize = 32;

/// Details a desktop reports about itself: field name in the session store, and header.
const DETAILS: [(&str, &str); 3] = [
    ("appVersion", headers::APP_VERSION),
    ("appPlatform", headers::APP_PLATFORM),
    ("networkMode", headers::NETWORK_MODE),
];

/// Whether a probe found a value as its own tenant, and as another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TenantLookup {
    pub(crate) by_own: bool,
    pub(crate) by_other: bool,
}

/// Session of the current request.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub tenant: TenantId,
    pub operator: OperatorId,
    pub device: DeviceId,
    /// Thumbprint of the device's key (RFC 7638).
    pub thumbprint: String,
    pub opened_at: Timestamp,
    pub last_seen: Timestamp,
    pub app: App,
}

impl Session {
    /// Session of a caller when the `LiveSession` safeguard is off.
    pub(crate) fn unstored(caller: &Principal) -> Self {
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

/// Unverified details that the desktop reports about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct App {
    pub version: Option<String>,
    pub platform: Option<String>,
    pub network_mode: Option<String>,
}

/// Builds session claims, and sessions from the stored ones.
#[derive(Debug, Clone)]
pub struct Sessions {
    clock: Clock,
    entropy: Entropy,
}

impl Sessions {
    pub fn new(clock: Clock, entropy: Entropy) -> Self {
        Self { clock, entropy }
    }

    /// Builds the claim of the session that the request belongs to. `details` come from
    /// [`details`].
    pub fn claim<'a>(
        &self,
        principal: &'a Principal,
        details: &'a [(&'static str, &'a str)],
    ) -> SessionClaim<'a> {
        let fresh = SessionId::generate(&self.clock, &self.entropy);
        SessionClaim::of(principal, fresh, details)
    }

    /// Builds the session, and logs it if this request opened it.
    pub fn session(&self, claim: &SessionClaim<'_>, held: StoredSession) -> Session {
        if held.is_new {
            counter!("bff_backoffice_session_opened_total").increment(1);
            tracing::info!(session = %held.id, device = %claim.device, "Opened a session.");
        }
        let detail = |name| {
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
                version: detail(DETAILS[0].0),
                platform: detail(DETAILS[1].0),
                network_mode: detail(DETAILS[2].0),
            },
        }
    }
}

/// Returns the details among the headers that look like a version or a name.
pub(crate) fn details(headers: &HeaderMap) -> Vec<(&'static str, &str)> {
    let detail = DETAILS.iter().filter_map(|(name, header)| {
        let value = headers.get(*header)?.to_str().ok()?;
        is_plain(value).then_some((*name, value))
    });
    detail.collect()
}

fn is_plain(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    (1..=MAX_DETAIL_LENGTH).contains(&value.len()) && value.bytes().all(allowed)
}
