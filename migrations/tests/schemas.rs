//! Checks of every schema in the catalog, and of constraints by statements that violate them.

use migrations::Schema;
use migrations::testing::TestDatabase;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

const TENANT: &str = "tnt_01K0000000000000000000000A";
const OTHER_TENANT: &str = "tnt_01K0000000000000000000000B";

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

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("the statement runs").get(0)
}

/// Every table of the schema, partitions included, but the runner's history.
const TABLES_SQL: &str = "
    SELECT t.relname, t.relrowsecurity, t.relforcerowsecurity,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.oid
                   AND a.attname = 'tenant_id' AND a.attnotnull AND NOT a.attisdropped),
           ARRAY(SELECT p.polcmd::text || pg_get_expr(p.polqual, t.oid)
                        || pg_get_expr(p.polwithcheck, t.oid)
                 FROM pg_policy p WHERE p.polrelid = t.oid AND p.polpermissive),
           EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = t.oid
                   AND i.inhrelid = to_regclass(format('%I.%I', n.nspname, t.relname || '_default'))),
           t.relkind = 'p'
    FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = $1 AND t.relkind IN ('r', 'p') AND t.relname <> 'schema_migrations'
    ORDER BY t.relname";

#[tokio::test]
async fn every_table_is_isolated_by_tenant() {
    for schema in Schema::ALL {
        let database = TestDatabase::create(schema).await;
        let admin = connect(database.admin_url()).await;
        let tables = admin.query(TABLES_SQL, &[&schema.name()]).await.unwrap();
        assert!(tables.len() > 5, "{schema} has too few tables to be real");
        for table in tables {
            let name = format!("{schema}.{}", table.get::<_, &str>(0));
            assert!(table.get::<_, bool>(1), "row-level security is off on {name}");
            assert!(table.get::<_, bool>(2), "row-level security is not forced on {name}");
            assert!(table.get::<_, bool>(3), "{name} has no tenant_id NOT NULL");
            let rule = format!("(tenant_id = {schema}.current_tenant_id())");
            assert_eq!(table.get::<_, Vec<String>>(4), [format!("*{rule}{rule}")], "{name}");
            if table.get::<_, bool>(6) {
                assert!(table.get::<_, bool>(5), "{name} has no default partition");
            }
        }
    }
}

/// Whether the role has any right that bypasses row-level security.
const EXCESS_RIGHTS_SQL: &str = "
    SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb
           OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)
           OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid)
           OR has_schema_privilege(current_schema(), 'CREATE')
           OR has_schema_privilege('public', 'CREATE')
           OR has_database_privilege(current_database(), 'CREATE')
    FROM pg_roles r WHERE rolname = current_user";

#[tokio::test]
async fn the_service_cannot_bypass_row_level_security() {
    for schema in Schema::ALL {
        let database = TestDatabase::create(schema).await;
        let service = connect(database.url()).await;
        let powers: bool = service.query_one(EXCESS_RIGHTS_SQL, &[]).await.unwrap().get(0);
        assert!(!powers, "the role of {schema} can do too much");
        let off = format!("SET row_security = off; SELECT FROM {schema}.outbox");
        assert_eq!(sql(&service, &off).await, Err(SqlState::INSUFFICIENT_PRIVILEGE));
        let history = format!("SELECT FROM {schema}.schema_migrations");
        assert_eq!(sql(&service, &history).await, Err(SqlState::INSUFFICIENT_PRIVILEGE));
    }
}

fn inbox_row(schema: Schema, tenant: &str) -> String {
    format!(
        "INSERT INTO {schema}.inbox (tenant_id, event_type, event_id, received_at)
         VALUES ('{tenant}', 'a', 'b', now())"
    )
}

#[tokio::test]
async fn a_transaction_sees_and_writes_its_own_tenant_only() {
    for schema in Schema::ALL {
        let database = TestDatabase::create(schema).await;
        let (admin, service) = (connect(database.admin_url()).await, connect(database.url()).await);
        for tenant in [TENANT, OTHER_TENANT, ""] {
            sql(&admin, &inbox_row(schema, tenant)).await.unwrap();
        }
        let rows = format!("SELECT count(*) FROM {schema}.inbox");
        assert_eq!(count(&service, &rows).await, 0, "rows without a tenant in {schema}");

        let begin = format!("BEGIN; SET LOCAL app.tenant_id = '{TENANT}'");
        sql(&service, &begin).await.unwrap();
        assert_eq!(count(&service, &rows).await, 1);
        let foreign = sql(&service, &inbox_row(schema, OTHER_TENANT)).await;
        assert_eq!(foreign, Err(SqlState::INSUFFICIENT_PRIVILEGE));
        sql(&service, "ROLLBACK").await.unwrap();

        // The setting is '' now, not unset, and there is a row of the tenant ''.
        assert_eq!(count(&service, &rows).await, 0, "rows of nobody in {schema}");
    }
}

