mod days;
mod sharing;

use std::sync::atomic::{AtomicUsize, Ordering};

use contracts::id::RequestId;
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::time::{advance, sleep};
use upstream_clients::Credentials;

use super::*;

static RULE: Rule = Rule {
    name: "board",
    upstream: Some(Upstream::Housekeeping),
    deadline: Duration::from_millis(400),
    fresh: Duration::from_secs(10),
    stale: Duration::from_secs(300),
    is_of_today: false,
};

#[derive(Debug)]
struct Nobody;

impl Credentials for Nobody {
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
    Key::of_property(&RULE, tenant(letter), property())
}

fn within(milliseconds: u64) -> CallContext {
    CallContext {
        tenant: Some(tenant('A')),
        request_id: "req_01K0000000000000000000000A".parse::<RequestId>().unwrap(),
        traceparent: "".into(),
        credentials: Arc::new(Nobody),
        deadline: Instant::now() + Duration::from_millis(milliseconds),
    }
}

/// What the upstream does now.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Answers,
    Fails,
    Refuses,
    Hangs,
    AnswersOfAnother,
}

/// An upstream that takes 20 ms, and counts.
#[derive(Debug)]
struct World {
    snapshots: Snapshots,
    mood: std::sync::Mutex<Mood>,
    asked: AtomicUsize,
    answered: AtomicUsize,
}

impl World {
    fn new() -> Arc<Self> {
        Self::with(|snapshots| snapshots)
    }

