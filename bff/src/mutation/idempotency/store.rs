//! The table of idempotency keys. Each function is one step of a claim, in its caller's transaction.

use std::time::Duration;

use contracts::headers::DPOP_NONCE;
use contracts::id::PropertyId;
use http::header::{CONTENT_TYPE, DATE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;
use service_kit::pg_row;
use service_kit::postgres::{SqlValue, StoreError, Transaction};
use tokio_postgres::Row;

use super::{Fingerprint, IdempotencyScope, Reach, StoredResponse};

/// How long a stored response is sent again.
pub(crate) const RESPONSE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// A request that claims its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimRequest<'a> {
    pub scope: &'a IdempotencyScope,
    pub fingerprint: &'a Fingerprint,
    pub reach: &'a Reach,
    pub now: Timestamp,
    pub lease: Duration,
}

/// A claimed key with the fencing token of its claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FencedScope<'a> {
    pub scope: &'a IdempotencyScope,
    pub fence: i64,
}

/// Result of a claim. A repeat has the reach of the first request.
#[derive(Debug, PartialEq)]
pub(crate) enum Claim {
    /// The caller does the work, and completes it with this fencing token.
    Acquired { fence: i64 },
    /// The same, for work that another worker began and did not finish.
    TakenOver { fence: i64, reach: Reach },
    /// The work is done, with this response.
    Completed { response: StoredResponse, reach: Reach },
    /// Another worker is doing it.
    InProgress { reach: Reach },
    /// The key belongs to another request.
    KeyReused,
}

impl Claim {
    /// Where the first request with the key may have had its effect; `None` if this is the first.
    pub(crate) fn reach(&self) -> Option<&Reach> {
        match self {
            Self::TakenOver { reach, .. }
            | Self::Completed { reach, .. }
            | Self::InProgress { reach } => Some(reach),
            Self::Acquired { .. } | Self::KeyReused => None,
        }
    }
}

/// $1 to $6 the scope, $7 the fingerprint, $8 now, $9 the lease's end, $10 when the row expires, $11 and
/// $12 the reach. An expired row is claimed like a missing one; an unfinished row of the same request is
/// taken over when its lease has expired, and keeps its reach. A row that stays unchanged is locked all
/// the same, so that the second statement reads what this one saw.
const CLAIM_SQL: &str = "
    INSERT INTO bff.idempotency AS known
        (tenant_id, operator_id, device_id, method, route, idempotency_key,
         fingerprint, state, claimed_at, lease_expires_at, expires_at, property_id, property_ids)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'claimed', $8, $9, $10, $11, $12)
    ON CONFLICT (tenant_id, operator_id, device_id, method, route, idempotency_key) DO UPDATE SET
        fence = known.fence + 1, fingerprint = excluded.fingerprint, state = 'claimed',
        claimed_at = excluded.claimed_at, lease_expires_at = excluded.lease_expires_at,
        expires_at = excluded.expires_at, completed_at = NULL,
        response_status = NULL, response_headers = NULL, response_body = NULL,
        resumed = known.expires_at > excluded.claimed_at,
        property_id = CASE WHEN known.expires_at > excluded.claimed_at
            THEN coalesce(known.property_id, excluded.property_id) ELSE excluded.property_id END,
        property_ids = CASE WHEN known.expires_at > excluded.claimed_at
            THEN known.property_ids ELSE excluded.property_ids END
    WHERE known.expires_at <= excluded.claimed_at
       OR (known.state = 'claimed' AND known.fingerprint = excluded.fingerprint
           AND known.lease_expires_at <= excluded.claimed_at)
    RETURNING fence, resumed, property_id, property_ids";

const EXISTING_SQL: &str = "
    SELECT fingerprint = $7 AS is_repeat, state, response_status, response_headers, response_body,
           property_id, property_ids
    FROM bff.idempotency
    WHERE tenant_id = $1 AND operator_id = $2 AND device_id = $3
      AND method = $4 AND route = $5 AND idempotency_key = $6";

/// Claims the key in its scope, or returns the state of an earlier claim. Concurrent claims of a key wait
/// for one another.
pub(crate) async fn claim(
    transaction: &Transaction<'_>,
    claim: &ClaimRequest<'_>,
) -> Result<Claim, StoreError> {
    let ClaimRequest { scope, fingerprint, reach, now, lease } = claim;
    let columns = columns(scope);
    let digest = fingerprint.as_bytes().as_slice();
    let (lease_end, expires_at) = (*now + *lease, *now + *lease + RESPONSE_TTL);
    let values = with_scope(
        &columns,
        &[&digest, now, &lease_end, &expires_at, &reach.property, &reach.scope],
    );
    if let Some(row) = transaction.query_opt(CLAIM_SQL, &values).await? {
        return acquired(&row);
    }
    existing(&transaction.query_one(EXISTING_SQL, &values[..7]).await?)
}

