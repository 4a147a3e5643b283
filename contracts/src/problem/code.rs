//! The table of error codes. The status of a code never changes.

/// An error code and the problem members that depend on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `MELMASTOON.<DOMAIN>.<CODE>`
    pub name: &'static str,
    pub status: u16,
    pub title: &'static str,
    /// Whether the same request may succeed later without a change.
    pub retriable: bool,
    /// Seconds a caller should wait before a retry.
    pub retry_after: Option<u64>,
    /// File under `ops/runbooks/`, without its ending.
    pub runbook: Option<&'static str>,
}

impl Code {
    /// Domain and code, without the first segment.
    fn segments(&self) -> (String, &'static str) {
        let mut parts = self.name.splitn(3, '.').skip(1);
        let domain = parts.next().unwrap_or_default().to_ascii_lowercase();
        (domain, parts.next().unwrap_or_default())
    }

    pub fn type_uri(&self) -> String {
        let (domain, code) = self.segments();
        let slug = code.to_ascii_lowercase().replace('_', "-");
        format!("https://errors.melmastoon.ghasi.io/{domain}/{slug}")
    }

    pub fn user_message_key(&self) -> String {
        let (domain, code) = self.segments();
        format!("errors.{domain}.{}", code.to_ascii_lowercase())
    }
}

macro_rules! codes {
    ($($name:ident $wire:literal $status:literal $title:literal $retry:tt $($runbook:literal)?;)*) => {
        $(pub static $name: Code = Code {
            name: concat!("MELMASTOON.", $wire),
            status: $status,
            title: $title,
            retriable: codes!(@retriable $retry),
            retry_after: codes!(@after $retry),
            runbook: codes!(@runbook $($runbook)?),
        };)*

        /// All codes, for documents and tests.
        pub static ALL: &[&Code] = &[$(&$name),*];
    };
    (@retriable no) => { false };
    (@retriable $any:tt) => { true };
    (@after no) => { None };
    (@after soon) => { None };
    (@after $seconds:literal) => { Some($seconds) };
    (@runbook) => { None };
    (@runbook $name:literal) => { Some($name) };
}

