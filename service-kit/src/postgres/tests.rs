//! Real Postgres behind a proxy that fails the way networks do.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use futures_util::future::join_all;
use migrations::Schema;
use migrations::testing::TestDatabase;
use tokio::time::{Instant, timeout};
use url::Url;

use super::*;
use crate::testing::proxy::Proxy;

/// What a request may take whose connection is silent.
const SILENT_REQUEST_LIMIT: Duration = Duration::from_millis(1500);
/// What a statement may take on a busy machine when nothing is wrong.
const HEALTHY_REQUEST_LIMIT: Duration = Duration::from_millis(900);

fn tenant() -> TenantId {
    "tnt_01K0000000000000000000000A".parse().unwrap()
}

struct ProxiedDatabase {
    server: TestDatabase,
    proxy: Proxy,
    database: Database,
}

impl ProxiedDatabase {
    async fn open(pool: usize) -> Self {
        let server = TestDatabase::create(Schema::Staff).await;
        let mut url = Url::parse(server.url()).unwrap();
        let port = url.port().unwrap_or(5432);
        let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        let database = Database::new(&crate::testing::postgres(url.as_str(), pool)).unwrap();
        Self { server, proxy, database }
    }

    /// With every connection of the pool open.
    async fn warm(pool: usize) -> Self {
        let setup = Self::open(pool).await;
        let all = join_all((0..pool).map(|_| setup.database.connection())).await;
        assert!(all.iter().all(Result::is_ok));
        setup
    }

    /// What a read answers, and how long it took.
    async fn read(&self) -> (Result<i32, StoreError>, Duration) {
        let begun = Instant::now();
        (read_one(&self.database).await, begun.elapsed())
    }

    async fn set_read_only(&self, value: &str) {
        let name = self.server.name();
        let alter = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
        let sql = format!("BEGIN READ WRITE; {alter}; COMMIT");
        self.server.run(&sql).await;
    }
}

async fn read_one(database: &Database) -> Result<i32, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = super::read(&mut connection, tenant()).await?;
    Ok(transaction.query_one("SELECT 1", &[]).await?.get(0))
}

async fn write_one(database: &Database) -> Result<(), StoreError> {
    let mut connection = database.connection().await?;
    let transaction = super::write(&mut connection, tenant()).await?;
    transaction.execute("DELETE FROM staff.departments", &[]).await?;
    transaction.commit().await
}

#[tokio::test]
async fn one_timeout_discards_all_silent_connections() {
    let setup = ProxiedDatabase::warm(4).await;
    setup.proxy.silence_open();
    let (first, took) = setup.read().await;
    assert!(matches!(first, Err(StoreError::NoReply(_))), "{first:?}");
    assert!(took < SILENT_REQUEST_LIMIT, "{took:?}");
    for _ in 0..8 {
        let (next, took) = setup.read().await;
        assert_eq!(next.unwrap(), 1);
        assert!(took < HEALTHY_REQUEST_LIMIT, "{took:?}");
    }
    assert_eq!(setup.proxy.connections(), 5, "a connection without a reply was used again");
}

type Statement<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + 'a>>;

/// Every way to send something to the server.
fn statements(connection: &Connection) -> [(&'static str, Statement<'_>); 8] {
    [
        ("prepare", Box::pin(async { connection.prepare("SELECT 1").await.map(drop) })),
        (
            "prepare_cached",
            Box::pin(async { connection.prepare_cached("SELECT 1").await.map(drop) }),
        ),
        ("query", Box::pin(async { connection.query("SELECT 1", &[]).await.map(drop) })),
        ("query_one", Box::pin(async { connection.query_one("SELECT 1", &[]).await.map(drop) })),
        ("query_opt", Box::pin(async { connection.query_opt("SELECT 1", &[]).await.map(drop) })),
        ("execute", Box::pin(async { connection.execute("SELECT 1", &[]).await.map(drop) })),
        ("batch_execute", Box::pin(async { connection.batch_execute("SELECT 1").await })),
        ("simple_query", Box::pin(async { connection.simple_query("SELECT 1").await.map(drop) })),
    ]
}

