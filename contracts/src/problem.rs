//! RFC 9457 problems, the format of all errors of the platform's servers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::id::{RequestId, TenantId};

pub mod code;

pub use code::Code;

pub const CONTENT_TYPE: &str = "application/problem+json";

/// The body of an error answer. Flat, as RFC 9457 section 3 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where the code is explained: stable, one per code.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: Cow<'static, str>,
    pub status: u16,
    /// What happened and what to do, for the person who reads it. Never internals.
    pub detail: Cow<'static, str>,
    /// Path of the request.
    pub instance: String,
    /// `MELMASTOON.<DOMAIN>.<CODE>`
    pub code: Cow<'static, str>,
    pub trace_id: Option<String>,
    pub request_id: Option<RequestId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    pub retriable: bool,
    /// Seconds to wait before a retry.
    pub retry_after: Option<u64>,
    /// Key of the translated text the desktop shows.
    pub user_message_key: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    pub runbook: Option<Cow<'static, str>>,
}

/// One field that did not pass validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where in the input: `query.propertyId`, `body.rooms[2]`.
    pub field: String,
    /// What is wrong: `REQUIRED`, `INVALID`, `UNKNOWN`, `TOO_LONG` …
    pub code: Cow<'static, str>,
}

impl Problem {
    /// The problem of this code, with a sentence for the caller. The server that answers
    /// fills in what belongs to the request (instance, request id, trace id).
    pub fn new(code: &'static Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: code.type_uri(),
            title: Cow::Borrowed(code.title),
            status: code.status,
            detail: detail.into(),
            instance: String::new(),
            code: Cow::Borrowed(code.name),
            trace_id: None,
            request_id: None,
            tenant_id: None,
            retriable: code.retriable,
            retry_after: code.retry_after,
            user_message_key: Cow::Owned(code.user_message_key()),
            errors: Vec::new(),
            runbook: code.runbook.map(Cow::Borrowed),
        }
    }

    /// A 400 that names one field.
    pub fn field(
        field: impl Into<String>,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut problem = Self::new(&code::VALIDATION_FAILED, detail);
        problem.errors.push(FieldError { field: field.into(), code: Cow::Borrowed(code) });
        problem
    }

    pub fn is(&self, code: &Code) -> bool {
        self.code == code.name
    }

    #[must_use]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant_id = Some(tenant);
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_flat_and_names_its_code() {
        let problem =
            Problem::new(&code::DPOP_INVALID, "The proof was used before. Make a new one.");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["code"], "MELMASTOON.BFF.DPOP_INVALID");
        assert_eq!(json["type"], "https://errors.melmastoon.ghasi.io/bff/dpop-invalid");
        assert_eq!(json["userMessageKey"], "errors.bff.dpop_invalid");
        assert_eq!(json["status"], 401);
        assert!(json.get("errors").is_none());
        assert!(json["retryAfter"].is_null());
    }
}
