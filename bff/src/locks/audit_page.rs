//! Pages of the lock audit log, newest first.

use contracts::clock::in_range;
use contracts::id::PropertyId;
use contracts::locks::LockAuditRow;
use jiff::Timestamp;
use service_kit::pg_row;
use service_kit::postgres::{StoreError, Transaction, Values};
use tokio_postgres::Row;

/// Last row of the previous page. On the wire `<microseconds>-<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    at: Timestamp,
    sequence: i64,
}

impl Cursor {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (micros, sequence) = text.split_once('-')?;
        let sequence = sequence.parse().ok()?;
        let at = Timestamp::from_microsecond(micros.parse().ok()?).ok()?;
        let is_stored = in_range(at);
        is_stored.then_some(Self { at, sequence })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.at.as_microsecond(), self.sequence)
    }
}

/// A query of a property's rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditQuery {
    pub property: PropertyId,
    pub from: Option<Timestamp>,
    /// Excluded.
    pub to: Option<Timestamp>,
    pub after: Option<Cursor>,
    pub limit: u16,
}

const PAGE_SQL: &str = "
    SELECT id, action_id, sequence, action, phase, property_id, lock_id, operator_id, device_id,
           roles, session_id, request_id, trace_id, idempotency_key, mfa_attestation_id, detail,
           occurred_at, encode(body_digest, 'hex') AS body_digest, encode(hash, 'hex') AS hash
    FROM bff.lock_action_proxy_audit
    WHERE tenant_id = bff.current_tenant_id() AND property_id = $1
      AND occurred_at >= coalesce($2::timestamptz, '-infinity') AND occurred_at < coalesce($3::timestamptz, 'infinity')
      AND ($4::timestamptz IS NULL OR (occurred_at, sequence) < ($4, $5))
    ORDER BY occurred_at DESC, sequence DESC
    LIMIT $6";

/// Returns the rows, and the cursor of the next page if there is one.
pub(crate) async fn page(
    transaction: &Transaction<'_>,
    query: &AuditQuery,
) -> Result<(Vec<LockAuditRow>, Option<Cursor>), StoreError> {
    let (at, sequence) = query.after.map(|cursor| (cursor.at, cursor.sequence)).unzip();
    let limit = usize::from(query.limit);
    let one_more = i64::from(query.limit) + 1;
    let property = query.property.as_str();
    let values: Values<'_> = &[&property, &query.from, &query.to, &at, &sequence, &one_more];
    let mut found = transaction.query(PAGE_SQL, values).await?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let next = found.last().filter(|_| !is_last).map(cursor).transpose()?;
    Ok((found.iter().map(from_row).collect::<Result<_, _>>()?, next))
}

fn cursor(row: &Row) -> Result<Cursor, StoreError> {
    Ok(Cursor { at: pg_row::get(row, "occurred_at")?, sequence: pg_row::get(row, "sequence")? })
}

fn from_row(row: &Row) -> Result<LockAuditRow, StoreError> {
    Ok(LockAuditRow {
        id: pg_row::id(row, "id")?,
        action_id: pg_row::id(row, "action_id")?,
        sequence: pg_row::get(row, "sequence")?,
        action: pg_row::name(row, "action")?,
        phase: pg_row::name(row, "phase")?,
        property_id: pg_row::id(row, "property_id")?,
        lock_id: pg_row::id(row, "lock_id")?,
        operator_id: pg_row::id(row, "operator_id")?,
        device_id: pg_row::id(row, "device_id")?,
        roles: pg_row::get(row, "roles")?,
        session_id: pg_row::optional_id(row, "session_id")?,
        request_id: pg_row::id(row, "request_id")?,
        trace_id: pg_row::get(row, "trace_id")?,
        idempotency_key: pg_row::get(row, "idempotency_key")?,
        body_digest: pg_row::get(row, "body_digest")?,
        mfa_attestation_id: pg_row::optional_id(row, "mfa_attestation_id")?,
        detail: pg_row::get(row, "detail")?,
        occurred_at: pg_row::instant(row, "occurred_at")?,
        hash: pg_row::get(row, "hash")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor { at: Timestamp::from_microsecond(1_234_567).unwrap(), sequence: 9 };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for wrong in ["", "1", "1-", "-1", "a-1", "99999999999999999999-1"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