#[tokio::test]
async fn every_statement_ends_on_a_silent_connection() {
    let setup = ProxiedDatabase::open(12).await;
    let connections = join_all((0..8).map(|_| setup.database.connection())).await;
    let connections: Vec<Connection> = connections.into_iter().map(Result::unwrap).collect();
    let mut ending = [
        setup.database.connection().await.unwrap(),
        setup.database.connection().await.unwrap(),
        setup.database.connection().await.unwrap(),
    ];
    let [one, other, third] = &mut ending;
    let committed = super::write(one, tenant()).await.unwrap();
    let rolled_back = super::write(other, tenant()).await.unwrap();
    setup.proxy.silence_open();

    let plain = connections.iter().enumerate().map(|(index, connection)| async move {
        let (name, statement) = statements(connection).into_iter().nth(index).unwrap();
        (name, timeout(SILENT_REQUEST_LIMIT, statement).await)
    });
    let (plain, committed, rolled_back, begun) = tokio::join!(
        join_all(plain),
        timeout(SILENT_REQUEST_LIMIT, committed.commit()),
        timeout(SILENT_REQUEST_LIMIT, rolled_back.rollback()),
        timeout(SILENT_REQUEST_LIMIT, async { super::read(third, tenant()).await.map(drop) }),
    );
    let ends = [("commit", committed), ("rollback", rolled_back), ("begin", begun)];
    for (name, outcome) in plain.into_iter().chain(ends) {
        assert!(matches!(outcome, Ok(Err(StoreError::NoReply(_)))), "{name}: {outcome:?}");
    }
    let again = connections[0].batch_execute("SELECT 1").await;
    assert!(matches!(again, Err(StoreError::Unavailable(_))), "{again:?}");
    drop((connections, ending));
    assert_eq!(setup.database.0.pool.status().size, 0, "none went back to the pool");
}

