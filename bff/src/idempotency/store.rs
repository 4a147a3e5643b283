//! The table of keys. Each function is one step of a claim's life, in its caller's transaction.

use std::time::Duration;

use contracts::headers::DPOP_NONCE;
use http::header::{CONTENT_TYPE, DATE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;
use service_kit::postgres::{StoreError, Transaction};
use service_kit::row;
use tokio_postgres::Row;

use super::{Fingerprint, Slot, StoredAnswer};

/// An answer is given again for so long after it was stored.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How a claim ended.
#[derive(Debug, PartialEq)]
pub enum Claimed {
    /// The caller does the work, and completes it under this fence. Above 1, somebody began before.
    Ours { fence: i64 },
    /// It was done: this was the answer.
    Finished(StoredAnswer),
    /// Somebody is doing it.
    InFlight,
    /// The key was used for another request.
    Reused,
}

/// $1 to $6 the slot, $7 the fingerprint, $8 now, $9 the lease's end, $10 when the row may go.
/// Taken over when its lease has run out, or when the answer is older than it is kept. A row that is
/// left as it is is locked all the same, so that the second statement reads what this one saw.
const CLAIM: &str = "
    INSERT INTO bff.idempotency AS known
        (tenant_id, operator_id, device_id, method, route, idempotency_key,
         fingerprint, state, claimed_at, lease_expires_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'claimed', $8, $9, $10)
    ON CONFLICT (tenant_id, operator_id, device_id, method, route, idempotency_key) DO UPDATE SET
        fence = known.fence + 1, fingerprint = excluded.fingerprint, state = 'claimed',
        claimed_at = excluded.claimed_at, lease_expires_at = excluded.lease_expires_at,
        expires_at = excluded.expires_at, completed_at = NULL,
        response_status = NULL, response_headers = NULL, response_body = NULL
    WHERE (known.state = 'claimed' AND known.fingerprint = excluded.fingerprint
           AND known.lease_expires_at <= excluded.claimed_at)
       OR (known.state = 'completed' AND known.expires_at <= excluded.claimed_at)
    RETURNING fence";

const KNOWN: &str = "
    SELECT fingerprint = $7 AS is_repeat, state, response_status, response_headers, response_body
    FROM bff.idempotency
    WHERE tenant_id = $1 AND operator_id = $2 AND device_id = $3
      AND method = $4 AND route = $5 AND idempotency_key = $6";

/// Takes the slot, or says what became of it. Two at once wait for one another.
pub async fn claim(
    transaction: &Transaction<'_>,
    slot: &Slot,
    fingerprint: &Fingerprint,
    (now, lease): (Timestamp, Duration),
) -> Result<Claimed, StoreError> {
    let [tenant, operator, device, method, route, key] = columns(slot);
    let digest = fingerprint.as_bytes();
    let statement = transaction.prepare_cached(CLAIM).await?;
    let (until, kept) = (now + lease, now + lease + KEPT_FOR);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 10] =
        [&tenant, &operator, &device, &method, &route, &key, &digest, &now, &until, &kept];
    if let Some(row) = transaction.query_opt(&statement, &values).await? {
        return Ok(Claimed::Ours { fence: row::get(&row, "fence")? });
    }
    let statement = transaction.prepare_cached(KNOWN).await?;
    known(&transaction.query_one(&statement, &values[..7]).await?)
}

fn known(row: &Row) -> Result<Claimed, StoreError> {
    if !row::get::<bool>(row, "is_repeat")? {
        return Ok(Claimed::Reused);
    }
    if row::get::<&str>(row, "state")? == "claimed" {
        return Ok(Claimed::InFlight);
    }
    from_row(row).map(Claimed::Finished)
}

fn from_row(row: &Row) -> Result<StoredAnswer, StoreError> {
    let body: &[u8] = row::get(row, "response_body")?;
    let status: i16 = row::get(row, "response_status")?;
    Ok(StoredAnswer {
        status: status.unsigned_abs(),
        headers: from_json(&row::get(row, "response_headers")?),
        body: body.to_vec().into(),
    })
}

