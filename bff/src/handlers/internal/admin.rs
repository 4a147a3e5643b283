//! What the platform's administrators do and see.

pub(crate) mod diagnostics;
pub(crate) mod override_rules;
pub(crate) mod unfreeze;

use contracts::clock::wire;
use contracts::id::RequestId;
use contracts::problem::{Problem, code};
use http::StatusCode;
use serde::Serialize;
use service_kit::extract::Json;
use service_kit::problem::ApiError;

use crate::admin::two_person::{ApprovalError, ApprovalRequest};
use crate::problems::unavailable;

/// A request that another operator must approve.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PendingApproval {
    id: RequestId,
    expires_at: wire::Timestamp,
}

impl PendingApproval {
    fn accepted(request: ApprovalRequest) -> (StatusCode, Json<Self>) {
        let pending = Self { id: request.id, expires_at: request.expires_at.into() };
        (StatusCode::ACCEPTED, Json(pending))
    }
}

impl From<ApprovalError> for ApiError {
    fn from(error: ApprovalError) -> Self {
        let sentence = error.to_string();
        match error {
            ApprovalError::Store(error) => unavailable(error),
            ApprovalError::Invalid { member, .. } => {
                Problem::field(format!("body.{member}"), "INVALID", sentence).into()
            }
            ApprovalError::Unknown => Self::not_found(),
            ApprovalError::SamePerson => Self::new(&code::ADMIN_SECOND_PERSON_REQUIRED, sentence),
            ApprovalError::Exists | ApprovalError::Expired | ApprovalError::Approved { .. } => {
                Self::new(&code::ADMIN_REQUEST_CLOSED, sentence)
            }
        }
    }
}