#[tokio::test]
async fn a_silent_connection_is_discarded_also_when_its_request_was_dropped() {
    let setup = ProxiedDatabase::warm(1).await;
    setup.proxy.silence_open();
    let begun = Instant::now();
    assert!(timeout(Duration::from_millis(50), setup.read()).await.is_err());
    assert_eq!(setup.read().await.0.unwrap(), 1);
    assert!(begun.elapsed() < SILENT_REQUEST_LIMIT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_whose_transaction_was_dropped_while_silent_is_discarded() {
    let setup = ProxiedDatabase::warm(1).await;
    let mut connection = setup.database.connection().await.unwrap();
    let transaction = super::write(&mut connection, tenant()).await.unwrap();
    setup.proxy.silence_open();
    drop(transaction);
    drop(connection);
    let (next, took) = setup.read().await;
    assert!(matches!(next, Err(StoreError::NoReply(_))), "{next:?}");
    assert!(took < SILENT_REQUEST_LIMIT, "{took:?}");
    assert_eq!(setup.read().await.0.unwrap(), 1);
}

async fn session(database: &Database) -> i32 {
    let connection = database.connection().await.unwrap();
    connection.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// What the session calls itself; set in a transaction, it is undone with it.
async fn name_of(connection: &Connection) -> String {
    connection.query_one("SHOW application_name", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_dropped_statement_does_not_cost_a_connection_that_replies() {
    let setup = ProxiedDatabase::warm(1).await;
    let before = session(&setup.database).await;
    let sleeping = async {
        let mut connection = setup.database.connection().await.unwrap();
        let transaction = super::write(&mut connection, tenant()).await.unwrap();
        transaction.batch_execute("SET application_name = 'dropped'").await.unwrap();
        transaction.batch_execute("SELECT pg_sleep(0.2)").await.unwrap();
    };
    assert!(timeout(Duration::from_millis(100), sleeping).await.is_err());
    assert_eq!(session(&setup.database).await, before);
    let connection = setup.database.connection().await.unwrap();
    assert_eq!(name_of(&connection).await, "", "rolled back");
}

#[tokio::test]
async fn a_connection_rolls_back_what_was_left_open_before_its_next_statement() {
    let setup = ProxiedDatabase::warm(1).await;
    let mut connection = setup.database.connection().await.unwrap();
    let transaction = super::write(&mut connection, tenant()).await.unwrap();
    transaction.batch_execute("SET application_name = 'one'").await.unwrap();
    drop(transaction);
    let transaction = super::write(&mut connection, tenant()).await.unwrap();
    assert_eq!(name_of(&transaction).await, "");
    drop(transaction);
    // A statement outside of a transaction takes effect at once.
    connection.batch_execute("SET application_name = 'other'").await.unwrap();
    let transaction = super::write(&mut connection, tenant()).await.unwrap();
    assert_eq!(name_of(&transaction).await, "other");
}

#[tokio::test]
async fn a_server_that_accepts_connections_but_never_replies_is_unavailable() {
    let mut setup = ProxiedDatabase::open(2).await;
    let url = setup.server.url().replace(
        &Url::parse(setup.server.url()).unwrap().port().unwrap().to_string(),
        &setup.proxy.address.port().to_string(),
    );
    let config = PostgresConfig { wait_ms: 400, ..crate::testing::postgres(&url, 2) };
    setup.database = Database::new(&config).unwrap();
    setup.proxy.silence_all();
    let (outcome, took) = setup.read().await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    assert!(took < SILENT_REQUEST_LIMIT, "{took:?}");
    setup.proxy.cut();
    setup.proxy.heal();
    let (outcome, _) = setup.read().await;
    assert_eq!(outcome.unwrap(), 1);
}

#[tokio::test]
async fn a_transaction_of_a_silent_client_releases_its_locks() {
    let setup = ProxiedDatabase::warm(1).await;
    let mut connection = setup.database.connection().await.unwrap();
    let transaction = super::write(&mut connection, tenant()).await.unwrap();
    transaction.batch_execute("SELECT pg_advisory_xact_lock(1)").await.unwrap();
    setup.proxy.silence_open();
    drop(transaction);
    drop(connection);
    let waiting = setup.server.hold("SELECT pg_advisory_xact_lock(1)");
    let locked = timeout(limit::IDLE_IN_TRANSACTION_TIMEOUT + SILENT_REQUEST_LIMIT, waiting).await;
    locked.expect("the server still holds the lock").end().await;
}

#[tokio::test]
async fn a_session_that_became_read_only_is_replaced() {
    let setup = ProxiedDatabase::warm(2).await;
    for connection in [setup.database.connection().await, setup.database.connection().await] {
        let connection = connection.unwrap();
        connection.batch_execute("SET default_transaction_read_only = on").await.unwrap();
    }
    let refused = write_one(&setup.database).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly(_)), "{refused:?}");
    assert!(refused.is_unavailable());
    write_one(&setup.database).await.unwrap();
}

#[tokio::test]
async fn readiness_notices_a_read_only_database_and_heals_without_a_restart() {
    let setup = ProxiedDatabase::warm(2).await;
    setup.database.ping().await.unwrap();
    let connection = setup.database.connection().await.unwrap();
    connection.batch_execute("SET default_transaction_read_only = on").await.unwrap();
    drop(connection);
    setup.set_read_only("on").await;
    // The session that is not read-only yet may be asked first.
    let pings = [setup.database.ping().await, setup.database.ping().await];
    assert!(pings.iter().any(Result::is_err), "{pings:?}");
    for _ in 0..2 {
        let ping = setup.database.ping().await;
        assert!(matches!(ping, Err(StoreError::Unavailable(_))), "{ping:?}");
        assert!(write_one(&setup.database).await.unwrap_err().is_unavailable());
    }
    setup.set_read_only("off").await;
    setup.database.ping().await.unwrap();
    write_one(&setup.database).await.unwrap();
}

#[tokio::test]
async fn each_class_of_sqlstate_has_its_status() {
    let setup = ProxiedDatabase::warm(1).await;
    let unavailable =
        ["25006", "08006", "08P01", "57P01", "57P03", "57014", "53100", "53200", "53300", "25P03"];
    let invalid = ["22021", "22P05", "22008", "22007", "22003"];
    let internal = ["42501", "23505", "22012", "42P01"];
    let wanted = unavailable.map(|code| (code, Category::Unavailable)).into_iter();
    let wanted = wanted.chain(invalid.map(|code| (code, Category::InvalidInput)));
    for (code, category) in wanted.chain(internal.map(|code| (code, Category::Internal))) {
        let connection = setup.database.connection().await.unwrap();
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$");
        let error = connection.batch_execute(&raise).await.unwrap_err();
        assert_eq!(error.category(), category, "{code}");
        let status = crate::problem::ApiError::from(error).0.status;
        let expected = match category {
            Category::Unavailable => 503,
            Category::InvalidInput => 400,
            Category::Internal => 500,
        };
        assert_eq!(status, expected, "{code}");
    }
}

#[tokio::test]
async fn values_that_no_column_can_hold_are_the_callers_fault() {
    let setup = ProxiedDatabase::warm(1).await;
    let connection = setup.database.connection().await.unwrap();
    let nul = connection.query("SELECT $1::text", &[&"a\0b"]).await.unwrap_err();
    assert_eq!(nul.category(), Category::InvalidInput, "{nul:?}");
    let json = serde_json::json!({"a": "\0"});
    let nul = connection.query("SELECT $1::jsonb", &[&json]).await.unwrap_err();
    assert_eq!(nul.category(), Category::InvalidInput, "{nul:?}");
    let early: jiff::Timestamp = "-004800-01-01T00:00:00Z".parse().unwrap();
    let early = connection.query("SELECT $1::timestamptz", &[&early]).await.unwrap_err();
    assert_eq!(early.category(), Category::InvalidInput, "{early:?}");
}

#[test]
fn connections_are_made_to_writable_servers_and_watched_by_the_system() {
    let config = crate::testing::postgres("postgres://somebody@127.0.0.1/somewhere", 1);
    let settings = settings(&config).unwrap();
    assert_eq!(settings.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    assert!(settings.get_keepalives());
    let idle = settings.get_keepalives_idle();
    let retries =
        settings.get_keepalives_interval().unwrap() * settings.get_keepalives_retries().unwrap();
    assert!(idle + retries <= Duration::from_secs(15));
    assert_eq!(settings.get_tcp_user_timeout(), Some(&TCP_USER_TIMEOUT));
}
