//! Monthly partitions: created ahead by the service, or late without losing a row.

use std::sync::Arc;

use migrations::Schema;
use migrations::testing::TestDatabase;
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

#[expect(clippy::disallowed_methods, reason = "the connection ends with the test")]
async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("Postgres answers");
    tokio::spawn(connection);
    client
}

async fn sql(client: &Client, sql: &str) -> Result<(), SqlState> {
    client
        .batch_execute(sql)
        .await
        .map_err(|error| error.code().expect("an error of the server").clone())
}

/// A table with monthly partitions, and the statement that inserts a row of a day.
struct MonthlyTable {
    schema: Schema,
    table: &'static str,
    key: &'static str,
    is_append_only: bool,
    before: &'static str,
    /// `{tenant}`, `{id}` and `{day}` are replaced.
    insert: &'static str,
}

const MONTHLY_TABLES: [MonthlyTable; 3] = [
    MonthlyTable {
        schema: Schema::Bff,
        table: "operator_activity",
        key: "occurred_at",
        is_append_only: true,
        before: "",
        insert: "INSERT INTO bff.operator_activity
                     (tenant_id, id, occurred_at, operator_id, device_id, action, outcome, request_id, detail)
                 VALUES ('{tenant}', '{id}', '{day} 12:00Z', 'o', 'd', 'a', 'success', 'r', '{\"n\": 1}')",
    },
    MonthlyTable {
        schema: Schema::Housekeeping,
        table: "housekeeping_tasks",
        key: "created_at",
        is_append_only: false,
        before: "",
        insert: "INSERT INTO housekeeping.housekeeping_tasks
                     (id, tenant_id, property_id, room_id, kind, priority, status, created_at)
                 VALUES ('{id}', '{tenant}', 'p', 'r', 'turnover', 'high', 'pending', '{day} 12:00Z')",
    },
    MonthlyTable {
        schema: Schema::Inventory,
        table: "room_type_inventory_daily",
        key: "stay_date",
        is_append_only: false,
        before: "INSERT INTO inventory.properties (tenant_id, id, time_zone)
                     VALUES ('a', 'p', 'UTC'), ('b', 'p', 'UTC');
                 INSERT INTO inventory.room_types (tenant_id, id, property_id, name)
                     SELECT t, 't' || n, 'p', 'Twin' FROM unnest('{a,b}'::text[]) t, generate_series(0, 999) n",
        insert: "INSERT INTO inventory.room_type_inventory_daily
                     (id, tenant_id, property_id, room_type_id, stay_date, total)
                 VALUES ('{id}', '{tenant}', 'p', 't{id}', '{day}', 3)",
    },
];

impl MonthlyTable {
    async fn database(&self) -> TestDatabase {
        let database = TestDatabase::create(self.schema).await;
        database.run(self.before).await;
        database
    }

    fn name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    fn row(&self, tenant: &str, id: usize, day: &str) -> String {
        let id = id.to_string();
        self.insert.replace("{tenant}", tenant).replace("{id}", &id).replace("{day}", day)
    }

    /// Inserts a row as the service does.
    async fn write(&self, service: &Client, tenant: &str, id: usize, day: &str) {
        let insert = self.row(tenant, id, day);
        let transaction = format!("BEGIN; SET LOCAL app.tenant_id = '{tenant}'; {insert}; COMMIT");
        sql(service, &transaction).await.expect("the row is written");
    }

    fn add_month(&self, day: &str) -> String {
        format!("SELECT {}.add_month('{}', '{day}')", self.schema, self.name())
    }

    /// All rows as text.
    async fn rows(&self, database: &TestDatabase) -> Vec<String> {
        database.rows(&format!("SELECT r::text FROM {} r ORDER BY 1", self.name())).await
    }

    async fn partition_of(&self, database: &TestDatabase, day: &str) -> Vec<String> {
        let (table, key) = (self.name(), self.key);
        let rows = format!(
            "SELECT relname::text FROM {table} r JOIN pg_class ON pg_class.oid = r.tableoid
             WHERE {key} >= '{day} 00:00Z' AND {key} < '{day} 00:00Z'::timestamptz + interval '1 day'"
        );
        database.rows(&rows).await
    }
}

