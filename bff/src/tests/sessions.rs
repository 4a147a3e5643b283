//! Sessions in the session store: opened, read, extended and ended, with one round trip per
//! request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use auth::edge::SessionKeys;
use contracts::id::{DeviceId, OperatorId, SessionId};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::bind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tests::call::TestCall;
use crate::tests::streams;
use crate::tests::test_gateway::{Key, TestGateway, TestOptions, TestResponse, fresh, session_url};

const SESSION: &str = "/api/bff/backoffice/v1/session";
const STREAM: &str = "/api/bff/backoffice/v1/sse/stream";
const MISMATCH: &str = "MELMASTOON.BFF.DEVICE_MISMATCH";

async fn redis_connection() -> MultiplexedConnection {
    let client = redis::Client::open(session_url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn held(gateway: &TestGateway, id: SessionId) -> HashMap<String, String> {
    let key = SessionKeys::of(gateway.tenant).session(id);
    redis::cmd("HGETALL").arg(key).query_async(&mut redis_connection().await).await.unwrap()
}

async fn of_device(gateway: &TestGateway) -> Option<String> {
    let key = SessionKeys::of(gateway.tenant).by_device(gateway.device);
    redis::cmd("GET").arg(key).query_async(&mut redis_connection().await).await.unwrap()
}

/// A request whose token names no session.
fn unnamed(gateway: &TestGateway) -> TestCall<'_> {
    gateway.get(SESSION).claims(|claims| claims.sid = None)
}

fn id(response: TestResponse) -> SessionId {
    response.status(200).body["sessionId"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_first_request_opens_the_token_s_session_and_later_ones_find_it() {
    let gateway = TestGateway::open().await;
    let request = gateway.get(SESSION).header("x-app-version", "2.4.0");
    let request = request.header("x-app-platform", "win32").header("x-network-mode", "not plain!");
    let first: Value = request.await.ok();
    assert_eq!(first["sessionId"], gateway.session.as_str());
    let second: Value = gateway.another().get(SESSION).await.ok();
    assert_eq!(second["sessionId"], gateway.session.as_str());
    assert_eq!(
        (&second["openedAt"], &second["profile"]),
        (&first["openedAt"], &json!("unavailable"))
    );

    let stored = held(&gateway, gateway.session).await;
    assert_eq!(stored["operator"], gateway.operator.as_str());
    assert_eq!(stored["device"], gateway.device.as_str());
    assert_eq!(stored["thumbprint"], gateway.device_key.thumbprint());
    assert_eq!((stored["appVersion"].as_str(), stored["appPlatform"].as_str()), ("2.4.0", "win32"));
    assert!(!stored.contains_key("networkMode"), "{stored:?}");
    assert_eq!(of_device(&gateway).await.as_deref(), Some(gateway.session.as_str()));
    let keys = SessionKeys::of(gateway.tenant);
    for key in [keys.session(gateway.session), keys.by_device(gateway.device)] {
        let left: i64 =
            redis::cmd("TTL").arg(&key).query_async(&mut redis_connection().await).await.unwrap();
        assert!((43_100..=43_200).contains(&left), "{key} lives {left} s more");
    }
}

#[tokio::test]
async fn a_session_in_use_slides_and_takes_a_new_version_in() {
    let (hands, clock) = crate::tests::tenant::Hands::new();
    let gateway = TestGateway::build(TestOptions { clock, ..TestOptions::usual() }).await;
    id(gateway.get(SESSION).await);
    let opened = held(&gateway, gateway.session).await;
    let key = SessionKeys::of(gateway.tenant).session(gateway.session);
    let shorten = redis::cmd("EXPIRE").arg(&key).arg(100).to_owned();
    let _: i64 = shorten.query_async(&mut redis_connection().await).await.unwrap();
    hands.forward(2);
    id(gateway.get(SESSION).await);
    let slid = held(&gateway, gateway.session).await;
    assert_eq!(slid["openedAt"], opened["openedAt"]);
    assert!(slid["lastSeen"] > opened["lastSeen"], "{slid:?}");
    let left: i64 =
        redis::cmd("TTL").arg(&key).query_async(&mut redis_connection().await).await.unwrap();
    assert!(left > 43_000, "{left} s");
    id(gateway.get(SESSION).header("x-app-version", "2.5.0").await);
    assert_eq!(held(&gateway, gateway.session).await["appVersion"], "2.5.0");
}

#[tokio::test]
async fn a_token_that_names_no_session_finds_its_device_s() {
    let gateway = TestGateway::open().await;
    let opened = id(unnamed(&gateway).await);
    assert_ne!(opened, gateway.session);
    let other = gateway.another();
    assert_eq!(id(unnamed(&other).await), opened);
    assert_eq!(held(&gateway, opened).await["operator"], gateway.operator.as_str());
}

#[tokio::test]
async fn the_next_operator_at_a_desk_gets_a_session_of_their_own() {
    let gateway = TestGateway::open().await;
    let before = id(unnamed(&gateway).await);
    let next: OperatorId = fresh();
    let after = id(unnamed(&gateway).claims(|claims| claims.sub = next.to_string()).await);
    assert_ne!(before, after);
    assert_eq!(held(&gateway, after).await["operator"], next.as_str());
    assert!(held(&gateway, before).await.is_empty(), "the one before is over");
}

#[tokio::test]
async fn a_session_of_another_operator_device_or_key_is_refused_and_burns_nothing() {
    let gateway = TestGateway::open().await;
    id(gateway.get(SESSION).await);
    let operator = gateway.token(|claims| claims.sub = fresh::<OperatorId>().to_string());
    let mut elsewhere = gateway.another();
    elsewhere.device = fresh::<DeviceId>();
    let mut rekeyed = gateway.another();
    rekeyed.device_key = Key::new();
    let (device, key) = (elsewhere.token(|_| {}), rekeyed.token(|_| {}));
    for (gateway, token) in [(&gateway, operator), (&elsewhere, device), (&rekeyed, key)] {
        let proof = gateway.proof(SESSION, &token, |_| {});
        for _ in 0..2 {
            let request = gateway.get(SESSION).token(&token).header("dpop", &proof);
            request.await.problem(403, MISMATCH);
        }
    }
}

#[tokio::test]
async fn without_the_session_store_reads_go_on_and_streams_do_not() {
    let gateway = TestGateway::without_session_store().await;
    let token = gateway.token(|_| {});
    let proof = gateway.proof(SESSION, &token, |_| {});
    let request = || gateway.get(SESSION).token(&token).header("dpop", &proof);
    let body: Value = request().await.ok();
    assert_eq!(body["sessionId"], gateway.session.as_str());
    assert_eq!(body["openedAt"], Value::Null);
    request().await.problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    let response = gateway.get(STREAM).await.problem(503, "MELMASTOON.BFF.CACHE_UNAVAILABLE");
    assert!(response.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn revoked_sessions_are_deleted_from_the_session_store() {
    for kind in ["session", "device", "operator", "tenant"] {
        let gateway = TestGateway::open().await;
        id(gateway.get(SESSION).await);
        let mut colleague = gateway.another();
        (colleague.operator, colleague.device) = (fresh(), fresh());
        colleague.session = fresh();
        id(colleague.get(SESSION).await);
        gateway.revoke(kind).await;
        assert!(!held(&gateway, gateway.session).await.contains_key("operator"), "{kind}");
        if kind != "session" {
            assert_eq!(of_device(&gateway).await, None, "{kind}");
        }
        let left = held(&colleague, colleague.session).await;
        assert_eq!(left.is_empty(), kind == "tenant", "{kind}: a colleague's");
    }
}

#[tokio::test]
async fn a_revoked_session_is_over_for_tokens_that_do_not_name_it_until_the_next_sign_in() {
    fn issued(gateway: &TestGateway, seconds_ago: i64) -> TestCall<'_> {
        unnamed(gateway).claims(|claims| claims.iat -= seconds_ago)
    }
    let mut gateway = TestGateway::open().await;
    let before = id(issued(&gateway, 60).await);
    gateway.session = before;
    gateway.revoke("session").await;
    issued(&gateway, 60).await.problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    let after = id(issued(&gateway, -5).await);
    assert_ne!(before, after);
}

#[tokio::test]
async fn no_request_queries_the_session_store_more_than_once() {
    let tap = Tap::open().await;
    // Loads the scripts of streams into the store.
    streams::next(&mut TestGateway::open().await.stream().await).await.unwrap();
    let gateway =
        TestGateway::build(TestOptions { redis_url: tap.url.clone(), ..TestOptions::usual() })
            .await;
    tap.commands.lock().unwrap().clear();
    for requests in 1..=4 {
        id(gateway.get(SESSION).await);
        assert_eq!(tap.commands().len(), requests, "{:?}", tap.commands());
    }
    for requests in 5..=6 {
        id(unnamed(&gateway).await);
        assert_eq!(tap.commands().len(), requests, "{:?}", tap.commands());
    }
    streams::next(&mut gateway.stream().await).await.unwrap();
    // A stream registers itself when it opens, and removes that when it ends.
    let commands = tap.commands();
    assert!((8..=9).contains(&commands.len()), "{commands:?}");
    let expected = ["EVAL", "EVALSHA", "EVALSHA", "EVALSHA", "EVALSHA", "EVALSHA", "EVALSHA"];
    assert_eq!(commands[..7], expected);
}

/// A proxy to the session store that counts commands.
struct Tap {
    url: String,
    commands: Arc<Mutex<Vec<String>>>,
    lifecycle: Lifecycle,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

impl Tap {
    async fn open() -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (before, after) = (session_url(), listener.local_addr().unwrap().port());
        let (head, tail) = before.rsplit_once(':').unwrap();
        let port: String = tail.chars().take_while(char::is_ascii_digit).collect();
        let url = format!("{head}:{after}{}", &tail[port.len()..]);
        let tap = Self { url, commands: Arc::default(), lifecycle: Lifecycle::new() };
        let (commands, lifecycle) = (Arc::clone(&tap.commands), tap.lifecycle.clone());
        tap.lifecycle.spawn_until_stop(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
                lifecycle.spawn_until_stop(pass(client, server, Arc::clone(&commands)));
            }
        });
        tap
    }

    /// Without those that a connection begins with.
    fn commands(&self) -> Vec<String> {
        let beginning = ["AUTH", "HELLO", "CLIENT", "SELECT"];
        let commands = self.commands.lock().unwrap();
        commands.iter().filter(|name| !beginning.contains(&name.as_str())).cloned().collect()
    }
}

async fn pass(client: TcpStream, server: TcpStream, commands: Arc<Mutex<Vec<String>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let (mut unread, mut chunk) = (Vec::new(), vec![0; 65_536]);
        while let Ok(length @ 1..) = from_client.read(&mut chunk).await {
            unread.extend_from_slice(&chunk[..length]);
            while let Some((name, rest)) = command(&unread) {
                commands.lock().unwrap().push(name);
                unread.drain(..rest);
            }
            to_server.write_all(&chunk[..length]).await.unwrap();
        }
    };
    let answering = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::join!(asking, async { drop(answering.await) });
}

/// The name of the first command, and where the next one begins; `None` when it is not whole yet.
fn command(bytes: &[u8]) -> Option<(String, usize)> {
    let number = |at: usize| {
        let end = at + bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let number = std::str::from_utf8(&bytes[at + 1..end]).unwrap().parse::<usize>().unwrap();
        Some((number, end + 2))
    };
    let (words, mut at) = number(0)?;
    let mut name = String::new();
    for word in 0..words {
        let (length, begin) = number(at)?;
        at = begin + length + 2;
        let text = bytes.get(begin..at)?;
        if word == 0 {
            name = String::from_utf8_lossy(&text[..length]).to_ascii_uppercase();
        }
    }
    Some((name, at))
}