#[tokio::test]
async fn a_partition_cannot_be_queried_directly() {
    let database = TestDatabase::create(Schema::Inventory).await;
    let service = connect(database.url()).await;
    let direct = "SELECT FROM inventory.room_type_inventory_daily_default";
    assert_eq!(sql(&service, direct).await, Err(SqlState::INSUFFICIENT_PRIVILEGE));
}

const APPEND_ONLY: [(Schema, &str); 10] = [
    (Schema::Bff, "revocations"),
    (Schema::Bff, "tenant_standings"),
    (Schema::Bff, "admin_audit"),
    (Schema::Bff, "edge_rule_requests"),
    (Schema::Bff, "edge_rules"),
    (Schema::Bff, "operator_activity"),
    (Schema::Bff, "lock_action_proxy_audit"),
    (Schema::Housekeeping, "room_status_audit"),
    (Schema::Staff, "clock_entries"),
    (Schema::Staff, "audit_events"),
];

#[tokio::test]
async fn audit_tables_are_append_only_by_trigger_and_by_right() {
    for (schema, table) in APPEND_ONLY {
        let database = TestDatabase::create(schema).await;
        let (admin, service) = (connect(database.admin_url()).await, connect(database.url()).await);
        let truncate = format!("TRUNCATE {schema}.{table} CASCADE");
        let refused = sql(&admin, &truncate).await.unwrap_err();
        assert_eq!(refused.code(), "0L000", "{schema}.{table}");
        let change = format!("UPDATE {schema}.{table} SET tenant_id = 'x'");
        assert_eq!(sql(&service, &change).await, Err(SqlState::INSUFFICIENT_PRIVILEGE));
        let delete = format!("DELETE FROM {schema}.{table}");
        assert_eq!(sql(&service, &delete).await, Err(SqlState::INSUFFICIENT_PRIVILEGE));
    }
}

const STAFF_ROWS_SQL: &str = "
    INSERT INTO staff.departments (tenant_id, id, property_id, name) VALUES ('t', 'dpt', 'ppt', 'Desk');
    INSERT INTO staff.positions (tenant_id, id, department_id, name) VALUES ('t', 'pos', 'dpt', 'Clerk');
    INSERT INTO staff.staff (tenant_id, id, position_id, display_name) VALUES ('t', 'stf', 'pos', 'Ann');
    INSERT INTO staff.shifts (tenant_id, id, property_id, position_id, starts_at, ends_at) VALUES
        ('t', 'early', 'ppt', 'pos', '2026-11-21 06:00Z', '2026-11-21 14:00Z'),
        ('t', 'late', 'ppt', 'pos', '2026-11-21 14:00Z', '2026-11-21 22:00Z');
    INSERT INTO staff.shift_assignments (tenant_id, id, shift_id, staff_id, kind, starts_at, ends_at)
    SELECT 't', 'as-' || id, id, 'stf', 'primary', starts_at, ends_at FROM staff.shifts;
    INSERT INTO staff.clock_entries (tenant_id, id, staff_id, property_id, direction, punched_at)
    VALUES ('t', 'clk', 'stf', 'ppt', 'in', '2026-11-21 06:00Z')";

#[tokio::test]
async fn nobody_is_the_primary_of_two_shifts_at_once() {
    let database = TestDatabase::create(Schema::Staff).await;
    let admin = connect(database.admin_url()).await;
    sql(&admin, STAFF_ROWS_SQL).await.unwrap();
    let overlap = "UPDATE staff.shifts SET starts_at = '2026-11-21 13:00Z' WHERE id = 'late'";
    assert_eq!(sql(&admin, overlap).await, Err(SqlState::EXCLUSION_VIOLATION));
    let moved = "UPDATE staff.shifts SET ends_at = '2026-11-21 23:00Z' WHERE id = 'late'";
    sql(&admin, moved).await.unwrap();
    let same = "SELECT count(*) FROM staff.shifts s JOIN staff.shift_assignments a
                ON a.shift_id = s.id AND a.ends_at = s.ends_at";
    assert_eq!(count(&admin, same).await, 2);
}