/// Partitions without the policy, triggers or indexes of their parent.
const UNPROTECTED_PARTITIONS_SQL: &str = "
    SELECT p.relname::text
    FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid
    WHERE i.inhparent = '{table}'::regclass
      AND NOT (p.relrowsecurity AND p.relforcerowsecurity
               AND EXISTS (SELECT FROM pg_policy WHERE polrelid = p.oid AND polname = 'tenant_isolation')
               AND (SELECT count(*) FROM pg_trigger WHERE tgrelid = p.oid AND tgname = 'append_only')
                   = (SELECT count(*) FROM pg_trigger WHERE tgrelid = i.inhparent AND tgname = 'append_only')
               AND (SELECT count(*) FROM pg_index WHERE indrelid = p.oid)
                   = (SELECT count(*) FROM pg_index WHERE indrelid = i.inhparent))";

#[tokio::test]
async fn a_month_that_is_made_late_takes_its_rows_out_of_the_default_partition() {
    for monthly in MONTHLY_TABLES {
        let database = monthly.database().await;
        let service = connect(database.url()).await;
        for (id, day) in ["2041-03-31", "2041-04-01", "2041-04-30", "2041-05-01"].iter().enumerate()
        {
            monthly.write(&service, "a", id, day).await;
            monthly.write(&service, "b", id, day).await;
        }
        let before = monthly.rows(&database).await;
        let (default, april) =
            (format!("{}_default", monthly.table), format!("{}_204104", monthly.table));
        assert_eq!(monthly.partition_of(&database, "2041-04-30").await, [&*default, &*default]);

        for _ in 0..2 {
            database.run(&monthly.add_month("2041-04-17")).await;
            assert_eq!(
                monthly.rows(&database).await,
                before,
                "every row is there, once and unchanged"
            );
            for (day, partition) in [
                ("2041-03-31", &default),
                ("2041-04-01", &april),
                ("2041-04-30", &april),
                ("2041-05-01", &default),
            ] {
                let held = monthly.partition_of(&database, day).await;
                assert_eq!(held, [&**partition, &**partition], "{day} of {}", monthly.name());
            }
        }
        let unprotected = UNPROTECTED_PARTITIONS_SQL.replace("{table}", &monthly.name());
        assert_eq!(database.rows(&unprotected).await, Vec::<String>::new(), "{}", monthly.name());
        monthly.write(&service, "a", 9, "2041-04-02").await;
        assert_eq!(monthly.partition_of(&database, "2041-04-02").await, [april]);
    }
}

