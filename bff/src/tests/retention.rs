//! The scheduler's job that deletes expired rows.

use migrations::Schema;
use migrations::testing::TestDatabase;
use serde_json::{Value, json};
use service_kit::testing::{prepare_all, statements_in};

use crate::admin::table_maintenance::MAINTENANCE;
use crate::tests::issuer::{EVENTS, FIRST, SCHEDULER};
use crate::tests::test_gateway::{TestGateway, TestResponse};

const PATH: &str = "/internal/jobs/sweep-idempotency";

async fn sweep(gateway: &TestGateway) -> TestResponse {
    gateway.account(SCHEDULER).post(PATH).await
}

/// For each of two tenants: an expired key, a valid one, and one in progress.
const KEYS_SQL: &str = "
    INSERT INTO bff.idempotency
        (tenant_id, operator_id, device_id, method, route, idempotency_key, fingerprint, state, claimed_at,
         lease_expires_at, expires_at, completed_at, response_status, response_headers, response_body)
    SELECT tenant, 'o', 'd', 'POST', '/r', rpad(name, 16, '_'), decode(repeat('00', 32), 'hex'),
           CASE WHEN status IS NULL THEN 'claimed' ELSE 'completed' END, now() - interval '2 days', now(),
           now() + expiry::interval, CASE WHEN status IS NOT NULL THEN now() - interval '1 day' END, status,
           CASE WHEN status IS NOT NULL THEN '{}'::jsonb END, CASE WHEN status IS NOT NULL THEN ''::bytea END
    FROM unnest('{a,b}'::text[]) AS tenant, (VALUES
        ('expired', 200, '-1 second'), ('fresh', 201, '1 hour'), ('claimed', NULL, '-1 day')
    ) AS key (name, status, expiry)";

#[tokio::test]
async fn expired_keys_of_all_tenants_go_and_the_others_stay() {
    let gateway = TestGateway::open().await;
    gateway.database.run(KEYS_SQL).await;
    let response = sweep(&gateway).await.status(200);
    let rows = json!({
        "idempotency": 2, "mfa_attestations": 0, "mfa_attempts": 0, "inbox": 0, "outbox": 0,
        "operator_activity": 0,
    });
    assert_eq!(response.body, json!({"ran": true, "rows": rows, "complete": true}));
    let left =
        "SELECT tenant_id || ' ' || rtrim(idempotency_key, '_') FROM bff.idempotency ORDER BY 1";
    let expected = ["a claimed", "a fresh", "b claimed", "b fresh"];
    assert_eq!(gateway.database.rows(left).await, expected);
    assert_eq!(sweep(&gateway).await.body["rows"]["idempotency"], 0, "a second run finds nothing");
}

#[tokio::test]
async fn only_one_instance_sweeps_at_a_time() {
    let gateway = TestGateway::open().await;
    gateway.database.run(KEYS_SQL).await;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('bff.sweep-idempotency', 0))";
    let sweeping = gateway.database.hold(lock).await;
    let second = sweep(&gateway).await;
    assert_eq!(second.ok::<Value>(), json!({"ran": false}));
    sweeping.end().await;
    assert_eq!(sweep(&gateway).await.body["rows"]["idempotency"], 2);
}

#[tokio::test]
async fn a_lost_database_is_reported_and_only_the_scheduler_may_sweep() {
    let gateway = TestGateway::open().await;
    for account in [EVENTS, FIRST] {
        let response = gateway.account(account).post(PATH).await;
        response.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
    gateway.internal("POST", PATH).await.status(401);
    gateway.database.go_away().await;
    sweep(&gateway).await.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    gateway.database.come_back().await;
    sweep(&gateway).await.status(200);
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let database = TestDatabase::create(Schema::Bff).await;
    prepare_all(database.url(), &MAINTENANCE.statements()).await;
    let statements = statements_in(env!("CARGO_MANIFEST_DIR"));
    assert!(statements.len() > 40, "the statements were not found");
    prepare_all(database.url(), &statements).await;
}
