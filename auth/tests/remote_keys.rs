//! Key sets fetched from a server on a real socket. Time is moved, not waited for.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::edge::RemoteKeys;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

const COOLDOWN: Duration = Duration::from_secs(10);
const KEY: &str =
    r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

/// An issuer that counts the requests it receives.
struct Issuer {
    url: String,
    answer: Arc<Mutex<String>>,
    requests: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(kids: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let (answer, requests) =
            (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
        let issuer = Self { url, answer: Arc::clone(&answer), requests: Arc::clone(&requests) };
        issuer.publish(kids);
        TaskTracker::new().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                requests.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                drop(stream.read(&mut request).await);
                let answer = answer.lock().unwrap().clone();
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        issuer
    }

    fn publish(&self, kids: &[&str]) {
        let keys: Vec<_> = kids.iter().map(|kid| format!(r#"{{{KEY},"kid":"{kid}"}}"#)).collect();
        self.respond("200 OK", &format!(r#"{{"keys":[{}]}}"#, keys.join(",")));
    }

    fn respond(&self, status: &str, body: &str) {
        let head =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}", body.len());
        *self.answer.lock().unwrap() = format!("{head}\r\n\r\n{body}");
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn keys(&self) -> Arc<RemoteKeys> {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = reqwest::Client::builder().build().unwrap();
        Arc::new(RemoteKeys::new(self.url.clone(), client, COOLDOWN))
    }
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// So many concurrent callers, each with another key id.
async fn fetch_concurrently(keys: &Arc<RemoteKeys>, callers: usize) {
    let tasks = TaskTracker::new();
    for n in 0..callers {
        let keys = Arc::clone(keys);
        tasks.spawn(async move { keys.holding(&format!("unknown {n}")).await });
    }
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_known_key_needs_no_fetch_and_a_new_one_needs_one() {
    let issuer = Issuer::start(&["a"]).await;
    let keys = issuer.keys();
    assert!(!keys.is_loaded());
    assert!(keys.holding("a").await.get("a").is_some());
    assert!(keys.holding("a").await.get("a").is_some());
    assert_eq!(issuer.requests(), 1);
    issuer.publish(&["a", "b"]);
    assert!(keys.holding("b").await.get("b").is_none(), "the cooldown is not over");
    assert_eq!(issuer.requests(), 1);
    pass(COOLDOWN).await;
    assert!(keys.holding("b").await.get("b").is_some());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn a_hundred_unknown_keys_at_once_are_one_fetch() {
    let issuer = Issuer::start(&["a"]).await;
    let keys = issuer.keys();
    fetch_concurrently(&keys, 100).await;
    assert_eq!(issuer.requests(), 1, "with nothing loaded");
    pass(COOLDOWN).await;
    fetch_concurrently(&keys, 100).await;
    assert_eq!(issuer.requests(), 2, "after the cooldown");
}

#[tokio::test]
async fn a_failing_issuer_gets_no_stampede_and_the_last_good_keys_stay() {
    let issuer = Issuer::start(&["a"]).await;
    issuer.respond("503 Service Unavailable", "");
    let keys = issuer.keys();
    fetch_concurrently(&keys, 100).await;
    assert_eq!((issuer.requests(), keys.is_loaded()), (1, false));
    issuer.publish(&["a"]);
    pass(Duration::from_secs(1)).await;
    let good = keys.holding("a").await;
    assert!(good.get("a").is_some(), "with nothing loaded a second is enough");
    for body in ["", "{}", r#"{"keys":[]}"#, "<html>", &"x".repeat(200_000)] {
        issuer.respond("200 OK", body);
        let before = issuer.requests();
        pass(Duration::from_secs(301)).await;
        assert!(Arc::ptr_eq(&keys.holding("a").await, &good), "{body:.20}");
        assert_eq!(issuer.requests(), before + 1);
    }
}

#[tokio::test]
async fn a_key_the_issuer_withdrew_stops_being_trusted_and_an_unchanged_set_stays_the_same() {
    let issuer = Issuer::start(&["a", "b"]).await;
    let keys = issuer.keys();
    let first = keys.holding("a").await;
    pass(Duration::from_secs(301)).await;
    assert!(Arc::ptr_eq(&keys.holding("a").await, &first), "verified tokens stay verified");
    issuer.publish(&["b"]);
    pass(Duration::from_secs(301)).await;
    assert!(keys.holding("a").await.get("a").is_none());
    assert!(keys.holding("b").await.get("b").is_some());
}
