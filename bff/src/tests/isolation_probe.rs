//! The nightly isolation probe: clean on an isolated gateway, a leak as soon as one store shows
//! another tenant's rows.

use std::collections::BTreeSet;

use metrics_exporter_prometheus::PrometheusBuilder;
use migrations::Schema;
use migrations::testing::TestDatabase;
use serde_json::{Value, json};
use service_kit::background::BackgroundTask;

use crate::admin::isolation_probe::samples::SAMPLES;
use crate::admin::isolation_probe::{IsolationProbe, Outcome};
use crate::tests::issuer::{EVENTS, FIRST, SCHEDULER};
use crate::tests::test_gateway::{TestGateway, TestResponse};

const PATH: &str = "/internal/jobs/probe-tenant-isolation";

async fn probe(gateway: &TestGateway) -> TestResponse {
    gateway.account(SCHEDULER).post(PATH).await
}

/// Findings that are not clean.
fn bad(response: &TestResponse) -> Vec<(String, String)> {
    let stores = response.body["stores"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    stores
        .iter()
        .filter(|store| store["outcome"] != "clean")
        .map(|store| (text(&store["store"]), text(&store["outcome"])))
        .collect()
}

#[tokio::test]
async fn tenants_are_isolated_in_every_store_and_the_probe_leaves_nothing_behind() {
    let gateway = TestGateway::open().await;
    let response = probe(&gateway).await.status(200);
    assert_eq!(bad(&response), []);
    assert_eq!((&response.body["ran"], &response.body["outcome"]), (&json!(true), &json!("clean")));
    assert_eq!(response.body["stores"].as_array().unwrap().len(), SAMPLES.len() + 5);
    for sample in &SAMPLES {
        let rows = format!("SELECT tenant_id FROM bff.{}", sample.table);
        assert!(gateway.database.rows(&rows).await.is_empty(), "{}", sample.table);
    }
}

#[tokio::test]
async fn a_table_whose_isolation_is_off_is_a_leak_until_it_is_on_again() {
    let gateway = TestGateway::open().await;
    for (off, on) in [
        (
            "ALTER TABLE bff.outbox DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE bff.outbox ENABLE ROW LEVEL SECURITY",
        ),
        (
            "CREATE POLICY everybody ON bff.outbox USING (true)",
            "DROP POLICY everybody ON bff.outbox",
        ),
    ] {
        gateway.database.run(off).await;
        let response = probe(&gateway).await.status(200);
        assert_eq!(response.body["outcome"], "leak", "{}", response.body);
        assert_eq!(bad(&response), [("postgres: bff.outbox".to_owned(), "leak".to_owned())]);
        gateway.database.run(on).await;
        assert_eq!(probe(&gateway).await.body["outcome"], "clean");
    }
}

#[tokio::test]
async fn a_table_without_a_sample_row_fails_the_probe() {
    let gateway = TestGateway::open().await;
    gateway.database.run("CREATE TABLE bff.new (tenant_id text NOT NULL)").await;
    let response = probe(&gateway).await.status(503);
    assert_eq!(response.body["outcome"], "failed", "{}", response.body);
    assert_eq!(bad(&response), [("postgres: bff.new".to_owned(), "failed".to_owned())]);
}

#[tokio::test]
async fn only_one_instance_runs_the_job_at_a_time() {
    let gateway = TestGateway::open().await;
    let lease = "INSERT INTO bff.job_leases (tenant_id, job, holder, expires_at)
                 VALUES ('tnt_00000000000000000000000000', 'probe-tenant-isolation', 'another',
                         now() + interval '1 minute')";
    gateway.database.run(lease).await;
    let second = probe(&gateway).await;
    assert_eq!(second.ok::<Value>(), json!({"ran": false}));
    gateway.database.run("DELETE FROM bff.job_leases").await;
    assert_eq!(probe(&gateway).await.body["outcome"], "clean", "and afterwards it runs again");
}

#[tokio::test]
async fn a_lost_database_is_reported_and_only_the_scheduler_may_run_the_job() {
    let gateway = TestGateway::open().await;
    for account in [EVENTS, FIRST] {
        let response = gateway.account(account).post(PATH).await;
        response.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
    gateway.database.go_away().await;
    probe(&gateway).await.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    gateway.database.come_back().await;
    assert_eq!(probe(&gateway).await.body["outcome"], "clean");
}

#[tokio::test]
async fn every_table_has_a_sample_row() {
    let database = TestDatabase::create(Schema::Bff).await;
    let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = 'bff'::regnamespace
               AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'schema_migrations'";
    let tables: BTreeSet<String> = database.rows(sql).await.into_iter().collect();
    let tried: BTreeSet<String> = SAMPLES.iter().map(|sample| sample.table.to_owned()).collect();
    assert_eq!(tried, tables, "add a row to bff/src/admin/isolation_probe/samples.rs");
}

#[tokio::test]
async fn a_lost_session_store_fails_the_probe() {
    let gateway = TestGateway::without_session_store().await;
    let response = probe(&gateway).await.status(503);
    assert_eq!(response.body["outcome"], "failed", "{}", response.body);
    assert_eq!(response.header("retry-after"), "60", "by then the lease has expired");
    assert_eq!(bad(&response).len(), 2, "the two kinds of keys there: {}", response.body);
}

#[tokio::test]
async fn a_statement_that_fails_hides_no_leak_that_was_found_before() {
    let gateway = TestGateway::open().await;
    gateway.database.run("ALTER TABLE bff.admin_audit DISABLE ROW LEVEL SECURITY").await;
    gateway.database.run("ALTER TABLE bff.outbox RENAME COLUMN event TO content").await;
    let response = probe(&gateway).await.status(200);
    assert_eq!(response.body["outcome"], "leak", "{}", response.body);
    let expected = [("postgres: bff.admin_audit", "leak"), ("postgres", "failed")];
    assert_eq!(
        bad(&response),
        expected.map(|(store, outcome)| (store.to_owned(), outcome.to_owned()))
    );
}

#[tokio::test]
async fn the_task_counts_its_failure_without_a_request() {
    let gateway = TestGateway::open().await;
    let state = gateway.state.clone();
    let mut task = IsolationProbe {
        database: state.database.clone(),
        session_redis: state.session_redis.clone(),
        profiles: state.profiles.clone(),
        snapshots: state.composer.snapshots().clone(),
        env: state.env.clone(),
    };
    gateway.database.go_away().await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    assert_eq!(task.activate().await.unwrap().outcome, Outcome::Failed);
    let metrics = recorder.handle().render();
    let counted = "bff_backoffice_tenant_isolation_probe_total{outcome=\"failed\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}