#[tokio::test]
async fn a_punch_is_never_rewritten() {
    let database = TestDatabase::create(Schema::Staff).await;
    let admin = connect(database.admin_url()).await;
    sql(&admin, STAFF_ROWS_SQL).await.unwrap();
    for change in
        ["UPDATE staff.clock_entries SET direction = 'out'", "DELETE FROM staff.clock_entries"]
    {
        assert_eq!(sql(&admin, change).await.unwrap_err().code(), "0L000");
    }
}

const ROOM_ROWS_SQL: &str = "
    INSERT INTO inventory.properties (tenant_id, id, time_zone) VALUES ('t', 'ppt', 'Asia/Kabul');
    INSERT INTO inventory.room_types (tenant_id, id, property_id, name) VALUES ('t', 'rty', 'ppt', 'Twin');
    INSERT INTO inventory.rooms (tenant_id, id, property_id, room_type_id, number)
    VALUES ('t', 'rom', 'ppt', 'rty', '101')";

fn stay(id: &str, check_in: &str, check_out: &str, status: &str) -> String {
    format!(
        "INSERT INTO inventory.room_allocations
             (tenant_id, id, property_id, room_type_id, room_id, check_in, check_out, status)
         VALUES ('t', '{id}', 'ppt', 'rty', 'rom', '{check_in}', '{check_out}', '{status}')"
    )
}

#[tokio::test]
async fn a_room_is_never_given_to_two_live_stays_of_a_night() {
    let database = TestDatabase::create(Schema::Inventory).await;
    let admin = connect(database.admin_url()).await;
    sql(&admin, ROOM_ROWS_SQL).await.unwrap();
    sql(&admin, &stay("a", "2026-11-21", "2026-11-23", "confirmed")).await.unwrap();
    sql(&admin, &stay("b", "2026-11-23", "2026-11-24", "confirmed")).await.unwrap();
    sql(&admin, &stay("c", "2026-11-22", "2026-11-24", "released")).await.unwrap();
    let twice = sql(&admin, &stay("d", "2026-11-22", "2026-11-23", "confirmed")).await;
    assert_eq!(twice, Err(SqlState::EXCLUSION_VIOLATION));
}

#[tokio::test]
async fn a_night_is_never_sold_beyond_the_cap() {
    let database = TestDatabase::create(Schema::Inventory).await;
    let admin = connect(database.admin_url()).await;
    sql(&admin, ROOM_ROWS_SQL).await.unwrap();
    let night = |date: &str| {
        format!(
            "INSERT INTO inventory.room_type_inventory_daily
                 (id, tenant_id, property_id, room_type_id, stay_date, total, committed, overbooking_cap)
             VALUES ('rti', 't', 'ppt', 'rty', '{date}', 3, 3, 1)"
        )
    };
    // One in a month's partition or the default one, one far outside.
    for date in ["2026-11-21", "2199-01-01"] {
        sql(&admin, &night(date)).await.unwrap();
    }
    sql(&admin, "UPDATE inventory.room_type_inventory_daily SET held = 1").await.unwrap();
    let beyond =
        sql(&admin, "UPDATE inventory.room_type_inventory_daily SET oos_blocked = 1").await;
    assert_eq!(beyond, Err(SqlState::CHECK_VIOLATION));
    let negative = sql(&admin, "UPDATE inventory.room_type_inventory_daily SET held = -1").await;
    assert_eq!(negative, Err(SqlState::CHECK_VIOLATION));
}

const INSERT_REVOCATION_SQL: &str = "
    INSERT INTO bff.revocations (tenant_id, kind, target_id, revoked_at, reason, cause, recorded_at)
    VALUES ('t', 'device', 'd', now(), 'lost', 'c', now()) ON CONFLICT DO NOTHING";

const INSERT_TENANT_STATUS_SQL: &str = "
    INSERT INTO bff.tenant_standings (tenant_id, suspended, stated_at, reason, cause, recorded_at)
    VALUES ('t', true, now(), 'unpaid', 'd', now()) ON CONFLICT DO NOTHING";

/// Table, insert statement, and the function that reads new rows of all tenants.
const FOLLOWED_TABLES: [(&str, &str, &str); 2] = [
    (
        "bff.revocations",
        INSERT_REVOCATION_SQL,
        "bff.revocations_after(0, now() - interval '1 hour')",
    ),
    ("bff.tenant_standings", INSERT_TENANT_STATUS_SQL, "bff.tenant_standings_after(0)"),
];

