use tokio::time::{Instant, advance};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// An upstream that serves so many calls at once in 20 ms and makes the others wait, under as
/// much load as the limit lets through.
struct Upstream {
    serves: usize,
}

impl Upstream {
    fn latency(&self, in_flight: usize) -> Duration {
        20 * MS * in_flight.max(self.serves) as u32 / self.serves as u32
    }

    async fn loaded(&self, estimate: &mut Estimate, windows: usize) {
        for _ in 0..windows {
            let in_flight = estimate.limit();
            window(estimate, in_flight, &[(0, Verdict::Answers, self.latency(in_flight))]).await;
        }
    }
}

/// One window in which each of these callers made twenty calls that ended so.
async fn window(estimate: &mut Estimate, in_flight: usize, callers: &[(u64, Verdict, Duration)]) {
    estimate.began(in_flight);
    for (number, verdict, took) in callers.repeat(20) {
        estimate.ended(Caller::numbered(number), verdict, took, Instant::now());
    }
    advance(SHORTEST).await;
    let (number, verdict, took) = callers[0];
    estimate.ended(Caller::numbered(number), verdict, took, Instant::now());
}

fn estimate() -> Estimate {
    Estimate::new(256, Instant::now())
}

/// One that has seen the upstream's best.
async fn warm() -> Estimate {
    let mut estimate = estimate();
    window(&mut estimate, 10, &[(0, Verdict::Answers, 20 * MS)]).await;
    estimate
}

#[tokio::test(start_paused = true)]
async fn it_settles_where_calls_take_at_most_about_twice_their_best() {
    for serves in [8, 20, 50, 100] {
        let upstream = Upstream { serves };
        let mut estimate = warm().await;
        upstream.loaded(&mut estimate, 20).await;
        for _ in 0..50 {
            upstream.loaded(&mut estimate, 1).await;
            let times = estimate.limit() as f64 / serves as f64;
            assert!((1.0..=3.0).contains(&times), "{times} times {serves}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_fast_keeps_the_ceiling_however_its_latency_varies() {
    let mut estimate = estimate();
    for took in [MS, 15 * MS, 3 * MS, 19 * MS] {
        window(&mut estimate, 256, &[(0, Verdict::Answers, took)]).await;
        assert_eq!(estimate.limit(), 256);
    }
}

#[tokio::test(start_paused = true)]
async fn slowness_with_most_of_the_limit_free_is_not_of_our_making() {
    let mut estimate = warm().await;
    for _ in 0..10 {
        window(&mut estimate, 100, &[(0, Verdict::Answers, 300 * MS)]).await;
    }
    assert_eq!(estimate.limit(), 256);
}

#[tokio::test(start_paused = true)]
async fn a_hang_takes_it_to_the_floor_within_five_windows_and_recovery_is_as_quick() {
    let mut estimate = warm().await;
    for _ in 0..5 {
        window(&mut estimate, 40, &[(0, Verdict::Late, 400 * MS)]).await;
    }
    assert_eq!(estimate.limit(), FLOOR);
    for _ in 0..5 {
        window(&mut estimate, 2, &[(0, Verdict::Answers, 20 * MS)]).await;
    }
    assert_eq!(estimate.limit(), 256);
}

#[tokio::test(start_paused = true)]
async fn one_tenant_that_hangs_or_is_slow_takes_nothing_from_the_others() {
    for (verdict, took) in [(Verdict::Late, 400 * MS), (Verdict::Answers, 390 * MS)] {
        let mut estimate = warm().await;
        for _ in 0..20 {
            let both = [(1, verdict, took), (2, Verdict::Answers, 20 * MS)];
            window(&mut estimate, 200, &both).await;
        }
        assert_eq!(estimate.limit(), 256);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_and_calls_that_were_given_up_say_nothing() {
    let mut estimate = warm().await;
    for verdict in [Verdict::Fails, Verdict::Nothing] {
        window(&mut estimate, 256, &[(0, verdict, 400 * MS)]).await;
        window(&mut estimate, 256, &[(0, verdict, Duration::ZERO)]).await;
    }
    assert_eq!(estimate.limit(), 256);
    // Nor did they pass for the upstream's best: then 30 ms would be congestion.
    window(&mut estimate, 256, &[(0, Verdict::Answers, 30 * MS)]).await;
    assert_eq!(estimate.limit(), 256);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_stays_slower_is_measured_by_its_new_best() {
    let mut estimate = warm().await;
    for _ in 0..400 {
        window(&mut estimate, 256, &[(0, Verdict::Answers, 80 * MS)]).await;
    }
    assert_eq!(estimate.limit(), 256);
}

#[tokio::test(start_paused = true)]
async fn a_small_ceiling_is_its_own_floor() {
    let mut estimate = Estimate::new(3, Instant::now());
    for _ in 0..5 {
        window(&mut estimate, 3, &[(0, Verdict::Late, 400 * MS)]).await;
        assert_eq!(estimate.limit(), 3);
    }
}
