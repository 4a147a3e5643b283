mod days;
mod sharing;

use std::sync::atomic::{AtomicUsize, Ordering};

use contracts::dashboard::Reason;
use contracts::id::RequestId;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{advance, sleep};
use upstream_clients::Credentials;

use super::*;

static POLICY: ReadPolicy = ReadPolicy {
    name: "board",
    upstream: Some(Upstream::Housekeeping),
    deadline: Duration::from_millis(400),
    fresh: Duration::from_secs(10),
    stale: Duration::from_secs(300),
    is_of_today: false,
};

#[derive(Debug)]
struct NoCredentials;

impl Credentials for NoCredentials {
    fn bearer(&self, _: Upstream) -> Arc<str> {
        "".into()
    }
}

fn tenant(letter: char) -> TenantId {
    format!("tnt_01K0000000000000000000000{letter}").parse().unwrap()
}

fn property() -> PropertyId {
    "ppt_01K0000000000000000000000A".parse().unwrap()
}

fn key(letter: char) -> Key {
    Key::of_property(&POLICY, tenant(letter), property())
}

fn within(milliseconds: u64) -> CallContext {
    CallContext {
        tenant: Some(tenant('A')),
        request_id: "req_01K0000000000000000000000A".parse::<RequestId>().unwrap(),
        traceparent: "".into(),
        credentials: Arc::new(NoCredentials),
        deadline: Instant::now() + Duration::from_millis(milliseconds),
    }
}

/// What the upstream does now.
#[derive(Debug, Clone, Copy)]
enum Behavior {
    Succeeds,
    Fails,
    Refuses,
    Hangs,
    AnswersForAnotherProperty,
}

/// An upstream that takes 20 ms, and counts.
#[derive(Debug)]
struct TestUpstream {
    snapshots: Snapshots,
    behavior: std::sync::Mutex<Behavior>,
    calls: AtomicUsize,
    answered: AtomicUsize,
}

impl TestUpstream {
    fn new() -> Arc<Self> {
        Self::with(|snapshots| snapshots)
    }

    fn with(settings: impl FnOnce(Snapshots) -> Snapshots) -> Arc<Self> {
        let (start, began) = ("2026-11-21T08:00:00Z".parse::<Timestamp>().unwrap(), Instant::now());
        let clock = Clock::from_fn(move || start + began.elapsed());
        Arc::new(Self {
            snapshots: settings(Snapshots::new(clock, TaskTracker::new(), None)),
            behavior: std::sync::Mutex::new(Behavior::Succeeds),
            calls: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
        })
    }