fn acquired(row: &Row) -> Result<Claim, StoreError> {
    let fence = pg_row::get(row, "fence")?;
    if pg_row::get(row, "resumed")? {
        return Ok(Claim::TakenOver { fence, reach: reach(row)? });
    }
    Ok(Claim::Acquired { fence })
}

fn existing(row: &Row) -> Result<Claim, StoreError> {
    if !pg_row::get::<bool>(row, "is_repeat")? {
        return Ok(Claim::KeyReused);
    }
    let reach = reach(row)?;
    if pg_row::get::<&str>(row, "state")? == "claimed" {
        return Ok(Claim::InProgress { reach });
    }
    Ok(Claim::Completed { response: from_row(row)?, reach })
}

fn reach(row: &Row) -> Result<Reach, StoreError> {
    Ok(Reach {
        property: pg_row::get(row, "property_id")?,
        scope: pg_row::get(row, "property_ids")?,
    })
}

fn from_row(row: &Row) -> Result<StoredResponse, StoreError> {
    let body: &[u8] = pg_row::get(row, "response_body")?;
    let status: i16 = pg_row::get(row, "response_status")?;
    Ok(StoredResponse {
        status: status.unsigned_abs(),
        headers: from_json(&pg_row::get(row, "response_headers")?),
        body: body.to_vec().into(),
    })
}

/// $1 to $6 the scope, $7 the fence, $8 to $10 the response, $11 now, $12 when it expires, $13 the property
/// of the effect, if the response has it.
const COMPLETE_SQL: &str = "
    UPDATE bff.idempotency
    SET state = 'completed', response_status = $8, response_headers = $9, response_body = $10,
        completed_at = $11, expires_at = $12,
        property_id = coalesce(property_id, $13)
    WHERE tenant_id = $1 AND operator_id = $2 AND device_id = $3
      AND method = $4 AND route = $5 AND idempotency_key = $6
      AND state = 'claimed' AND fence = $7";

/// Stores the response. Returns false when the claim was taken over: a late worker completes nothing.
pub(crate) async fn complete(
    transaction: &Transaction<'_>,
    FencedScope { scope, fence }: FencedScope<'_>,
    response: &StoredResponse,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let columns = columns(scope);
    let status = i16::try_from(response.status).unwrap_or(i16::MAX);
    let (headers, body) = (to_json(&response.headers), response.body.as_ref());
    let property = response.property();
    let property = property.as_ref().map(PropertyId::as_str);
    let expires_at = now + RESPONSE_TTL;
    let values =
        with_scope(&columns, &[&fence, &status, &headers, &body, &now, &expires_at, &property]);
    Ok(transaction.execute(COMPLETE_SQL, &values).await? == 1)
}

/// $1 to $6 the scope, $7 the fence, $8 now.
const RELEASE_SQL: &str = "
    UPDATE bff.idempotency SET lease_expires_at = $8
    WHERE tenant_id = $1 AND operator_id = $2 AND device_id = $3
      AND method = $4 AND route = $5 AND idempotency_key = $6
      AND state = 'claimed' AND fence = $7";

/// Releases the claim without a response, so that the next repeat takes it over at once. The row stays,
/// so that another request with its key is still refused. Returns false when it was taken over already.
pub(crate) async fn release(
    transaction: &Transaction<'_>,
    FencedScope { scope, fence }: FencedScope<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let columns = columns(scope);
    let values = with_scope(&columns, &[&fence, &now]);
    Ok(transaction.execute(RELEASE_SQL, &values).await? == 1)
}

fn columns(scope: &IdempotencyScope) -> [&str; 6] {
    let IdempotencyScope { tenant, operator, device, method, route, key } = scope;
    [tenant.as_str(), operator.as_str(), device.as_str(), method, route, key.as_str()]
}

/// The values of a statement whose first six are the scope.
fn with_scope<'a>(scope: &'a [&str; 6], others: &[SqlValue<'a>]) -> Vec<SqlValue<'a>> {
    scope.iter().map(|column| column as SqlValue<'a>).chain(others.iter().copied()).collect()
}

/// Whether a header belongs to one response alone. Such a header is not stored, so never sent again.
fn is_per_response(name: &HeaderName) -> bool {
    let own = [SET_COOKIE.as_str(), DATE.as_str(), DPOP_NONCE, "x-request-id", "traceparent"];
    own.contains(&name.as_str())
}

fn to_json(headers: &HeaderMap) -> Value {
    let stored = headers.iter().filter(|(name, _)| !is_per_response(name));
    let text = |value: &HeaderValue| value.to_str().ok().map(Value::from);
    stored.filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect()
}

/// Leaves out what is not a header.
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
    fn headers_of_one_response_are_not_stored() {
        let mut headers = HeaderMap::new();
        for name in ["set-cookie", "date", "dpop-nonce", "x-request-id", "traceparent"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        headers.insert("location", HeaderValue::from_static("/a"));
        assert_eq!(to_json(&headers), serde_json::json!({"location": "/a"}));
    }
}
