//! A gateway with fake upstreams, on a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use contracts::clock::{Clock, Entropy};
use jiff::SignedDuration;

use crate::tests::fake_upstreams::FakeUpstreams;
use crate::tests::test_gateway::{TestGateway, TestOptions, UNREACHABLE_REDIS, patient};

/// Base path of the API.
pub(crate) const BASE: &str = "/api/bff/backoffice/v1";

/// Size of the gateway's connection pool.
const POOL: usize = 8;

pub(crate) fn fresh_key() -> String {
    format!("{:032x}", Entropy::system().u128())
}

/// The system's clock, ahead by the number of seconds.
pub(crate) fn movable_clock() -> (Clock, Arc<AtomicI64>) {
    let ahead = Arc::new(AtomicI64::new(0));
    let (system, seconds) = (Clock::system(), Arc::clone(&ahead));
    let clock = Clock::from_fn(move || {
        system.now() + SignedDuration::from_secs(seconds.load(Ordering::SeqCst))
    });
    (clock, ahead)
}

pub(crate) struct Fixture {
    pub(crate) gateway: TestGateway,
    pub(crate) fake: Arc<FakeUpstreams>,
    /// Seconds by which the clock is ahead.
    ahead: Arc<AtomicI64>,
}

impl Fixture {
    pub(crate) async fn open() -> Self {
        Self::with(TestOptions::usual()).await
    }

    /// With an unreachable session store.
    pub(crate) async fn without_session_store() -> Self {
        let redis_url = UNREACHABLE_REDIS.to_owned();
        Self::with(TestOptions { redis_url, ..TestOptions::usual() }).await
    }

    async fn with(options: TestOptions) -> Self {
        let (fake, upstreams) = FakeUpstreams::open().await;
        let (clock, ahead) = movable_clock();
        let options = TestOptions { upstreams, limits: patient, pool: POOL, clock, ..options };
        let gateway = TestGateway::build(options).await;
        // A read waits less than a connection may take on a busy machine.
        drop(gateway.state.database.connection().await.unwrap());
        Self { gateway, fake, ahead }
    }

    /// Opens all connections of the pool, so that a race does not wait for them.
    pub(crate) async fn warm_up(&self) {
        let mut open = Vec::new();
        for _ in 0..POOL {
            open.push(self.gateway.state.database.connection().await.unwrap());
        }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Selects `what` from every activity row, in order.
    pub(crate) async fn activity(&self, what: &str) -> Vec<String> {
        let order = "array_position('{requested}', outcome), id";
        let sql = format!("SELECT {what} FROM bff.operator_activity ORDER BY occurred_at, {order}");
        self.gateway.database.rows(&sql).await
    }
}
