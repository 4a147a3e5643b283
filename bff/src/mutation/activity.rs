//! Operator activity: rows of `bff.operator_activity`, only ever inserted, in the transaction of the
//! change they record.

use auth::Principal;
use contracts::env::Env;
use contracts::id::{ActivityId, SessionId};
use serde_json::Value;
use service_kit::postgres::{StoreError, Transaction, Values};
use service_kit::request::RequestContext;

/// One row.
#[derive(Debug)]
pub(crate) struct Activity<'a> {
    pub principal: &'a Principal,
    pub session: Option<SessionId>,
    pub request: &'a RequestContext,
    /// `<aggregate>.<verb>`: `reservation.check_in`.
    pub action: &'static str,
    pub resource: &'a str,
    /// `requested` before the upstream is called, then `success`, `refused`, `unknown` or `not_sent`.
    pub outcome: &'static str,
    pub detail: Value,
}

const INSERT_SQL: &str = "
    INSERT INTO bff.operator_activity
        (tenant_id, id, occurred_at, operator_id, device_id, session_id, action, resource_id,
         outcome, request_id, trace_id, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// Inserts the row, and returns its id.
pub(crate) async fn record(
    transaction: &Transaction<'_>,
    activity: &Activity<'_>,
    env: &Env,
) -> Result<ActivityId, StoreError> {
    let id: ActivityId = env.new_id();
    let Activity { principal, session, request, action, resource, outcome, detail } = activity;
    let session = session.as_ref().map(SessionId::as_str);
    let values: Values<'_> = &[
        &principal.tenant.as_str(),
        &id.as_str(),
        &env.now(),
        &principal.operator.as_str(),
        &principal.device.as_str(),
        &session,
        action,
        resource,
        outcome,
        &request.id.as_str(),
        &request.trace_id,
        detail,
    ];
    transaction.execute(INSERT_SQL, values).await?;
    Ok(id)
}
