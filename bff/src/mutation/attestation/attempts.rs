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
use contracts::id::RequestId;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Transaction, Values, write};
use tokio::time::sleep;

use crate::config::MfaConfig;
use crate::state::Gateway;

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
    fn is_full(self, mfa: MfaConfig) -> bool {
        self.counted >= i64::from(mfa.wrong_codes.get())
    }

    /// Full whatever iam says of the open ones.
    fn is_locked(self, mfa: MfaConfig) -> bool {
        self.counted - self.open >= i64::from(mfa.wrong_codes.get())
    }

    fn refusal(self, mfa: MfaConfig) -> Reservation {
        if !self.is_locked(mfa) {
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

/// Serializes the changes of one operator's series until the transaction ends.
const LOCK_SQL: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('bff.mfa_attempts:' || $1 || ':' || $2, 0))";

/// Takes the same lock if it is free.
const TRY_LOCK_SQL: &str = "
    SELECT pg_try_advisory_xact_lock(
        hashtextextended('bff.mfa_attempts:' || $1 || ':' || $2, 0)) AS locked";

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

const SETTLE_WRONG_SQL: &str = "
    UPDATE bff.mfa_attempts SET settled_at = clock_timestamp()
    WHERE tenant_id = $1 AND attempt_id = $2";

const RELEASE_SQL: &str = "DELETE FROM bff.mfa_attempts WHERE tenant_id = $1 AND attempt_id = $2";

/// $1 tenant, $2 operator, $3 the attempt, $4 seconds an attempt may be open.
const END_SERIES_SQL: &str = "
    DELETE FROM bff.mfa_attempts
    WHERE tenant_id = $1 AND operator_id = $2
      AND (attempt_id = $3 OR settled_at IS NOT NULL
           OR reserved_at <= statement_timestamp() - make_interval(secs => $4))";

/// One attempt of an operator.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    id: String,
    principal: Arc<Principal>,
    request: RequestId,
    mfa: MfaConfig,
}

impl Attempt {
    pub(crate) fn new(principal: Arc<Principal>, request: RequestId, gateway: &Gateway) -> Self {
        let id = format!("{:032x}", gateway.env.entropy.u128());
        Self { id, principal, request, mfa: gateway.mfa }
    }

    /// The tenant and operator, as most statements take them.
    fn operator(&self) -> (&str, &str) {
        (self.principal.tenant.as_str(), self.principal.operator.as_str())
    }

    /// Reserves the attempt in a transaction of its own, unless the operator is locked.
    ///
    /// While another attempt of the operator is being reserved or settled it tries again, and holds
    /// no connection between two tries: a flood of codes for one operator leaves the pool to all
    /// others. After [`MAX_TRIES`] it is refused as busy.
    pub(crate) async fn reserve(&self, database: &Database) -> Result<Reservation, StoreError> {
        for _ in 0..MAX_TRIES {
            if let Some(reservation) = self.try_reserve(database).await? {
                return Ok(reservation);
            }
            sleep(RETRY_DELAY).await;
        }
        Ok(Reservation::Busy)
    }

    /// `None` when another transaction is changing the operator's series. A full series needs no
    /// lock.
    async fn try_reserve(&self, database: &Database) -> Result<Option<Reservation>, StoreError> {
        let mut connection = database.connection().await?;
        let transaction = write(&mut connection, self.principal.tenant).await?;
        let before = self.series(&transaction).await?;
        if before.is_full(self.mfa) {
            return Ok(Some(before.refusal(self.mfa)));
        }
        if !self.try_lock(&transaction).await? {
            return Ok(None);
        }
        if self.insert(&transaction).await? {
            transaction.commit().await?;
            return Ok(Some(Reservation::Reserved));
        }
        Ok(Some(self.series(&transaction).await?.refusal(self.mfa)))
    }

    async fn series(&self, transaction: &Transaction<'_>) -> Result<Series, StoreError> {
        let (tenant, operator) = self.operator();
        let (window, open) = (self.mfa.window_s as f64, OPEN_ATTEMPT_TTL.as_secs_f64());
        let row = transaction.query_one(SERIES_SQL, &[&tenant, &operator, &window, &open]).await?;
        Ok(Series {
            counted: pg_row::get(&row, "counted")?,
            open: pg_row::get(&row, "open")?,
            oldest_ends_in: pg_row::get(&row, "oldest_ends_in")?,
        })
    }

    /// False when another transaction holds the lock.
    async fn try_lock(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        let (tenant, operator) = self.operator();
        pg_row::get(&transaction.query_one(TRY_LOCK_SQL, &[&tenant, &operator]).await?, "locked")
    }

    /// False when the series is full.
    async fn insert(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        let (tenant, operator) = self.operator();
        let (device, request) = (self.principal.device.as_str(), self.request.as_str());
        let (window, wrong_codes) =
            (self.mfa.window_s as f64, i64::from(self.mfa.wrong_codes.get()));
        let values: Values<'_> =
            &[&tenant, &operator, &self.id, &device, &request, &window, &wrong_codes];
        Ok(transaction.execute(RESERVE_SQL, values).await? == 1)
    }

    /// Settles the attempt as a wrong code. True when this code filled the series: the operator is
    /// locked from now on.
    pub(crate) async fn settle_wrong(&self, database: &Database) -> Result<bool, StoreError> {
        let (tenant, operator) = self.operator();
        let mut connection = database.connection().await?;
        let transaction = write(&mut connection, self.principal.tenant).await?;
        transaction.query_one(LOCK_SQL, &[&tenant, &operator]).await?;
        transaction.execute(SETTLE_WRONG_SQL, &[&tenant, &self.id]).await?;
        let after = self.series(&transaction).await?;
        transaction.commit().await?;
        Ok(after.is_locked(self.mfa))
    }

    /// Releases the attempt, because iam did not check the code.
    pub(crate) async fn release(&self, database: &Database) -> Result<(), StoreError> {
        let tenant = self.principal.tenant;
        database.write(tenant, RELEASE_SQL, &[&tenant.as_str(), &self.id]).await.map(drop)
    }

    /// Ends the operator's series after a right code. Codes that iam is still judging keep counting.
    pub(crate) async fn end_series(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let (tenant, operator) = self.operator();
        let open = OPEN_ATTEMPT_TTL.as_secs_f64();
        let values: Values<'_> = &[&tenant, &operator, &self.id, &open];
        transaction.execute(END_SERIES_SQL, values).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_series_is_locked_for_the_window_only_when_iam_has_judged_all_of_it() {
        let mfa = MfaConfig::default();
        let settled = Series { counted: 5, open: 0, oldest_ends_in: 600 };
        assert_eq!(settled.refusal(mfa), Reservation::Locked { retry_after: 600 });
        let open = Series { open: 1, ..settled };
        assert!(open.is_full(mfa) && !open.is_locked(mfa));
        assert_eq!(open.refusal(mfa), Reservation::Busy);
        assert!(!Series { counted: 4, ..settled }.is_full(mfa));
    }
}