/// $1 to $6 the slot, $7 the fence, $8 to $10 the answer, $11 now, $12 when it may be forgotten.
const COMPLETE: &str = "
    UPDATE bff.idempotency
    SET state = 'completed', response_status = $8, response_headers = $9, response_body = $10,
        completed_at = $11, expires_at = $12
    WHERE tenant_id = $1 AND operator_id = $2 AND device_id = $3
      AND method = $4 AND route = $5 AND idempotency_key = $6
      AND state = 'claimed' AND fence = $7";

/// Keeps the answer. False when the claim was taken over: a late worker completes nothing.
pub async fn complete(
    transaction: &Transaction<'_>,
    (slot, fence): (&Slot, i64),
    answer: &StoredAnswer,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let [tenant, operator, device, method, route, key] = columns(slot);
    let status = i16::try_from(answer.status).unwrap_or(i16::MAX);
    let (headers, body) = (to_json(&answer.headers), answer.body.as_ref());
    let statement = transaction.prepare_cached(COMPLETE).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
        &tenant,
        &operator,
        &device,
        &method,
        &route,
        &key,
        &fence,
        &status,
        &headers,
        &body,
        &now,
        &(now + KEPT_FOR),
    ];
    Ok(transaction.execute(&statement, &values).await? == 1)
}

/// $1 to $6 the slot, $7 the fence, $8 now.
const RELEASE: &str = "
    UPDATE bff.idempotency SET lease_expires_at = $8
    WHERE tenant_id = $1 AND operator_id = $2 AND device_id = $3
      AND method = $4 AND route = $5 AND idempotency_key = $6
      AND state = 'claimed' AND fence = $7";

/// Gives the slot back without an answer: the next repeat takes it over at once. The row stays, so
/// that another request under its key is still refused. False when it was taken over already.
pub async fn release(
    transaction: &Transaction<'_>,
    (slot, fence): (&Slot, i64),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let [tenant, operator, device, method, route, key] = columns(slot);
    let statement = transaction.prepare_cached(RELEASE).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
        [&tenant, &operator, &device, &method, &route, &key, &fence, &now];
    Ok(transaction.execute(&statement, &values).await? == 1)
}

fn columns(slot: &Slot) -> [&str; 6] {
    let Slot { tenant, operator, device, method, route, key } = slot;
    [tenant.as_str(), operator.as_str(), device.as_str(), method, route, key.as_str()]
}

/// Headers that belong to one answer alone: never written down, so never given again.
fn is_of_one_answer(name: &HeaderName) -> bool {
    let own = [SET_COOKIE.as_str(), DATE.as_str(), DPOP_NONCE, "x-request-id", "traceparent"];
    own.contains(&name.as_str())
}

fn to_json(headers: &HeaderMap) -> Value {
    let kept = headers.iter().filter(|(name, _)| !is_of_one_answer(name));
    let text = |value: &HeaderValue| value.to_str().ok().map(Value::from);
    kept.filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect()
}

/// A header that no code of ours wrote is left out.
fn from_json(headers: &Value) -> HeaderMap {
    let pairs = headers.as_object().into_iter().flatten();
    let header = |(name, value): (&String, &Value)| {
        Some((name.parse::<HeaderName>().ok()?, value.as_str()?.parse().ok()?))
    };
    let mut read: HeaderMap = pairs.filter_map(header).collect();
    read.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_answer_are_never_kept() {
        let mut headers = HeaderMap::new();
        for name in ["set-cookie", "date", "dpop-nonce", "x-request-id", "traceparent"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        headers.insert("location", HeaderValue::from_static("/a"));
        assert_eq!(to_json(&headers), serde_json::json!({"location": "/a"}));
    }
}
