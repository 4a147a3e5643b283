//! Sessions: operator, device, start and desktop version. Kept in the session store, read or opened
//! in the round trip that records the proof.
//!
//! Not here: authentication (`edge`) and revocations (`revocation`).

use auth::Principal;
use auth::edge::{SessionClaim, StoredSession};
use contracts::headers;
use contracts::id::{DeviceId, Id, SessionId, TenantId};
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

/// Session of the current request.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub id: SessionId,
    pub tenant: TenantId,
    pub device: DeviceId,
    pub opened_at: Timestamp,
}

impl Session {
    /// Builds the session, and logs it if this request opened it.
    pub(crate) fn of(claim: &SessionClaim<'_>, held: StoredSession) -> Self {
        if held.is_new {
            counter!("bff_backoffice_session_opened_total").increment(1);
            tracing::info!(session = %held.id, device = %claim.device, "Opened a session.");
        }
        Self { id: held.id, tenant: claim.tenant, device: claim.device, opened_at: held.opened_at }
    }

    /// Session of a caller when the `LiveSession` safeguard is off.
    pub(crate) fn unstored(caller: &Principal) -> Self {
        let at = caller.issued_at;
        Self {
            id: SessionId::from_parts(at, 1),
            tenant: caller.tenant,
            device: caller.device,
            opened_at: at,
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
