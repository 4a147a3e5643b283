//! Jobs that one instance runs at a time. The lease is a row that expires by the database's clock,
//! so that a job holds no connection while it calls upstreams, and a crashed process blocks the job
//! only until its lease expires.
//!
//! Not here: when a job runs. A job that outlives its lease can run twice concurrently, so each
//! must be safe to.

use contracts::id::TenantId;
use std::future::Future;
use std::time::Duration;

use contracts::clock::Entropy;
use service_kit::postgres::{Database, StoreError, write};
use service_kit::problem::chain;

/// A job that one instance runs at a time.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub name: &'static str,
    /// Longer than a run takes.
    pub lease: Duration,
}

/// Runs `work` under the job's lease; `None` when another instance holds it.
pub async fn exclusively<T>(
    database: &Database,
    entropy: &Entropy,
    job: Job,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<Option<T>, StoreError> {
    let holder = format!("{:032x}", entropy.u128());
    if !acquire(database, job, &holder).await? {
        return Ok(None);
    }
    let result = work.await;
    if let Err(error) = release(database, job, &holder).await {
        let (job, error) = (job.name, chain(&error));
        tracing::warn!(job, %error, "Failed to release a job lease; it expires by itself.");
    }
    result.map(Some)
}

/// $1 the job, $2 its holder, $3 seconds.
const ACQUIRE_SQL: &str = "
    INSERT INTO bff.job_leases AS held (tenant_id, job, holder, expires_at)
    VALUES (bff.current_tenant_id(), $1, $2, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (tenant_id, job) DO UPDATE SET
        holder = excluded.holder, expires_at = excluded.expires_at
    WHERE held.expires_at <= clock_timestamp()";

async fn acquire(database: &Database, job: Job, holder: &str) -> Result<bool, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, TenantId::platform()).await?;
    let statement = transaction.prepare_cached(ACQUIRE_SQL).await?;
    let lease = job.lease.as_secs_f64();
    let acquired = transaction.execute(&statement, &[&job.name, &holder, &lease]).await?;
    transaction.commit().await?;
    Ok(acquired == 1)
}

const RELEASE_SQL: &str = "
    DELETE FROM bff.job_leases
    WHERE tenant_id = bff.current_tenant_id() AND job = $1 AND holder = $2";

/// Leaves a lease alone that expired and was acquired by another instance.
async fn release(database: &Database, job: Job, holder: &str) -> Result<(), StoreError> {
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, TenantId::platform()).await?;
    let statement = transaction.prepare_cached(RELEASE_SQL).await?;
    transaction.execute(&statement, &[&job.name, &holder]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Every statement of this module, for the test that prepares them on the migrated schema.
pub const STATEMENTS: [&str; 2] = [ACQUIRE_SQL, RELEASE_SQL];
