//! Equal refreshes share one call to iam and its answer, on every instance.

use std::time::Duration;

use contracts::id::{DeviceId, RequestId, SessionId};
use contracts::upstream::Upstream;
use futures_util::future::join_all;
use http::request::Builder;
use serde_json::json;
use tokio::time::timeout;

use crate::tests::fixture::fresh_key;
use crate::tests::iam::Iam;
use crate::tests::refresh::{proof, request};
use crate::tests::test_gateway::{Answer, Key, TestGateway, TestOptions, fresh};

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
        let there = here.another().asking(Upstream::Iam, &url);
        iam.grants(here.token(|_| {}));
        Self { here, there, iam }
    }
}

fn proven(gateway: &TestGateway) -> Builder {
    request(gateway, &proof(gateway, |_| {}))
}

async fn refresh(gateway: &TestGateway, token: &str) -> Answer {
    gateway.send_json(proven(gateway), &json!({"refreshToken": token})).await
}

#[tokio::test]
async fn three_at_once_on_two_instances_get_the_same_pair_and_ask_iam_once() {
    let pair = Pair::open().await;
    pair.iam.takes(Duration::from_millis(150));
    let token = fresh_key();
    let instances = [&pair.here, &pair.there, &pair.here];
    let answers = join_all(instances.map(|gateway| refresh(gateway, &token))).await;
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &answers[0].body));
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(answers[0].body["refreshToken"], "the-next");
    assert_eq!(pair.iam.requests().len(), 1);
}

#[tokio::test]
async fn a_refresh_completes_after_a_disconnect_and_its_repeat_gets_the_tokens() {
    let pair = Pair::open().await;
    pair.iam.takes(Duration::from_millis(150));
    let token = fresh_key();
    let gone = timeout(Duration::from_millis(50), refresh(&pair.here, &token)).await;
    assert!(gone.is_err(), "the client went away before iam answered");
    let granted = pair.here.token(|_| {});
    pair.iam.grants(granted.clone());
    let repeated = refresh(&pair.there, &token).await;
    assert_eq!(repeated.status, 200, "{}", repeated.body);
    assert_ne!(repeated.body["accessToken"], granted, "iam was called twice");
    assert_eq!(refresh(&pair.here, &token).await.body, repeated.body);
    assert_eq!(pair.iam.requests().len(), 1);
}

#[tokio::test]
async fn a_shared_answer_is_not_returned_for_an_ended_session() {
    let pair = Pair::open().await;
    let (gateway, token) = (&pair.here, fresh_key());
    assert_eq!(refresh(gateway, &token).await.status, 200);
    let order = json!({"tenantId": gateway.tenant, "kind": "device", "id": gateway.device, "reason": "lost"});
    let path = "/internal/sessions/revoke";
    assert_eq!(
        gateway.post_internal(path, fresh::<RequestId>().as_str(), &order).await.status,
        200
    );
    for instance in [&pair.here, &pair.there] {
        refresh(instance, &token).await.is_problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    }
    assert_eq!(pair.iam.requests().len(), 1);
}

#[tokio::test]
async fn another_device_or_key_does_not_share_and_each_proof_is_used_once() {
    let pair = Pair::open().await;
    let (gateway, token) = (&pair.here, fresh_key());
    let body = json!({"refreshToken": token});
    let used = proof(gateway, |_| {});
    assert_eq!(gateway.send_json(request(gateway, &used), &body).await.status, 200);
    let replayed = gateway.send_json(request(gateway, &used), &body).await;
    replayed.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    pair.iam.refuses(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    let mut elsewhere = pair.here.another();
    elsewhere.device = fresh::<DeviceId>();
    let mut stolen = pair.there.another();
    stolen.device_key = Key::new();
    let url = pair.iam.url().to_owned();
    for gateway in [elsewhere, stolen].map(|gateway| gateway.asking(Upstream::Iam, &url)) {
        let answer = refresh(&gateway, &token).await;
        answer.is_problem(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    }
    assert_eq!(pair.iam.requests().len(), 3);
    assert_eq!(refresh(&pair.there, &token).await.status, 200);
}

#[tokio::test]
async fn a_refusal_is_shared_by_those_who_wait_and_not_kept_for_later() {
    let pair = Pair::open().await;
    pair.iam.takes(Duration::from_millis(150));
    pair.iam.refuses(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    let token = fresh_key();
    let answers = join_all([&pair.here, &pair.there].map(|gateway| refresh(gateway, &token))).await;
    for answer in answers {
        answer.is_problem(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID");
    }
    assert_eq!(pair.iam.requests().len(), 1);
    pair.iam.grants(pair.here.token(|_| {}));
    assert_eq!(refresh(&pair.there, &token).await.status, 200);
}

#[tokio::test]
async fn a_temporary_failure_is_not_shared() {
    let pair = Pair::open().await;
    let token = fresh_key();
    pair.iam.refuses(500, "MELMASTOON.IAM.INTERNAL");
    refresh(&pair.here, &token).await.is_problem(502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
    let session = fresh::<SessionId>().to_string();
    pair.iam.grants(pair.here.token(|claims| claims.sid = Some(session)));
    assert_eq!(refresh(&pair.there, &token).await.status, 200);
}

#[tokio::test]
async fn the_session_store_holds_no_legible_token_and_forgets_within_thirty_seconds() {
    let pair = Pair::open().await;
    let token = fresh_key();
    let access = pair.here.token(|_| {});
    pair.iam.grants(access.clone());
    assert_eq!(refresh(&pair.here, &token).await.status, 200);
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
    let options =
        TestOptions { redis_url: "redis://127.0.0.1:1/".to_owned(), ..TestOptions::usual() };
    let gateway = TestGateway::build(options).await.asking(Upstream::Iam, &url);
    iam.grants(gateway.token(|_| {}));
    let token = fresh_key();
    for requests in 1..=2 {
        assert_eq!(refresh(&gateway, &token).await.status, 200);
        assert_eq!(iam.requests().len(), requests);
    }
}