// `no`: a retry of the same request cannot succeed; `soon`: it may at once; a number: after so many seconds.
codes! {
    // The gateway's decision order, gateway-api section 3.
    EDGE_BLOCKED "BFF.EDGE_BLOCKED" 403 "Blocked at the edge" no "bff-backoffice/waf-fp";
    PAYLOAD_TOO_LARGE "BFF.PAYLOAD_TOO_LARGE" 413 "The body is too large" no;
    RATE_LIMITED "BFF.RATE_LIMITED" 429 "Too many requests" 1;
    SESSION_REQUIRED "BFF.SESSION_REQUIRED" 401 "Sign in first" no;
    DPOP_INVALID "BFF.DPOP_INVALID" 401 "The DPoP proof is not valid" soon;
    TOKEN_INVALID "BFF.TOKEN_INVALID" 401 "The access token is not valid" no;
    SESSION_EXPIRED "BFF.SESSION_EXPIRED" 401 "The session has ended" no;
    DEVICE_MISMATCH "BFF.DEVICE_MISMATCH" 403 "The device does not match the token" no;
    TENANT_SUSPENDED "TENANT.SUSPENDED" 503 "The tenant is suspended" 300;
    TENANT_MISMATCH "TENANT.MISMATCH" 403 "The tenant header contradicts the token" no;
    PROPERTY_OUT_OF_SCOPE "BFF.PROPERTY_OUT_OF_SCOPE" 403 "The property is outside the operator's scope" no;
    ROLE_FORBIDDEN "BFF.ROLE_FORBIDDEN" 403 "The operator's role does not allow this" no;
    CACHE_UNAVAILABLE "BFF.CACHE_UNAVAILABLE" 503 "The session store is unavailable" 5 "bff-backoffice/memorystore-session-down";
    MFA_REQUIRED "BFF.MFA_REQUIRED" 401 "A second factor is required" no;
    MFA_INVALID_OR_USED "BFF.MFA_INVALID_OR_USED" 401 "The attestation is not valid or was used" no;
    MFA_LOCKED "BFF.MFA_LOCKED" 429 "No code of a second factor is accepted now" soon "bff-backoffice/mfa-locked";
    STORE_UNAVAILABLE "BFF.STORE_UNAVAILABLE" 503 "The durable store is unavailable" 5 "bff-backoffice/postgres-down";
    UPSTREAM_UNAVAILABLE "BFF.UPSTREAM_UNAVAILABLE" 502 "A service behind the gateway is unavailable" 2;
    UPSTREAM_TIMEOUT "BFF.UPSTREAM_TIMEOUT" 504 "A service behind the gateway was too slow" 2;
    SCHEMA_DRIFT "BFF.SCHEMA_DRIFT" 502 "A service behind the gateway broke its contract" no "bff-backoffice/schema-drift";
    OVERLOADED "BFF.OVERLOADED" 503 "The server is overloaded" 1;
    APP_VERSION_UNSUPPORTED "BFF.APP_VERSION_UNSUPPORTED" 426 "The desktop must be updated" no;
    HEADERS_TOO_LARGE "BFF.HEADERS_TOO_LARGE" 431 "The headers are too large" no;
    IDEMPOTENCY_KEY_REQUIRED "BFF.IDEMPOTENCY_KEY_REQUIRED" 400 "An idempotency key is required" no;
    IDEMPOTENCY_KEY_INVALID "BFF.IDEMPOTENCY_KEY_INVALID" 400 "The idempotency key is malformed" no;
    IDEMPOTENCY_KEY_REUSED "BFF.IDEMPOTENCY_KEY_REUSED" 422 "The idempotency key was used for another request" no;
    IDEMPOTENCY_IN_FLIGHT "BFF.IDEMPOTENCY_IN_FLIGHT" 409 "The first request with this key is still running" 1;
    ADMIN_SECOND_PERSON_REQUIRED "BFF.ADMIN_SECOND_PERSON_REQUIRED" 403 "A second person must approve this" no;
    ADMIN_REQUEST_CLOSED "BFF.ADMIN_REQUEST_CLOSED" 409 "The request can no longer be approved" no;
    LOCK_PROXY_FROZEN "BFF.LOCK_PROXY_FROZEN" 503 "Lock actions are stopped" 300 "bff-backoffice/lock-audit-gap";
    MUTATIONS_HALTED "BFF.MUTATIONS_HALTED" 503 "Changes of this kind are stopped" 300 "bff-backoffice/mfa-replay-bypass";
    SYNC_CURSOR_EXPIRED "BFF.SYNC_CURSOR_EXPIRED" 410 "The sync cursor has expired" no;
    DRAINING "BFF.DRAINING" 503 "The server is shutting down" 1;

    // Housekeeping.
    ROOM_STATE_CONFLICT "HOUSEKEEPING.ROOM_STATE_CONFLICT" 422 "The room cannot take that status now" no;
    SUPERVISOR_REQUIRED "HOUSEKEEPING.SUPERVISOR_REQUIRED" 403 "Only a supervisor may do this" no;

    // General.
    VALIDATION_FAILED "GENERAL.VALIDATION_FAILED" 400 "The request is not valid" no;
    MALFORMED_REQUEST "GENERAL.MALFORMED_REQUEST" 400 "The request is malformed" no;
    UNAUTHENTICATED "GENERAL.UNAUTHENTICATED" 401 "A valid service token is required" no;
    FORBIDDEN "GENERAL.FORBIDDEN" 403 "Not allowed" no;
    RESOURCE_NOT_FOUND "GENERAL.RESOURCE_NOT_FOUND" 404 "Not found" no;
    METHOD_NOT_ALLOWED "GENERAL.METHOD_NOT_ALLOWED" 405 "The method is not allowed here" no;
    NOT_ACCEPTABLE "GENERAL.NOT_ACCEPTABLE" 406 "No available media type is acceptable" no;
    REQUEST_TIMEOUT "GENERAL.REQUEST_TIMEOUT" 408 "The request took too long to arrive" soon;
    OCC_CONFLICT "GENERAL.OCC_CONFLICT" 409 "The resource was changed by someone else" no;
    BODY_TOO_LARGE "GENERAL.PAYLOAD_TOO_LARGE" 413 "The body is too large" no;
    UNSUPPORTED_MEDIA_TYPE "GENERAL.UNSUPPORTED_MEDIA_TYPE" 415 "The body's type is not supported" no;
    UNPROCESSABLE "GENERAL.UNPROCESSABLE" 422 "The body cannot be processed" no;
    REQUEST_REJECTED "GENERAL.REQUEST_REJECTED" 400 "The request was rejected" no;
    INTERNAL "GENERAL.INTERNAL" 500 "Something went wrong on our side" soon;
    UNAVAILABLE "GENERAL.UNAVAILABLE" 503 "Not available now" 5;
    DEADLINE_EXCEEDED "GENERAL.DEADLINE_EXCEEDED" 504 "The deadline passed" soon;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_three_capital_segments_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ALL {
            let parts: Vec<_> = code.name.split('.').collect();
            assert_eq!(parts.len(), 3, "{}", code.name);
            assert!(code.name.chars().all(|c| c.is_ascii_uppercase() || c == '.' || c == '_'));
            assert!(seen.insert(code.name), "{} is repeated", code.name);
            assert!((400..600).contains(&code.status), "{}", code.name);
        }
    }
}
