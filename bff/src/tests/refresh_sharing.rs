//! Equal refreshes share one call to iam and its response, on every instance.

use std::time::Duration;

use contracts::id::{DeviceId, SessionId};
use contracts::upstream::Upstream;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::tests::fixture::fresh_key;
use crate::tests::iam::Iam;
use crate::tests::refresh::{proof, refresh_with};
use crate::tests::test_gateway::{Key, TestGateway, fresh};

/// Two instances with the same iam.
struct Pair {
    here: TestGateway,
    there: TestGateway,
    iam: Iam,
}

impl Pair {
    async fn open() -> Self {
        let (iam, url) = Iam::open().await;
        let here = TestGateway::open().await.asking(Upstream::Iam, &url);
        let there = here.another();
        iam.grants(here.token(|_| {}));
        Self { here, there, iam }
    }
}

#[tokio::test]
async fn three_at_once_on_two_instances_get_the_same_pair_and_ask_iam_once() {
    let pair = Pair::open().await;
    pair.iam.takes(Duration::from_millis(150));
    let token = fresh_key();
    let instances = [&pair.here, &pair.there, &pair.here];
    let responses =
        join_all(instances.map(|gateway| refresh_with(gateway, &token).into_future())).await;
    for response in &responses {
        assert_eq!(response.status, 200, "{}", response.body);
        // Not `expiresIn`, which is counted from each response.
        for token in ["accessToken", "refreshToken"] {
            assert_eq!(response.body[token], responses[0].body[token]);
        }
        assert_eq!(response.headers["cache-control"], "no-store");
    }
    assert_eq!(responses[0].body["refreshToken"], "the-next");
    assert_eq!(pair.iam.requests().len(), 1);
}

#[tokio::test]
async fn a_refresh_completes_after_a_disconnect_and_its_repeat_gets_the_tokens() {
    let pair = Pair::open().await;
    pair.iam.takes(Duration::from_millis(150));
    let token = fresh_key();
    let gone = timeout(Duration::from_millis(50), refresh_with(&pair.here, &token)).await;
    assert!(gone.is_err(), "the client went away before iam answered");
    let granted = pair.here.token(|_| {});
    pair.iam.grants(granted.clone());
    let repeated = refresh_with(&pair.there, &token).await.status(200);
    assert_ne!(repeated.body["accessToken"], granted, "iam was called twice");
    assert_eq!(refresh_with(&pair.here, &token).await.body, repeated.body);
    assert_eq!(pair.iam.requests().len(), 1);
}

#[tokio::test]
async fn a_shared_answer_is_not_returned_for_an_ended_session() {
    let pair = Pair::open().await;
    let (gateway, token) = (&pair.here, fresh_key());
    refresh_with(gateway, &token).await.status(200);
    gateway.revoke("device").await;
    for instance in [&pair.here, &pair.there] {
        refresh_with(instance, &token).await.problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    }
    assert_eq!(pair.iam.requests().len(), 1);
}

#[tokio::test]
async fn another_device_or_key_does_not_share_and_each_proof_is_used_once() {
    let pair = Pair::open().await;
    let (gateway, token) = (&pair.here, fresh_key());
    let used = proof(gateway);
    let refresh = || refresh_with(gateway, &token).header("dpop", &used);
    refresh().await.status(200);
    refresh().await.problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    pair.iam.refuses(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    let mut elsewhere = pair.here.another();
    elsewhere.device = fresh::<DeviceId>();
    let mut stolen = pair.there.another();
    stolen.device_key = Key::new();
    for gateway in [elsewhere, stolen] {
        refresh_with(&gateway, &token).await.problem(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    }
    assert_eq!(pair.iam.requests().len(), 3);
    refresh_with(&pair.there, &token).await.status(200);
}

#[tokio::test]
async fn a_refusal_is_shared_by_those_who_wait_and_not_kept_for_later() {
    let pair = Pair::open().await;
    pair.iam.takes(Duration::from_millis(150));
    pair.iam.refuses(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    let token = fresh_key();
    let responses = join_all(
        [&pair.here, &pair.there].map(|gateway| refresh_with(gateway, &token).into_future()),
    )
    .await;
    for response in responses {
        response.problem(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    }
    assert_eq!(pair.iam.requests().len(), 1);
    pair.iam.grants(pair.here.token(|_| {}));
    refresh_with(&pair.there, &token).await.status(200);
}

#[tokio::test]
async fn a_temporary_failure_is_not_shared() {
    let pair = Pair::open().await;
    let token = fresh_key();
    pair.iam.refuses(500, "MELMASTOON.IAM.INTERNAL");
    refresh_with(&pair.here, &token).await.problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    let session = fresh::<SessionId>().to_string();
    pair.iam.grants(pair.here.token(|claims| claims.sid = Some(session)));
    refresh_with(&pair.there, &token).await.status(200);
}

#[tokio::test]
async fn the_session_store_holds_no_legible_token_and_forgets_within_thirty_seconds() {
    let pair = Pair::open().await;
    let token = fresh_key();
    let access = pair.here.token(|_| {});
    pair.iam.grants(access.clone());
    refresh_with(&pair.here, &token).await.status(200);
    let mut redis = pair.here.state.session_redis.0.clone();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("bff:refresh:*").query_async(&mut redis).await.unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        let (value, left): (Option<Vec<u8>>, i64) = redis::pipe()
            .cmd("GET")
            .arg(&key)
            .cmd("PTTL")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .unwrap();
        let text =
            String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned() + &key;
        for secret in [token.as_str(), &access, "the-next", "refresh_token"] {
            assert!(!text.contains(secret), "{key} tells a token");
        }
        assert!(left <= 30_000 && left != -1, "{left}");
    }
}

#[tokio::test]
async fn without_the_session_store_every_refresh_asks_iam_itself() {
    let (iam, url) = Iam::open().await;
    let gateway = TestGateway::without_session_store().await.asking(Upstream::Iam, &url);
    iam.grants(gateway.token(|_| {}));
    let token = fresh_key();
    for requests in 1..=2 {
        refresh_with(&gateway, &token).await.status(200);
        assert_eq!(iam.requests().len(), requests);
    }
}
