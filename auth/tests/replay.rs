//! The shared replay store against real Redis servers, each private to its test.
#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use auth::edge::{AdmitOutcome, ReplayStore, SessionClaim, StoredSession};
use auth::replay::{ProofUse, ReplayKey};
use contracts::id::{DeviceId, Id, OperatorId, SessionId, TenantId};
use jiff::Timestamp;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

const SPAN: Duration = Duration::from_secs(72);

/// The `redis-server` that the launcher found or fetched, whatever PATH has.
#[expect(clippy::disallowed_methods, reason = "./check hands the program over by this variable")]
fn redis_server() -> String {
    std::env::var("MELMASTOON_TEST_REDIS_SERVER").expect(
        "Run the tests with ./check, which finds or fetches Redis and sets MELMASTOON_TEST_REDIS_SERVER.",
    )
}

struct Redis {
    child: Child,
    url: String,
}

impl Redis {
    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.to_string();
        let child = Command::new(redis_server())
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--maxmemory-policy"])
            .args(["noeviction", "--dir", env!("CARGO_TARGET_TMPDIR")])
            .stdout(Stdio::null())
            .spawn()
            .expect("the program named by MELMASTOON_TEST_REDIS_SERVER starts");
        let redis = Self { child, url: format!("redis://127.0.0.1:{port}") };
        let up = async {
            while redis.run::<String>(&["PING"]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), up).await.expect("redis-server answers");
        redis
    }

    fn connection(&self) -> ConnectionManager {
        let limit = Some(Duration::from_secs(5));
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(limit)
            .set_response_timeout(limit)
            .set_number_of_retries(0);
        let client = redis::Client::open(self.url.as_str()).unwrap();
        ConnectionManager::new_lazy_with_config(client, config).unwrap()
    }

    /// One more instance of the gateway.
    fn instance(&self) -> ReplayStore {
        ReplayStore::new(Some(self.connection()), SPAN)
            .with_unresponsive_timeout(Duration::from_secs(5))
    }

    async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connection()).await
    }

    /// Leaves no memory for another key.
    async fn fill(&self) {
        self.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
        let refused = self.run::<()>(&["SET", "a", "b"]).await.unwrap_err();
        assert_eq!(refused.code(), Some("OOM"), "{refused}");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn now() -> Timestamp {
    contracts::clock::Clock::system().now()
}

fn proof(jti: &str) -> ProofUse {
    let acceptable_until = now() + Duration::from_secs(61);
    ProofUse { key: ReplayKey::of("thumbprint", jti), acceptable_until }
}

#[tokio::test]
async fn a_proof_consumed_at_one_instance_is_refused_at_the_other_until_it_expires() {
    let redis = Redis::start().await;
    let (one, other) = (redis.instance(), redis.instance());
    assert!(one.first_use(proof("a"), now()).await);
    assert!(!other.first_use(proof("a"), now()).await);
    assert!(!one.first_use(proof("a"), now()).await);
    assert!(other.first_use(proof("b"), now()).await);
    let keys: Vec<Vec<u8>> = redis.run(&["KEYS", "*"]).await.unwrap();
    assert_eq!(keys.len(), 2);
    let mut left = redis::cmd("PTTL");
    let left: i64 = left.arg(&keys[0]).query_async(&mut redis.connection()).await.unwrap();
    assert!((60_000..=62_500).contains(&left), "{left} ms");
}

#[tokio::test]
async fn out_of_memory_the_shared_filter_accepts_no_replay() {
    let redis = Redis::start().await;
    let (one, other) = (redis.instance(), redis.instance());
    assert!(one.first_use(proof("before"), now()).await);
    redis.fill().await;
    assert!(!other.first_use(proof("before"), now()).await, "consumed before Redis was full");
    let mut taken = 0;
    for n in 0..200 {
        let jti = n.to_string();
        taken += usize::from(one.first_use(proof(&jti), now()).await);
        assert!(!other.first_use(proof(&jti), now()).await, "{n}: replayed at another instance");
        assert!(!one.first_use(proof(&jti), now()).await, "{n}: replayed at the same instance");
    }
    assert_eq!(taken, 200, "a filter this empty refuses no fresh proof");
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    let third = redis.instance();
    for n in 0..200 {
        assert!(
            !third.first_use(proof(&n.to_string()), now()).await,
            "{n}: after Redis had memory again"
        );
    }
    assert!(third.first_use(proof("after"), now()).await);
    let filters: Vec<String> = redis.run(&["KEYS", "dpop-filter:*"]).await.unwrap();
    assert!((1..=2).contains(&filters.len()), "{filters:?}");
    let left: i64 = redis.run(&["TTL", &filters[0]]).await.unwrap();
    assert!((70..=150).contains(&left), "a filter ends by itself, not in {left} s");
}

#[tokio::test]
async fn a_late_store_is_waited_for_and_a_replay_is_still_refused() {
    let redis = Redis::start().await;
    let (one, other) = (redis.instance(), redis.instance());
    assert!(one.first_use(proof("a"), now()).await);
    assert!(other.first_use(proof("b"), now()).await);
    redis.run::<()>(&["CLIENT", "PAUSE", "400", "ALL"]).await.unwrap();
    assert!(!other.first_use(proof("a"), now()).await);
}

#[tokio::test]
async fn while_redis_is_down_an_instance_remembers_its_own_proofs() {
    let redis = Redis::start().await;
    let one = redis.instance();
    assert!(one.first_use(proof("a"), now()).await);
    drop(redis);
    assert!(!one.first_use(proof("a"), now()).await, "consumed while Redis was up");
    assert!(one.first_use(proof("b"), now()).await);
    assert!(!one.first_use(proof("b"), now()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_eight_threads_and_two_instances_racing_one_proof_one_wins() {
    let redis = Redis::start().await;
    let instances = [redis.instance(), redis.instance()].map(std::sync::Arc::new);
    for round in 0..50 {
        if round == 25 {
            redis.fill().await;
        }
        let tries = tokio_util::task::TaskTracker::new();
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let store = std::sync::Arc::clone(&instances[n % 2]);
                tries.spawn(async move { store.first_use(proof(&round.to_string()), now()).await })
            })
            .collect();
        let mut wins = 0;
        for task in tasks {
            wins += usize::from(task.await.unwrap());
        }
        assert_eq!(wins, 1, "round {round}");
    }
}

fn id<T: Id>(number: u128) -> T {
    T::from_parts(Timestamp::UNIX_EPOCH, number)
}

/// Of the one desk there is, for a token that names this session.
fn claim(named: Option<SessionId>, operator: u128) -> SessionClaim<'static> {
    SessionClaim {
        tenant: id::<TenantId>(1),
        operator: id::<OperatorId>(operator),
        device: id::<DeviceId>(1),
        thumbprint: "thumbprint",
        named,
        issued_at: now(),
        new_id: id(99),
        details: &[("appVersion", "2.4.0")],
    }
}

fn session(admission: AdmitOutcome) -> StoredSession {
    match admission {
        AdmitOutcome::Admitted(Some(session)) => session,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_is_opened_once_and_a_mismatch_consumes_no_proof() {
    let redis = Redis::start().await;
    let (one, other) = (redis.instance(), redis.instance());
    let own = claim(Some(id(7)), 1);
    let opened = session(one.admit(proof("a"), &own, now()).await);
    assert_eq!((opened.id, opened.is_new), (id(7), true));
    let found = session(other.admit(proof("b"), &own, now()).await);
    assert_eq!(found, StoredSession { is_new: false, ..opened });
    let foreign = claim(Some(id(7)), 2);
    for store in [&one, &one, &other] {
        assert_eq!(store.admit(proof("c"), &foreign, now()).await, AdmitOutcome::Mismatch);
    }
    assert_eq!(one.peek(proof("c"), &foreign, now()).await, AdmitOutcome::Mismatch);
    assert_eq!(session(one.peek(proof("c"), &own, now()).await).id, id(7));
    assert_eq!(session(one.admit(proof("c"), &own, now()).await).id, id(7));
    assert_eq!(other.admit(proof("c"), &own, now()).await, AdmitOutcome::Replayed);
}

#[tokio::test]
async fn out_of_memory_an_unwritable_session_neither_refuses_nor_weakens() {
    let redis = Redis::start().await;
    let (one, other) = (redis.instance(), redis.instance());
    let (kept, new) = (claim(Some(id(7)), 1), claim(Some(id(8)), 2));
    assert!(session(one.admit(proof("before"), &kept, now()).await).is_new);
    redis.fill().await;
    for jti in ["a", "b"] {
        assert_eq!(session(one.admit(proof(jti), &new, now()).await).id, id(8));
        assert_eq!(other.admit(proof(jti), &new, now()).await, AdmitOutcome::Replayed, "{jti}");
    }
    assert!(!session(one.admit(proof("c"), &kept, now()).await).is_new, "it is there still");
    assert_eq!(one.admit(proof("d"), &claim(Some(id(7)), 2), now()).await, AdmitOutcome::Mismatch);
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    assert!(
        session(other.admit(proof("e"), &new, now()).await).is_new,
        "opened after Redis had memory again"
    );
    assert_eq!(other.admit(proof("a"), &new, now()).await, AdmitOutcome::Replayed);
}
