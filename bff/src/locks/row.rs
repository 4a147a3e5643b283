//! A row of `bff.lock_action_proxy_audit`.

use serde_json::Value;
use service_kit::pg_row;
use service_kit::postgres::StoreError;

/// A row without its position in the chain. Texts are as in the columns.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) action_id: String,
    pub(crate) action: String,
    pub(crate) phase: String,
    pub(crate) property: Option<String>,
    pub(crate) lock: String,
    pub(crate) operator: String,
    pub(crate) device: String,
    pub(crate) roles: Vec<String>,
    pub(crate) session: Option<String>,
    pub(crate) request: String,
    pub(crate) trace: Option<String>,
    pub(crate) key: String,
    pub(crate) body_digest: Vec<u8>,
    pub(crate) attestation: Option<String>,
    /// Texts by name.
    pub(crate) detail: Value,
}

/// Reads the columns as they are, also when they were tampered with.
pub(super) fn from_row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    Ok(Row {
        id: pg_row::get(row, "id")?,
        action_id: pg_row::get(row, "action_id")?,
        action: pg_row::get(row, "action")?,
        phase: pg_row::get(row, "phase")?,
        property: pg_row::get(row, "property_id")?,
        lock: pg_row::get(row, "lock_id")?,
        operator: pg_row::get(row, "operator_id")?,
        device: pg_row::get(row, "device_id")?,
        roles: pg_row::get(row, "roles")?,
        session: pg_row::get(row, "session_id")?,
        request: pg_row::get(row, "request_id")?,
        trace: pg_row::get(row, "trace_id")?,
        key: pg_row::get(row, "idempotency_key")?,
        body_digest: pg_row::get(row, "body_digest")?,
        attestation: pg_row::get(row, "mfa_attestation_id")?,
        detail: pg_row::get(row, "detail")?,
    })
}
