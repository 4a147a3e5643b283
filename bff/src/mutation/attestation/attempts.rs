//! Attempts at a second factor, counted in Postgres for each operator across devices and instances,
//! so that codes cannot be guessed.
//!
//! An attempt is reserved before iam is called, and settled with iam's result. Until then it counts
//! as a wrong code: however many requests come at once, iam compares no more codes than a series
//! has. All times are those of the database's clock.
//! Not here: the call to iam, which is the handler's.

use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use contracts::clock::Entropy;
use contracts::id::RequestId;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Transaction, write};
use tokio::time::sleep;

use crate::config::Lockout;

/// How long a reserved attempt may be waiting for iam; longer than the gateway waits. An older one
/// was abandoned by a process that died.
const OPEN_ATTEMPT_TTL: Duration = Duration::from_secs(10);
/// How often, and how far apart, a reservation is tried while another attempt of the operator is being
/// written; together shorter than a statement may take.
const MAX_TRIES: u32 = 20;
const RETRY_DELAY: Duration = Duration::from_millis(25);

/// Whether a code may be sent to iam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reservation {
    Reserved,
    /// Other codes of the operator are being checked, so many that these could fill the series.
    Busy,
    /// The series is full of wrong codes. Seconds until a code may be sent again.
    Locked {
        retry_after: u64,
    },
}

/// The attempts of an operator that count now.
#[derive(Debug, Clone, Copy)]
struct Series {
    counted: i64,
    /// Of these, the ones that iam is judging.
    open: i64,
    /// Seconds until the oldest stops counting.
    oldest_ends_in: i64,
}

impl Series {
    fn is_full(self, lockout: Lockout) -> bool {
        self.counted >= i64::from(lockout.wrong_codes)
    }

    /// Full whatever iam says of the open ones.
    fn is_locked(self, lockout: Lockout) -> bool {
        self.counted - self.open >= i64::from(lockout.wrong_codes)
    }

    fn refusal(self, lockout: Lockout) -> Reservation {
        if !self.is_locked(lockout) {
            return Reservation::Busy;
        }
        Reservation::Locked { retry_after: self.oldest_ends_in.max(1).unsigned_abs() }
    }
}

/// $1 tenant, $2 operator, $3 seconds an attempt counts, $4 seconds it may be open.
const SERIES_SQL: &str = "
    SELECT count(*) AS counted,
           count(*) FILTER (WHERE settled_at IS NULL
               AND reserved_at > statement_timestamp() - make_interval(secs => $4)) AS open,
           coalesce(ceil(extract(epoch FROM min(coalesce(settled_at, reserved_at))
               + make_interval(secs => $3) - statement_timestamp()))::bigint, 0) AS oldest_ends_in
    FROM bff.mfa_attempts
    WHERE tenant_id = $1 AND operator_id = $2
      AND coalesce(settled_at, reserved_at) > statement_timestamp() - make_interval(secs => $3)";

async fn series(
    transaction: &Transaction<'_>,
    principal: &Principal,
    lockout: Lockout,
) -> Result<Series, StoreError> {
    let (tenant, operator) = (principal.tenant.as_str(), principal.operator.as_str());
    let (window, open) = (lockout.window.as_secs_f64(), OPEN_ATTEMPT_TTL.as_secs_f64());
    let row = transaction.query_one(SERIES_SQL, &[&tenant, &operator, &window, &open]).await?;
    Ok(Series {
        counted: pg_row::get(&row, "counted")?,
        open: pg_row::get(&row, "open")?,
        oldest_ends_in: pg_row::get(&row, "oldest_ends_in")?,
    })
}

/// Serializes the changes of one operator's series until the transaction ends.
const LOCK_SQL: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('bff.mfa_attempts:' || $1 || ':' || $2, 0))";

async fn lock(transaction: &Transaction<'_>, principal: &Principal) -> Result<(), StoreError> {
    let (tenant, operator) = (principal.tenant.as_str(), principal.operator.as_str());
    transaction.query_one(LOCK_SQL, &[&tenant, &operator]).await?;
    Ok(())
}

/// Takes the same lock if it is free.
const TRY_LOCK_SQL: &str = "
    SELECT pg_try_advisory_xact_lock(
        hashtextextended('bff.mfa_attempts:' || $1 || ':' || $2, 0)) AS locked";

/// False when another transaction holds the lock.
async fn try_lock(
    transaction: &Transaction<'_>,
    principal: &Principal,
) -> Result<bool, StoreError> {
    let (tenant, operator) = (principal.tenant.as_str(), principal.operator.as_str());
    pg_row::get(&transaction.query_one(TRY_LOCK_SQL, &[&tenant, &operator]).await?, "locked")
}

/// $1 tenant, $2 operator, $3 the attempt, $4 device, $5 request, $6 seconds an attempt counts, $7 how
/// many make a series.
const RESERVE_SQL: &str = "
    WITH over AS (
        DELETE FROM bff.mfa_attempts
        WHERE tenant_id = $1 AND operator_id = $2
          AND coalesce(settled_at, reserved_at) <= statement_timestamp() - make_interval(secs => $6))
    INSERT INTO bff.mfa_attempts (tenant_id, operator_id, attempt_id, device_id, request_id, reserved_at)
    SELECT $1, $2, $3, $4, $5, clock_timestamp()
    WHERE (SELECT count(*) FROM bff.mfa_attempts
           WHERE tenant_id = $1 AND operator_id = $2
             AND coalesce(settled_at, reserved_at) > statement_timestamp() - make_interval(secs => $6)) < $7";

