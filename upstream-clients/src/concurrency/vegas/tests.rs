use tokio::time::{Instant, advance};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// An upstream that serves `capacity` concurrent calls in 20 ms and queues the others, under as
/// much load as the limit admits.
struct SimulatedUpstream {
    capacity: usize,
}

impl SimulatedUpstream {
    fn latency(&self, in_flight: usize) -> Duration {
        20 * MS * in_flight.max(self.capacity) as u32 / self.capacity as u32
    }

    async fn loaded(&self, vegas: &mut VegasLimit, windows: usize) {
        for _ in 0..windows {
            let in_flight = vegas.limit();
            window(vegas, in_flight, &[(0, CallHealth::Responsive, self.latency(in_flight))]).await;
        }
    }
}

/// One window in which each tenant made twenty calls with this outcome.
async fn window(vegas: &mut VegasLimit, in_flight: usize, tenants: &[(u64, CallHealth, Duration)]) {
    vegas.began(in_flight);
    for (number, health, took) in tenants.repeat(20) {
        vegas.ended(TenantKey::for_test(number), health, took, Instant::now());
    }
    advance(MIN_WINDOW).await;
    let (number, health, took) = tenants[0];
    vegas.ended(TenantKey::for_test(number), health, took, Instant::now());
}

fn vegas() -> VegasLimit {
    VegasLimit::new(256, Instant::now())
}

/// A limit that knows the upstream's best latency.
async fn warm() -> VegasLimit {
    let mut vegas = vegas();
    window(&mut vegas, 10, &[(0, CallHealth::Responsive, 20 * MS)]).await;
    vegas
}

#[tokio::test(start_paused = true)]
async fn the_limit_converges_to_about_twice_the_best_latency() {
    for capacity in [8, 20, 50, 100] {
        let upstream = SimulatedUpstream { capacity };
        let mut vegas = warm().await;
        upstream.loaded(&mut vegas, 20).await;
        for _ in 0..50 {
            upstream.loaded(&mut vegas, 1).await;
            let times = vegas.limit() as f64 / capacity as f64;
            assert!((1.0..=3.0).contains(&times), "{times} times {capacity}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_fast_keeps_the_ceiling_however_its_latency_varies() {
    let mut vegas = vegas();
    for took in [MS, 15 * MS, 3 * MS, 19 * MS] {
        window(&mut vegas, 256, &[(0, CallHealth::Responsive, took)]).await;
        assert_eq!(vegas.limit(), 256);
    }
}

#[tokio::test(start_paused = true)]
async fn slowness_with_most_of_the_limit_free_does_not_lower_it() {
    let mut vegas = warm().await;
    for _ in 0..10 {
        window(&mut vegas, 100, &[(0, CallHealth::Responsive, 300 * MS)]).await;
    }
    assert_eq!(vegas.limit(), 256);
}

#[tokio::test(start_paused = true)]
async fn a_hang_takes_it_to_the_floor_within_five_windows_and_recovery_is_as_quick() {
    let mut vegas = warm().await;
    for _ in 0..5 {
        window(&mut vegas, 40, &[(0, CallHealth::TimedOut, 400 * MS)]).await;
    }
    assert_eq!(vegas.limit(), MIN_LIMIT);
    for _ in 0..5 {
        window(&mut vegas, 2, &[(0, CallHealth::Responsive, 20 * MS)]).await;
    }
    assert_eq!(vegas.limit(), 256);
}

#[tokio::test(start_paused = true)]
async fn one_slow_or_hanging_tenant_does_not_lower_the_limit() {
    for (health, took) in [(CallHealth::TimedOut, 400 * MS), (CallHealth::Responsive, 390 * MS)] {
        let mut vegas = warm().await;
        for _ in 0..20 {
            let both = [(1, health, took), (2, CallHealth::Responsive, 20 * MS)];
            window(&mut vegas, 200, &both).await;
        }
        assert_eq!(vegas.limit(), 256);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_and_cancelled_calls_do_not_change_the_limit() {
    let mut vegas = warm().await;
    for health in [CallHealth::Failed, CallHealth::Unknown] {
        window(&mut vegas, 256, &[(0, health, 400 * MS)]).await;
        window(&mut vegas, 256, &[(0, health, Duration::ZERO)]).await;
    }
    assert_eq!(vegas.limit(), 256);
    // They did not set the baseline either; otherwise 30 ms would be congestion.
    window(&mut vegas, 256, &[(0, CallHealth::Responsive, 30 * MS)]).await;
    assert_eq!(vegas.limit(), 256);
}

#[tokio::test(start_paused = true)]
async fn a_permanently_slower_upstream_gets_a_new_baseline() {
    let mut vegas = warm().await;
    for _ in 0..400 {
        window(&mut vegas, 256, &[(0, CallHealth::Responsive, 80 * MS)]).await;
    }
    assert_eq!(vegas.limit(), 256);
}

#[tokio::test(start_paused = true)]
async fn a_small_ceiling_is_its_own_floor() {
    let mut vegas = VegasLimit::new(3, Instant::now());
    for _ in 0..5 {
        window(&mut vegas, 3, &[(0, CallHealth::TimedOut, 400 * MS)]).await;
        assert_eq!(vegas.limit(), 3);
    }
}