#[tokio::test]
async fn rows_that_instances_poll_are_numbered_in_commit_order() {
    for (table, insert, system) in FOLLOWED_TABLES {
        let database = TestDatabase::create(Schema::Bff).await;
        let (first, second) = (connect(database.url()).await, connect(database.url()).await);
        for client in [&first, &second] {
            sql(client, "BEGIN; SET LOCAL app.tenant_id = 't'").await.unwrap();
        }
        sql(&first, insert).await.unwrap();
        sql(&second, "SET LOCAL lock_timeout = '50ms'").await.unwrap();
        let other = insert.replace("'d'", "'e'");
        assert_eq!(sql(&second, &other).await, Err(SqlState::LOCK_NOT_AVAILABLE), "{table}");
        sql(&first, insert).await.unwrap();
        sql(&first, "COMMIT").await.unwrap();
        let seen = count(&first, &format!("SELECT count(*) FROM {system}")).await;
        assert_eq!(seen, 1, "{table}: the same cause is one row, seen without a tenant");
        assert_eq!(count(&first, &format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}

const PLATFORM_TENANT: &str = "tnt_00000000000000000000000000";

fn edge_rules(approved_by: &str, approved_at: &str, expires_at: &str) -> String {
    format!(
        "INSERT INTO bff.edge_rules
             (tenant_id, request_id, requested_by, requested_subject, expires_at,
              approved_by, approved_subject, approved_at)
         VALUES ('{PLATFORM_TENANT}', 'r', 'ann', 'ann', '{expires_at}', '{approved_by}', '{approved_by}', '{approved_at}')"
    )
}

#[tokio::test]
async fn edge_rules_take_two_people_and_no_more_than_their_time() {
    let database = TestDatabase::create(Schema::Bff).await;
    let admin = connect(database.admin_url()).await;
    let request = |tenant: &str| {
        format!(
            "INSERT INTO bff.edge_rule_requests
                 (tenant_id, id, rules, reason, requested_by, requested_subject, requested_at, expires_at)
             VALUES ('{tenant}', 'r', '', 'why', 'ann', 'ann', '2026-11-21 10:00Z', '2026-11-21 10:10Z')"
        )
    };
    assert_eq!(sql(&admin, &request(TENANT)).await, Err(SqlState::CHECK_VIOLATION), "no hotel's");
    sql(&admin, &request(PLATFORM_TENANT)).await.unwrap();
    let (in_time, end) = ("2026-11-21 10:05Z", "2026-11-21 10:10Z");
    let alone = sql(&admin, &edge_rules("ann", in_time, end)).await;
    assert_eq!(alone, Err(SqlState::CHECK_VIOLATION));
    let late = sql(&admin, &edge_rules("bob", end, end)).await;
    assert_eq!(late, Err(SqlState::CHECK_VIOLATION));
    let longer = sql(&admin, &edge_rules("bob", end, "2026-11-21 10:20Z")).await;
    assert_eq!(longer, Err(SqlState::FOREIGN_KEY_VIOLATION));
    sql(&admin, &edge_rules("bob", in_time, end)).await.unwrap();
    let twice = sql(&admin, &edge_rules("eve", in_time, end)).await;
    assert_eq!(twice, Err(SqlState::UNIQUE_VIOLATION));
}

#[tokio::test]
async fn a_cursor_is_whole_and_only_a_cursor_diverges() {
    let database = TestDatabase::create(Schema::Bff).await;
    let admin = connect(database.admin_url()).await;
    let device = format!(
        "INSERT INTO bff.device_sync_status (tenant_id, id, device_id, operator_id, last_heartbeat_at)
         VALUES ('{TENANT}', 'd', 'd', 'o', now())"
    );
    sql(&admin, &device).await.unwrap();
    let set = |what: &str| format!("UPDATE bff.device_sync_status SET {what}");
    for wrong in [
        "cursor_diverged_at = now()",
        "cursor_version = 1",
        "cursor_version = 1, sync_cursor_at = now()",
        "sync_cursor_at = now()",
        "cursor_version = -1, sync_cursor_at = now(), cursor_noted_at = now()",
    ] {
        let refused = sql(&admin, &set(wrong)).await;
        assert_eq!(refused, Err(SqlState::CHECK_VIOLATION), "{wrong}");
    }
    let whole = "cursor_version = 1, sync_cursor_at = now(), cursor_noted_at = now()";
    sql(&admin, &set(whole)).await.unwrap();
    sql(&admin, &set("cursor_diverged_at = now()")).await.unwrap();
}