/// One attempt of an operator.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    id: String,
    principal: Arc<Principal>,
    request: RequestId,
}

impl Attempt {
    pub(crate) fn new(principal: Arc<Principal>, request: RequestId, entropy: &Entropy) -> Self {
        Self { id: format!("{:032x}", entropy.u128()), principal, request }
    }
}

/// Reserves an attempt in a transaction of its own, unless the operator is locked.
///
/// While another attempt of the operator is being reserved or settled it tries again, and holds no
/// connection between two tries: a flood of codes for one operator leaves the pool to all others.
/// After [`MAX_TRIES`] it is refused as busy.
pub(crate) async fn reserve(
    database: &Database,
    attempt: &Attempt,
    lockout: Lockout,
) -> Result<Reservation, StoreError> {
    for _ in 0..MAX_TRIES {
        if let Some(reservation) = try_reserve(database, attempt, lockout).await? {
            return Ok(reservation);
        }
        sleep(RETRY_DELAY).await;
    }
    Ok(Reservation::Busy)
}

/// `None` when another transaction is changing the operator's series. A full series needs no lock.
async fn try_reserve(
    database: &Database,
    attempt: &Attempt,
    lockout: Lockout,
) -> Result<Option<Reservation>, StoreError> {
    let principal = &attempt.principal;
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, principal.tenant).await?;
    let before = series(&transaction, principal, lockout).await?;
    if before.is_full(lockout) {
        return Ok(Some(before.refusal(lockout)));
    }
    if !try_lock(&transaction, principal).await? {
        return Ok(None);
    }
    if insert(&transaction, attempt, lockout).await? {
        transaction.commit().await?;
        return Ok(Some(Reservation::Reserved));
    }
    Ok(Some(series(&transaction, principal, lockout).await?.refusal(lockout)))
}

/// False when the series is full.
async fn insert(
    transaction: &Transaction<'_>,
    attempt: &Attempt,
    lockout: Lockout,
) -> Result<bool, StoreError> {
    let Attempt { id, principal, request } = attempt;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &principal.tenant.as_str(),
        &principal.operator.as_str(),
        id,
        &principal.device.as_str(),
        &request.as_str(),
        &lockout.window.as_secs_f64(),
        &i64::from(lockout.wrong_codes),
    ];
    Ok(transaction.execute(RESERVE_SQL, &values).await? == 1)
}

const SETTLE_WRONG_SQL: &str = "
    UPDATE bff.mfa_attempts SET settled_at = clock_timestamp()
    WHERE tenant_id = $1 AND attempt_id = $2";

/// Settles the attempt as a wrong code. True when this code filled the series: the operator is locked
/// from now on.
pub(crate) async fn settle_wrong(
    database: &Database,
    attempt: &Attempt,
    lockout: Lockout,
) -> Result<bool, StoreError> {
    let principal = &attempt.principal;
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, principal.tenant).await?;
    lock(&transaction, principal).await?;
    let (tenant, id) = (principal.tenant.as_str(), &attempt.id);
    transaction.execute(SETTLE_WRONG_SQL, &[&tenant, id]).await?;
    let after = series(&transaction, principal, lockout).await?;
    transaction.commit().await?;
    Ok(after.is_locked(lockout))
}

const RELEASE_SQL: &str = "DELETE FROM bff.mfa_attempts WHERE tenant_id = $1 AND attempt_id = $2";

/// Releases the attempt, because iam did not check the code.
pub(crate) async fn release(database: &Database, attempt: &Attempt) -> Result<(), StoreError> {
    let tenant = attempt.principal.tenant;
    database.write(tenant, RELEASE_SQL, &[&tenant.as_str(), &attempt.id]).await.map(drop)
}

/// $1 tenant, $2 operator, $3 the attempt, $4 seconds an attempt may be open.
const END_SERIES_SQL: &str = "
    DELETE FROM bff.mfa_attempts
    WHERE tenant_id = $1 AND operator_id = $2
      AND (attempt_id = $3 OR settled_at IS NOT NULL
           OR reserved_at <= statement_timestamp() - make_interval(secs => $4))";

/// Ends the operator's series after a right code. Codes that iam is still judging keep counting.
pub(crate) async fn end_series(
    transaction: &Transaction<'_>,
    attempt: &Attempt,
) -> Result<(), StoreError> {
    let Attempt { id, principal, .. } = attempt;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [
        &principal.tenant.as_str(),
        &principal.operator.as_str(),
        id,
        &OPEN_ATTEMPT_TTL.as_secs_f64(),
    ];
    transaction.execute(END_SERIES_SQL, &values).await?;
    Ok(())
}

/// Every statement of this module, for the test that prepares them on the migrated schema.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 7] = [
    SERIES_SQL,
    LOCK_SQL,
    TRY_LOCK_SQL,
    RESERVE_SQL,
    SETTLE_WRONG_SQL,
    RELEASE_SQL,
    END_SERIES_SQL,
];

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKOUT: Lockout = Lockout { wrong_codes: 5, window: Duration::from_mins(15) };

    #[test]
    fn a_full_series_is_locked_for_the_window_only_when_iam_has_judged_all_of_it() {
        let settled = Series { counted: 5, open: 0, oldest_ends_in: 600 };
        assert_eq!(settled.refusal(LOCKOUT), Reservation::Locked { retry_after: 600 });
        let open = Series { open: 1, ..settled };
        assert!(open.is_full(LOCKOUT) && !open.is_locked(LOCKOUT));
        assert_eq!(open.refusal(LOCKOUT), Reservation::Busy);
        assert!(!Series { counted: 4, ..settled }.is_full(LOCKOUT));
    }
}