    fn with(settings: impl FnOnce(Snapshots) -> Snapshots) -> Arc<Self> {
        let (start, began) = ("2026-11-21T08:00:00Z".parse::<Timestamp>().unwrap(), Instant::now());
        let clock = Clock::from_fn(move || start + began.elapsed());
        Arc::new(Self {
            snapshots: settings(Snapshots::new(clock, TaskTracker::new(), None)),
            mood: std::sync::Mutex::new(Mood::Answers),
            asked: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
        })
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    fn fetch(
        self: &Arc<Self>,
    ) -> impl Fn(CallContext) -> BoxFuture<'static, Result<Fetched, CallError>> + Send + Sync + 'static
    {
        let world = Arc::clone(self);
        move |context| {
            let world = Arc::clone(&world);
            Box::pin(async move {
                let number = world.asked.fetch_add(1, Ordering::Relaxed) + 1;
                let mood = *world.mood.lock().unwrap();
                sleep(Duration::from_millis(20)).await;
                let answer = world.answer(mood, number, context.deadline).await;
                world.answered.fetch_add(1, Ordering::Relaxed);
                answer
            })
        }
    }

    async fn answer(
        &self,
        mood: Mood,
        number: usize,
        until: Instant,
    ) -> Result<Fetched, CallError> {
        let of = match mood {
            Mood::Answers => property(),
            Mood::AnswersOfAnother => "ppt_01K0000000000000000000000B".parse().unwrap(),
            Mood::Fails => return Err(CallError::Status { status: 503, problem: None }),
            Mood::Refuses => return Err(CallError::Status { status: 403, problem: None }),
            Mood::Hangs => {
                tokio::time::sleep_until(until).await;
                return Err(CallError::Timeout);
            }
        };
        Ok(Fetched::new(of, self.snapshots.clock.now(), &json!({"number": number})))
    }

    async fn read(self: &Arc<Self>, letter: char) -> Result<Reading, ReadError> {
        self.snapshots.read(&RULE, &key(letter), &within(400), self.fetch()).await
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
async fn what_is_fresh_is_not_asked_again() {
    let world = World::new();
    assert_eq!(world.shown().await, (1, Source::Miss));
    after(7).await;
    assert!(matches!(world.shown().await, (1, Source::Hit { .. })));
    after(4).await;
    assert_eq!(world.shown().await, (2, Source::Miss));
}

#[tokio::test(start_paused = true)]
async fn what_is_soon_old_is_shown_and_asked_for_behind() {
    let world = World::new();
    world.shown().await;
    after(9).await;
    assert!(matches!(world.shown().await, (1, Source::Hit { .. })));
    sleep(Duration::from_millis(50)).await;
    assert!(matches!(world.shown().await, (2, Source::Hit { .. })));
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_leaves_the_last_answer_with_its_age() {
    let world = World::new();
    world.shown().await;
    world.becomes(Mood::Fails);
    after(60).await;
    let (number, Source::Stale { age, reason }) = world.shown().await else { panic!("not stale") };
    assert_eq!((number, age.as_secs(), reason), (1, 60, Reason::UpstreamError));
    after(250).await;
    assert!(world.read('A').await.is_err(), "older than it may be shown");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_says_no_is_believed() {
    let world = World::new();
    world.shown().await;
    world.becomes(Mood::Refuses);
    after(60).await;
    let error = world.read('A').await.unwrap_err();
    assert!(matches!(*error, CallError::Status { status: 403, .. }));
}

#[tokio::test(start_paused = true)]
async fn who_holds_something_does_not_wait_for_an_upstream_that_hangs() {
    let world = World::new();
    world.shown().await;
    world.becomes(Mood::Hangs);
    after(60).await;
    let began = Instant::now();
    assert!(matches!(world.shown().await, (1, Source::Stale { .. })));
    assert_eq!(began.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_patience_is_kept() {
    let world = World::new();
    world.shown().await;
    after(60).await;
    let slow = world.fetch();
    let slow = move |context| {
        let answer = slow(context);
        async move {
            sleep(Duration::from_millis(150)).await;
            answer.await
        }
    };
    let reading = world.snapshots.read(&RULE, &key('A'), &within(400), slow).await.unwrap();
    assert!(matches!(reading.source, Source::Stale { .. }));
    sleep(Duration::from_millis(100)).await;
    assert!(matches!(world.shown().await, (2, Source::Hit { .. })));
}

#[tokio::test(start_paused = true)]
async fn without_anything_to_show_the_deadline_is_the_end() {
    let world = World::new();
    world.becomes(Mood::Hangs);
    let began = Instant::now();
    assert!(matches!(*world.read('A').await.unwrap_err(), CallError::Timeout));
    assert!(began.elapsed() <= Duration::from_millis(400) + GUARD);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_kept_every_read_asks_and_shares_what_is_under_way() {
    let world = World::with(Snapshots::keeping_nothing);
    assert_eq!(world.shown().await, (1, Source::Bypass));
    let (one, other) = futures_util::join!(world.shown(), world.shown());
    assert_eq!((one, other), ((2, Source::Bypass), (2, Source::Bypass)));
    world.becomes(Mood::Fails);
    assert!(world.read('A').await.is_err());
}

#[tokio::test(start_paused = true)]
async fn two_hundred_at_once_ask_once() {
    let world = World::new();
    let all = join_all((0..200).map(|_| world.read('A'))).await;
    assert!(all.iter().all(|reading| number(reading.as_ref().unwrap()) == 1));
    assert_eq!(world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_goes_away_takes_nothing_from_its_followers() {
    let world = World::new();
    let mut leader = Box::pin(world.read('A'));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let mut follower = Box::pin(world.read('A'));
    assert!(futures_util::poll!(&mut follower).is_pending());
    drop(leader);
    assert_eq!(number(&follower.await.unwrap()), 1);
    assert_eq!(world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_for_which_nobody_waits_is_dropped() {
    let world = World::new();
    let mut only = Box::pin(world.read('A'));
    assert!(futures_util::poll!(&mut only).is_pending());
    drop(only);
    after(1).await;
    assert_eq!((world.asked(), world.answered()), (1, 0));
    assert_eq!(world.shown().await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_follower_does_not_fail_because_its_leaders_time_is_over() {
    let world = World::new();
    let (key, hurried) = (key('A'), within(5));
    let leader = world.snapshots.read(&RULE, &key, &hurried, world.fetch());
    let (hurried, follower) = futures_util::join!(leader, world.read('A'));
    assert!(matches!(*hurried.unwrap_err(), CallError::Timeout));
    assert_eq!(number(&follower.unwrap()), 2);
}

#[tokio::test(start_paused = true)]
async fn those_whose_leader_failed_ask_again_together_and_not_at_the_last_moment() {
    let world = World::new();
    world.becomes(Mood::Hangs);
    let (key, hurried) = (key('A'), within(100));
    let leader = world.snapshots.read(&RULE, &key, &hurried, world.fetch());
    let others = join_all((0..200).map(|_| world.read('A')));
    let (leader, others) = futures_util::join!(leader, others);
    assert!(leader.is_err() && others.iter().all(Result::is_err));
    assert_eq!(world.asked(), 2, "once by the leader, once by all the others");
}

#[tokio::test(start_paused = true)]
async fn what_changed_is_asked_for_again_and_still_there_as_stale() {
    let world = World::new();
    world.shown().await;
    after(1).await;
    world.snapshots.outdate(tenant('A'), Some(property()), Upstream::Housekeeping);
    after(1).await;
    assert_eq!(world.shown().await, (2, Source::Miss));
    after(1).await;
    world.snapshots.outdate(tenant('A'), None, Upstream::Housekeeping);
    world.becomes(Mood::Fails);
    assert!(matches!(world.shown().await, (2, Source::Stale { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_way_when_something_changed_is_not_fresh() {
    let world = World::new();
    let mut early = Box::pin(world.read('A'));
    assert!(futures_util::poll!(&mut early).is_pending());
    advance(Duration::from_millis(1)).await;
    world.snapshots.outdate(tenant('A'), Some(property()), Upstream::Housekeeping);
    advance(Duration::from_millis(1)).await;
    let late = world.read('A');
    let (early, late) = futures_util::join!(early, late);
    assert_eq!((number(&early.unwrap()), number(&late.unwrap())), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn another_tenants_change_or_read_is_nothing_to_us() {
    let world = World::new();
    world.shown().await;
    world.snapshots.outdate(tenant('B'), None, Upstream::Housekeeping);
    assert!(matches!(world.shown().await, (1, Source::Hit { .. })));
    assert_eq!(number(&world.read('B').await.unwrap()), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_another_property_is_drift() {
    let world = World::new();
    world.becomes(Mood::AnswersOfAnother);
    let error = world.read('A').await.unwrap_err();
    assert!(matches!(&*error, CallError::SchemaDrift { path } if path == "propertyId"));
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_shown_old_is_not_shown_after_a_change_that_cannot_be_asked_for() {
    static ADVICE: Rule = Rule { name: "advice", stale: Duration::ZERO, ..RULE };
    let world = World::new();
    let key = Key::of_property(&ADVICE, tenant('A'), property());
    world.snapshots.read(&ADVICE, &key, &within(400), world.fetch()).await.unwrap();
    after(1).await;
    world.snapshots.outdate(tenant('A'), None, Upstream::Housekeeping);
    world.becomes(Mood::Fails);
    let error = world.snapshots.read(&ADVICE, &key, &within(400), world.fetch()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamError);
}
