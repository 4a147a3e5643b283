//! Jobs: background tasks that a scheduler starts over HTTP, on any instance. With a lease, one instance
//! runs a job at a time. The lease is a row that expires by the database's clock, so that a job holds no
//! connection while it calls upstreams, and a crashed process blocks the job only until its lease
//! expires.
//!
//! Not here: when a job runs. A job that outlives its lease can run twice concurrently, so each
//! must be safe to.

use std::future::Future;
use std::time::Duration;

use contracts::clock::Entropy;
use contracts::id::TenantId;
use service_kit::background::{BackgroundTask, TaskDriver};
use service_kit::postgres::{Database, StoreError, Values};
use service_kit::problem::chain;

/// A background task that a scheduler starts over HTTP.
pub(crate) trait Job: BackgroundTask<Error = StoreError> {
    /// Its name in reports, and that of its lease.
    const NAME: &'static str;
    /// The end of its path.
    const PATH: &'static str = Self::NAME;
    /// Longer than a run takes. `None` for a job that needs no lease, or whose statements lock.
    const LEASE: Option<Duration>;
}

/// Runs a job once; `None` while another instance holds its lease, which no report shows as a run.
pub(crate) async fn run<J: Job>(
    driver: &TaskDriver,
    database: &Database,
    entropy: &Entropy,
    mut job: J,
) -> Result<Option<J::Status>, StoreError> {
    let work = Box::pin(driver.run(J::NAME, job.activate()));
    let Some(ttl) = J::LEASE else { return work.await.map(Some) };
    let holder = format!("{:032x}", entropy.u128());
    Lease { job: J::NAME, holder, ttl }.exclusively(database, work).await
}

/// The right to run a job, of one run.
struct Lease {
    job: &'static str,
    holder: String,
    ttl: Duration,
}

/// $1 the job, $2 its holder, $3 seconds.
const ACQUIRE_SQL: &str = "
    INSERT INTO bff.job_leases AS held (tenant_id, job, holder, expires_at)
    VALUES (bff.current_tenant_id(), $1, $2, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (tenant_id, job) DO UPDATE SET
        holder = excluded.holder, expires_at = excluded.expires_at
    WHERE held.expires_at <= clock_timestamp()";

const RELEASE_SQL: &str = "
    DELETE FROM bff.job_leases
    WHERE tenant_id = bff.current_tenant_id() AND job = $1 AND holder = $2";

impl Lease {
    /// Does the work between acquiring and releasing the lease; `None` while another run holds it.
    async fn exclusively<T>(
        &self,
        database: &Database,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Option<T>, StoreError> {
        if !self.acquire(database).await? {
            return Ok(None);
        }
        let result = work.await;
        if let Err(error) = self.release(database).await {
            let (job, error) = (self.job, chain(&error));
            tracing::warn!(job, %error, "Failed to release a job lease; it expires by itself.");
        }
        result.map(Some)
    }

    async fn acquire(&self, database: &Database) -> Result<bool, StoreError> {
        let values: Values<'_> = &[&self.job, &self.holder, &self.ttl.as_secs_f64()];
        Ok(database.write(TenantId::platform(), ACQUIRE_SQL, values).await? == 1)
    }

    /// Leaves a lease alone that expired and was acquired by another run.
    async fn release(&self, database: &Database) -> Result<(), StoreError> {
        let values: Values<'_> = &[&self.job, &self.holder];
        database.write(TenantId::platform(), RELEASE_SQL, values).await.map(drop)
    }
}