#[tokio::test]
async fn moved_rows_stay_append_only_and_isolated() {
    for monthly in MONTHLY_TABLES {
        let database = monthly.database().await;
        let (admin, service) = (connect(database.admin_url()).await, connect(database.url()).await);
        monthly.write(&service, "a", 1, "2041-04-01").await;
        monthly.write(&service, "b", 1, "2041-04-01").await;
        monthly.write(&service, "b", 1, "2041-05-01").await;
        database.run(&monthly.add_month("2041-04-01")).await;
        let name = monthly.name();
        for partition in ["", "_204104", "_default"] {
            let direct = sql(&service, &format!("SELECT FROM {name}{partition}")).await;
            assert_eq!(direct.is_ok(), partition.is_empty(), "{name}{partition}");
            if monthly.is_append_only {
                for change in ["UPDATE {} SET tenant_id = 'c'", "DELETE FROM {}"] {
                    let change = change.replace("{}", &format!("{name}{partition}"));
                    assert_eq!(sql(&admin, &change).await.unwrap_err().code(), "0L000", "{change}");
                }
            }
        }
        let begin = "BEGIN; SET LOCAL app.tenant_id = 'a'";
        sql(&service, begin).await.unwrap();
        let seen: i64 =
            service.query_one(&format!("SELECT count(*) FROM {name}"), &[]).await.unwrap().get(0);
        assert_eq!(seen, 1, "{name}: another tenant's rows");
        let foreign = sql(&service, &monthly.row("b", 2, "2041-04-02")).await;
        assert_eq!(foreign, Err(SqlState::INSUFFICIENT_PRIVILEGE), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_lost_when_several_make_a_month_while_it_is_written_to() {
    for monthly in MONTHLY_TABLES {
        let monthly = Arc::new(monthly);
        let database = monthly.database().await;
        let mut tasks = JoinSet::new();
        for writer in 0..4 {
            let (monthly, url) = (Arc::clone(&monthly), database.url().to_owned());
            tasks.spawn(async move {
                let service = connect(&url).await;
                for n in 0..100 {
                    monthly.write(&service, "a", writer * 100 + n, "2041-04-15").await;
                }
            });
        }
        for _ in 0..4 {
            let (monthly, url) = (Arc::clone(&monthly), database.admin_url().to_owned());
            tasks.spawn(async move {
                let admin = connect(&url).await;
                for month in ["2041-03-01", "2041-04-01", "2041-05-01"] {
                    sql(&admin, &monthly.add_month(month)).await.expect("the month is made");
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("nobody fails");
        }
        let held = monthly.partition_of(&database, "2041-04-15").await;
        let april = format!("{}_204104", monthly.table);
        assert_eq!(held.len(), 400, "{}", monthly.name());
        assert!(held.iter().all(|partition| *partition == april), "{}", monthly.name());
    }
}

/// Creates all missing partitions as the service.
async fn make_all(service: &Client, schema: Schema) -> Vec<String> {
    let (mut made, make) = (Vec::new(), format!("SELECT {schema}.make_next_month()"));
    loop {
        let row = service.query_one(&make, &[]).await.expect("the service may call it");
        let Some(partition) = row.get::<_, Option<String>>(0) else { return made };
        made.push(partition);
    }
}

#[tokio::test]
async fn the_service_makes_months_ahead_and_can_make_no_other_table() {
    for monthly in MONTHLY_TABLES {
        let (schema, database) = (monthly.schema, monthly.database().await);
        let service = connect(database.url()).await;
        for forbidden in [
            monthly.add_month("2041-04-01"),
            format!("SELECT {schema}.isolate_by_tenant('{}')", monthly.name()),
            format!("CREATE TABLE {schema}.mine ()"),
            format!("ALTER TABLE {0} DETACH PARTITION {0}_default", monthly.name()),
        ] {
            let refused = sql(&service, &forbidden).await;
            assert_eq!(refused, Err(SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}");
        }
        make_all(&service, schema).await;
        assert_eq!(make_all(&service, schema).await, Vec::<String>::new(), "{schema}: made once");
        let least = if schema == Schema::Inventory { 540 } else { 90 };
        let reached = format!(
            "SELECT relname::text FROM pg_class
             WHERE oid = to_regclass('{}_' || to_char(now() + interval '{least} days', 'YYYYMM'))",
            monthly.name()
        );
        assert_eq!(database.rows(&reached).await.len(), 1, "{schema} reaches {least} days ahead");
        let owned =
            format!("SELECT tablename::text FROM pg_tables WHERE tableowner = '{}'", role(schema));
        assert_eq!(database.rows(&owned).await, Vec::<String>::new());
    }
}

fn role(schema: Schema) -> String {
    format!("melmastoon_test_{schema}")
}

#[tokio::test]
async fn the_service_creates_months_of_existing_rows_and_reports_the_rest() {
    for monthly in MONTHLY_TABLES {
        let (schema, database) = (monthly.schema, monthly.database().await);
        let service = connect(database.url()).await;
        make_all(&service, schema).await;
        monthly.write(&service, "a", 1, "2019-04-15").await;
        monthly.write(&service, "a", 1, "2019-06-15").await;
        monthly.write(&service, "a", 1, "2199-01-01").await;
        let state = format!(
            "SELECT parent || ' ' || default_rows || ' ' || months_ahead FROM {schema}.partition_state()"
        );
        let ahead = if schema == Schema::Inventory { 22 } else { 4 };
        let says = |rows: u32| format!("{} {rows} {ahead}", monthly.table);
        assert_eq!(database.rows(&state).await, [says(3)]);
        let made = make_all(&service, schema).await;
        assert_eq!(made, ["201904", "201906"].map(|month| format!("{}_{month}", monthly.table)));
        assert_eq!(
            database.rows(&state).await,
            [says(1)],
            "a row of a far year stays and is reported"
        );
    }
}

#[tokio::test]
async fn one_instance_creates_months_at_a_time() {
    for monthly in MONTHLY_TABLES {
        let (schema, database) = (monthly.schema, monthly.database().await);
        let service = connect(database.url()).await;
        monthly.write(&service, "a", 1, "2019-04-15").await;
        let lock =
            format!("SELECT pg_advisory_xact_lock(hashtextextended('{schema}.make-months', 0))");
        let other = database.hold(&lock).await;
        assert_eq!(make_all(&service, schema).await, Vec::<String>::new());
        other.end().await;
        assert!(!make_all(&service, schema).await.is_empty());
    }
}
