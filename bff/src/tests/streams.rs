//! One stream per device across all instances, and a limit of opened streams.

use std::time::Duration;

use axum::body::Body;
use contracts::id::DeviceId;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::stream::{Device, NotOpened};
use crate::tests::response::TestResponse;
use crate::tests::test_gateway::{TestGateway, fresh, session_url};

const STREAM: &str = "/api/bff/backoffice/v1/sse/stream";
const SOON: Duration = Duration::from_secs(5);

/// Two instances that follow each other.
async fn two_instances() -> (TestGateway, TestGateway) {
    let here = TestGateway::open().await;
    let there = here.another();
    for gateway in [&here, &there] {
        gateway.follow(&session_url());
    }
    (here, there)
}

/// Text of the next frame; `None` at the end.
pub(crate) async fn next(stream: &mut Body) -> Option<String> {
    let frame = stream.frame().await?.unwrap();
    Some(std::str::from_utf8(frame.data_ref().unwrap()).unwrap().to_owned())
}

/// Reads until the stream contains this.
async fn reads(stream: &mut Body, awaited: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(awaited) {
            text.push_str(&next(stream).await.expect("the stream goes on"));
        }
    };
    let found = timeout(SOON, reading).await;
    assert!(found.is_ok(), "{awaited} did not come: {text}");
    text
}

/// Reads until the stream closes.
pub(crate) async fn rest(mut stream: Body) -> String {
    let mut text = String::new();
    let reading = async {
        while let Some(more) = next(&mut stream).await {
            text.push_str(&more);
        }
    };
    timeout(SOON, reading).await.expect("the stream closes");
    text
}

async fn is_over(stream: &mut Body) {
    assert!(timeout(SOON, stream.frame()).await.expect("the stream closes").is_none());
}

async fn is_open(stream: &mut Body) {
    let more = timeout(Duration::from_millis(200), stream.frame()).await;
    assert!(more.is_err(), "the newest stream says something or ends");
}

#[tokio::test]
async fn a_head_opens_no_stream_and_supersedes_none() {
    let (here, _there) = two_instances().await;
    let mut stream = here.stream().await;
    reads(&mut stream, "event: hello").await;
    for _ in 0..12 {
        let response = here.call("HEAD", STREAM).await.status(200);
        assert_eq!(response.headers["content-type"], "text/event-stream");
    }
    is_open(&mut stream).await;
    assert_eq!(here.state.streams.len(), 1);
}

#[tokio::test]
async fn a_newer_stream_supersedes_the_older_on_the_same_and_on_another_instance() {
    let (here, there) = two_instances().await;
    let mut first = here.stream().await;
    reads(&mut first, "event: hello").await;
    let mut second = here.stream().await;
    reads(&mut second, "event: hello").await;
    reads(&mut first, "event: superseded").await;
    is_over(&mut first).await;
    let mut third = there.stream().await;
    reads(&mut third, "event: hello").await;
    reads(&mut second, "event: superseded").await;
    is_over(&mut second).await;
    // The end of the older ones took nothing from the newest.
    is_open(&mut third).await;
    assert_eq!((here.state.streams.len(), there.state.streams.len()), (0, 1));
    let mut fourth = here.stream().await;
    reads(&mut fourth, "event: hello").await;
    reads(&mut third, "event: superseded").await;
}

#[tokio::test]
async fn of_300_streams_of_a_device_ten_are_opened_and_one_stays() {
    let (here, there) = two_instances().await;
    let send = |number: usize| {
        let gateway = if number.is_multiple_of(2) { &here } else { &there };
        gateway.get(STREAM).response()
    };
    let responses = join_all((0..300).map(send)).await;
    let (opened, refused): (Vec<_>, Vec<_>) =
        responses.into_iter().partition(|response| response.status() == 200);
    assert_eq!((opened.len(), refused.len()), (10, 290));
    for response in refused {
        let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        TestResponse::of(response).await.problem(429, "MELMASTOON.BFF.RATE_LIMITED");
    }
    let ended = join_all(opened.into_iter().map(|response| async {
        let mut stream = response.into_body();
        let all = async { while stream.frame().await.is_some() {} };
        timeout(Duration::from_secs(3), all).await.is_ok()
    }));
    assert_eq!(ended.await.iter().filter(|ended| **ended).count(), 9);
    assert_eq!(here.state.streams.len() + there.state.streams.len(), 1);
}

fn device(gateway: &TestGateway) -> Device {
    Device { tenant: gateway.tenant, device: fresh::<DeviceId>() }
}

#[tokio::test]
async fn a_lost_notification_is_noticed_at_the_next_renewal() {
    let here = TestGateway::open().await;
    let there = here.another();
    let device = device(&here);
    let older = here.state.streams.open(device).await.unwrap();
    let newer = there.state.streams.open(device).await.unwrap();
    // Nobody listens: the older one does not know yet.
    assert!(timeout(Duration::from_millis(50), older.superseded()).await.is_err());
    older.renew().await;
    timeout(SOON, older.superseded()).await.expect("the renewal finds the newer stream");
    newer.renew().await;
    assert!(timeout(Duration::from_millis(50), newer.superseded()).await.is_err());
}

#[tokio::test]
async fn an_older_stream_that_ends_late_leaves_its_successors_lease_alone() {
    let here = TestGateway::open().await;
    let device = device(&here);
    let older = here.state.streams.open(device).await.unwrap();
    let newer = here.state.streams.open(device).await.unwrap();
    older.close().await;
    assert_eq!(here.state.streams.len(), 1);
    let key = format!("bff:stream:{{{}:{}}}", device.tenant, device.device);
    let mut redis = here.state.session_redis.0.clone();
    let held: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await.unwrap();
    assert!(held.is_some(), "the newer stream lost its lease");
    newer.close().await;
    let held: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await.unwrap();
    assert_eq!((held, here.state.streams.len()), (None, 0));
}

#[tokio::test]
async fn the_limit_is_each_devices_own() {
    let here = TestGateway::open().await;
    let (one, other) = (device(&here), device(&here));
    for _ in 0..10 {
        drop(here.state.streams.open(one).await.unwrap());
    }
    let refused = here.state.streams.open(one).await.unwrap_err();
    assert!(matches!(refused, NotOpened::TooMany { wait } if wait > Duration::from_secs(50)));
    assert!(here.state.streams.open(other).await.is_ok());
}