    fn set_behavior(&self, behavior: Behavior) {
        *self.behavior.lock().unwrap() = behavior;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    fn fetch(self: &Arc<Self>) -> impl Fn(CallContext) -> FetchFuture + Send + Sync + use<> {
        let upstream = Arc::clone(self);
        move |context| {
            let upstream = Arc::clone(&upstream);
            Box::pin(async move {
                let number = upstream.calls.fetch_add(1, Ordering::Relaxed) + 1;
                let behavior = *upstream.behavior.lock().unwrap();
                sleep(Duration::from_millis(20)).await;
                let answer = upstream.answer(behavior, number, context.deadline).await;
                upstream.answered.fetch_add(1, Ordering::Relaxed);
                answer
            })
        }
    }

    async fn answer(
        &self,
        behavior: Behavior,
        number: usize,
        until: Instant,
    ) -> Result<Fetched, CallError> {
        let of = match behavior {
            Behavior::Succeeds => property(),
            Behavior::AnswersForAnotherProperty => {
                "ppt_01K0000000000000000000000B".parse().unwrap()
            }
            Behavior::Fails => return Err(CallError::Status { status: 503, problem: None }),
            Behavior::Refuses => return Err(CallError::Status { status: 403, problem: None }),
            Behavior::Hangs => {
                tokio::time::sleep_until(until).await;
                return Err(CallError::Timeout);
            }
        };
        Ok(Fetched::new(of, self.snapshots.clock.now(), &json!({"number": number})))
    }

    async fn read(self: &Arc<Self>, letter: char) -> Result<Reading, ReadError> {
        self.snapshots.read(&POLICY, &key(letter), &within(400), self.fetch()).await
    }

    /// The number of the answer shown, and where it came from.
    async fn shown(self: &Arc<Self>) -> (u64, Source) {
        let reading = self.read('A').await.unwrap();
        (number(&reading), reading.source)
    }
}

fn number(reading: &Reading) -> u64 {
    let part = reading.snapshot.part(0).unwrap();
    serde_json::from_str::<serde_json::Value>(part.get()).unwrap()["number"].as_u64().unwrap()
}

async fn after(seconds: u64) {
    advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_fresh_snapshot_is_not_fetched_again() {
    let upstream = TestUpstream::new();
    assert_eq!(upstream.shown().await, (1, Source::Miss));
    after(7).await;
    assert!(matches!(upstream.shown().await, (1, Source::Hit { .. })));
    after(4).await;
    assert_eq!(upstream.shown().await, (2, Source::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_soon_stale_is_refreshed_in_the_background() {
    let upstream = TestUpstream::new();
    upstream.shown().await;
    after(9).await;
    assert!(matches!(upstream.shown().await, (1, Source::Hit { .. })));
    sleep(Duration::from_millis(50)).await;
    assert!(matches!(upstream.shown().await, (2, Source::Hit { .. })));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_upstream_leaves_a_stale_snapshot_with_its_age() {
    let upstream = TestUpstream::new();
    upstream.shown().await;
    upstream.set_behavior(Behavior::Fails);
    after(60).await;
    let (number, Source::Stale { age, reason }) = upstream.shown().await else {
        panic!("not stale")
    };
    assert_eq!((number, age.as_secs(), reason), (1, 60, Reason::UpstreamError));
    after(250).await;
    assert!(upstream.read('A').await.is_err(), "older than it may be shown");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_replaced_by_a_stale_snapshot() {
    let upstream = TestUpstream::new();
    upstream.shown().await;
    upstream.set_behavior(Behavior::Refuses);
    after(60).await;
    let error = upstream.read('A').await.unwrap_err();
    assert!(matches!(*error, CallError::Status { status: 403, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_stale_snapshot_is_shown_without_waiting_for_a_hanging_upstream() {
    let upstream = TestUpstream::new();
    upstream.shown().await;
    upstream.set_behavior(Behavior::Hangs);
    after(60).await;
    let began = Instant::now();
    assert!(matches!(upstream.shown().await, (1, Source::Stale { .. })));
    assert_eq!(began.elapsed(), MAX_WAIT_WITH_STALE);
}

#[tokio::test(start_paused = true)]
async fn a_response_after_the_stale_wait_is_cached() {
    let upstream = TestUpstream::new();
    upstream.shown().await;
    after(60).await;
    let slow = upstream.fetch();
    let slow = move |context| {
        let answer = slow(context);
        async move {
            sleep(Duration::from_millis(150)).await;
            answer.await
        }
        .boxed()
    };
    let reading = upstream.snapshots.read(&POLICY, &key('A'), &within(400), slow).await.unwrap();
    assert!(matches!(reading.source, Source::Stale { .. }));
    sleep(Duration::from_millis(100)).await;
    assert!(matches!(upstream.shown().await, (2, Source::Hit { .. })));
}

#[tokio::test(start_paused = true)]
async fn without_a_snapshot_a_read_fails_at_its_deadline() {
    let upstream = TestUpstream::new();
    upstream.set_behavior(Behavior::Hangs);
    let began = Instant::now();
    assert!(matches!(*upstream.read('A').await.unwrap_err(), CallError::Timeout));
    assert!(began.elapsed() <= Duration::from_millis(400) + DEADLINE_GRACE);
}

#[tokio::test(start_paused = true)]
async fn without_cache_concurrent_reads_still_share_a_call() {
    let upstream = TestUpstream::with(Snapshots::without_cache);
    assert_eq!(upstream.shown().await, (1, Source::Bypass));
    let (one, other) = futures_util::join!(upstream.shown(), upstream.shown());
    assert_eq!((one, other), ((2, Source::Bypass), (2, Source::Bypass)));
    upstream.set_behavior(Behavior::Fails);
    assert!(upstream.read('A').await.is_err());
}

#[tokio::test(start_paused = true)]
async fn two_hundred_concurrent_reads_share_one_call() {
    let upstream = TestUpstream::new();
    let all = join_all((0..200).map(|_| upstream.read('A'))).await;
    assert!(all.iter().all(|reading| number(reading.as_ref().unwrap()) == 1));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_leader_does_not_cancel_its_followers() {
    let upstream = TestUpstream::new();
    let mut leader = Box::pin(upstream.read('A'));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let mut follower = Box::pin(upstream.read('A'));
    assert!(futures_util::poll!(&mut follower).is_pending());
    drop(leader);
    assert_eq!(number(&follower.await.unwrap()), 1);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_readers_is_dropped() {
    let upstream = TestUpstream::new();
    let mut only = Box::pin(upstream.read('A'));
    assert!(futures_util::poll!(&mut only).is_pending());
    drop(only);
    after(1).await;
    assert_eq!((upstream.calls(), upstream.answered()), (1, 0));
    assert_eq!(upstream.shown().await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_follower_survives_the_leaders_deadline() {
    let upstream = TestUpstream::new();
    let (key, hurried) = (key('A'), within(5));
    let leader = upstream.snapshots.read(&POLICY, &key, &hurried, upstream.fetch());
    let (hurried, follower) = futures_util::join!(leader, upstream.read('A'));
    assert!(matches!(*hurried.unwrap_err(), CallError::Timeout));
    assert_eq!(number(&follower.unwrap()), 2);
}

#[tokio::test(start_paused = true)]
async fn followers_of_a_failed_leader_retry_together() {
    let upstream = TestUpstream::new();
    upstream.set_behavior(Behavior::Hangs);
    let (key, hurried) = (key('A'), within(100));
    let leader = upstream.snapshots.read(&POLICY, &key, &hurried, upstream.fetch());
    let others = join_all((0..200).map(|_| upstream.read('A')));
    let (leader, others) = futures_util::join!(leader, others);
    assert!(leader.is_err() && others.iter().all(Result::is_err));
    assert_eq!(upstream.calls(), 2, "once by the leader, once by all the others");
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_snapshot_is_fetched_again_and_still_shown_as_stale() {
    let upstream = TestUpstream::new();
    upstream.shown().await;
    after(1).await;
    upstream.snapshots.invalidate(tenant('A'), Some(property()), Upstream::Housekeeping);
    after(1).await;
    assert_eq!(upstream.shown().await, (2, Source::Miss));
    after(1).await;
    upstream.snapshots.invalidate(tenant('A'), None, Upstream::Housekeeping);
    upstream.set_behavior(Behavior::Fails);
    assert!(matches!(upstream.shown().await, (2, Source::Stale { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_response_requested_before_an_invalidation_is_not_fresh() {
    let upstream = TestUpstream::new();
    let mut early = Box::pin(upstream.read('A'));
    assert!(futures_util::poll!(&mut early).is_pending());
    advance(Duration::from_millis(1)).await;
    upstream.snapshots.invalidate(tenant('A'), Some(property()), Upstream::Housekeeping);
    advance(Duration::from_millis(1)).await;
    let late = upstream.read('A');
    let (early, late) = futures_util::join!(early, late);
    assert_eq!((number(&early.unwrap()), number(&late.unwrap())), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn another_tenants_invalidation_or_read_has_no_effect() {
    let upstream = TestUpstream::new();
    upstream.shown().await;
    upstream.snapshots.invalidate(tenant('B'), None, Upstream::Housekeeping);
    assert!(matches!(upstream.shown().await, (1, Source::Hit { .. })));
    assert_eq!(number(&upstream.read('B').await.unwrap()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_response_about_another_property_breaks_the_contract() {
    let upstream = TestUpstream::new();
    upstream.set_behavior(Behavior::AnswersForAnotherProperty);
    let error = upstream.read('A').await.unwrap_err();
    assert!(matches!(&*error, CallError::SchemaDrift { path } if path == "propertyId"));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_never_stale_fails_after_an_invalidation() {
    static ADVICE: ReadPolicy = ReadPolicy { name: "advice", stale: Duration::ZERO, ..POLICY };
    let upstream = TestUpstream::new();
    let key = Key::of_property(&ADVICE, tenant('A'), property());
    upstream.snapshots.read(&ADVICE, &key, &within(400), upstream.fetch()).await.unwrap();
    after(1).await;
    upstream.snapshots.invalidate(tenant('A'), None, Upstream::Housekeeping);
    upstream.set_behavior(Behavior::Fails);
    let error =
        upstream.snapshots.read(&ADVICE, &key, &within(400), upstream.fetch()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamError);
}

#[tokio::test(start_paused = true)]
async fn the_isolation_probe_sees_a_key_that_two_tenants_share_and_leaves_nothing_behind() {
    let snapshots = Snapshots::new(Clock::system(), TaskTracker::new(), None);
    let probe = |other| snapshots.probe_memory(tenant('A'), tenant(other));
    assert_eq!(probe('B'), FoundBy { own: true, other: false });
    assert_eq!(
        probe('A'),
        FoundBy { own: true, other: true },
        "the same key, as without the tenant"
    );
    assert_eq!(snapshots.local.len(), 0);
    assert!(snapshots.probe_cache_store(tenant('A'), tenant('B')).await.is_none());
}
