//! A response about "today" expires at the property's midnight.

use std::future::ready;

use super::*;

static TODAY: ReadPolicy = ReadPolicy { name: "today", is_of_today: true, ..POLICY };
const ZONE: &str = "Asia/Tehran";

/// Midnight in Tehran is at 20:30 UTC. The clock begins at `start`.
struct TestProperty {
    snapshots: Snapshots,
    zone: Option<&'static str>,
}

impl TestProperty {
    fn at(start: &str, zone: Option<&'static str>) -> Self {
        let (start, began) = (start.parse::<Timestamp>().unwrap(), Instant::now());
        let clock = Clock::from_fn(move || start + began.elapsed());
        Self { snapshots: Snapshots::new(clock, TaskTracker::new(), None), zone }
    }

    /// The upstream is at work, or answers 503.
    async fn read(&self, key: &Key, works: bool) -> Result<Source, ReadError> {
        let (now, zone) = (self.snapshots.clock.now(), self.zone);
        let answer = move || async move {
            sleep(Duration::from_millis(20)).await;
            let mut answer = Fetched::new(property(), now, &json!({"at": now.to_string()}));
            answer.time_zone = zone.map(Into::into);
            works.then_some(answer).ok_or(CallError::Status { status: 503, problem: None })
        };
        let fetch = move |_| answer().boxed();
        Ok(self.snapshots.read(&TODAY, key, &within(400), fetch).await?.source)
    }
}

fn today() -> Key {
    Key::of_property(&TODAY, tenant('A'), property())
}

#[tokio::test(start_paused = true)]
async fn a_fresh_snapshot_expires_at_midnight() {
    let hotel = TestProperty::at("2026-11-20T20:29:58Z", Some(ZONE));
    assert_eq!(hotel.read(&today(), true).await.unwrap(), Source::Miss);
    after(1).await;
    assert!(matches!(hotel.read(&today(), true).await.unwrap(), Source::Hit { .. }));
    after(1).await;
    assert_eq!(hotel.read(&today(), true).await.unwrap(), Source::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_stale_snapshot_is_not_shown_on_another_day() {
    let hotel = TestProperty::at("2026-11-20T20:28:00Z", Some(ZONE));
    hotel.read(&today(), true).await.unwrap();
    after(100).await;
    assert!(matches!(hotel.read(&today(), false).await.unwrap(), Source::Stale { .. }));
    after(30).await;
    assert!(hotel.read(&today(), false).await.is_err(), "it is of yesterday");
}

#[tokio::test(start_paused = true)]
async fn midnight_elsewhere_changes_nothing() {
    let hotel = TestProperty::at("2026-11-20T23:59:58Z", Some(ZONE));
    hotel.read(&today(), true).await.unwrap();
    after(4).await;
    assert!(matches!(hotel.read(&today(), true).await.unwrap(), Source::Hit { .. }));
}

#[tokio::test(start_paused = true)]
async fn without_a_zone_snapshots_expire_at_every_possible_midnight() {
    let hotel = TestProperty::at("2026-11-20T20:29:58Z", None);
    hotel.read(&today(), true).await.unwrap();
    after(1).await;
    assert!(matches!(hotel.read(&today(), true).await.unwrap(), Source::Hit { .. }));
    after(2).await;
    assert_eq!(hotel.read(&today(), true).await.unwrap(), Source::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_day_that_the_query_names_outlives_midnight() {
    let hotel = TestProperty::at("2026-11-20T20:29:58Z", Some(ZONE));
    let key = today().on("2026-11-21".parse().ok());
    hotel.read(&key, true).await.unwrap();
    after(4).await;
    assert!(matches!(hotel.read(&key, true).await.unwrap(), Source::Hit { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_call_started_before_midnight_is_not_joined_after_it() {
    let hotel = TestProperty::at("2026-11-20T20:29:50Z", Some(ZONE));
    hotel.read(&today(), true).await.unwrap();
    hotel.snapshots.invalidate(tenant('A'), None, Upstream::Housekeeping);
    advance(Duration::from_millis(9_970)).await;
    let key = today();
    let mut early = Box::pin(hotel.read(&key, true));
    assert!(futures_util::poll!(&mut early).is_pending());
    advance(Duration::from_millis(15)).await;
    let context = within(400);
    let late = hotel.snapshots.read(&TODAY, &key, &context, |_| {
        let answer = Fetched::new(property(), midnight(), &json!({"at": "late"}));
        ready(Ok(answer)).boxed()
    });
    let late = late.await.unwrap();
    assert_eq!(late.snapshot.part(0).unwrap().get(), r#"{"at":"late"}"#);
    early.await.unwrap();
}

fn midnight() -> Timestamp {
    "2026-11-20T20:30:00Z".parse().unwrap()
}
