//! Expired rows are deleted by the service's role, and no others.

use migrations::Schema;
use migrations::testing::TestDatabase;
use tokio_postgres::{Client, NoTls};

#[expect(clippy::disallowed_methods, reason = "the connection ends with the test")]
async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("Postgres answers");
    tokio::spawn(connection);
    client
}

/// Runs one sweep as the service's role; `None` for null.
async fn sweep(service: &Client, function: &str, most: i32) -> Option<i64> {
    let statement = format!("SELECT {function}($1)");
    service.query_one(&statement, &[&most]).await.expect("the service may call it").get(0)
}

/// Sweeps until nothing is left, and returns the number of deleted rows.
async fn sweep_all(service: &Client, function: &str) -> i64 {
    let mut rows = 0;
    loop {
        match sweep(service, function, 100).await.expect("no other instance sweeps") {
            0 => return rows,
            batch => rows += batch,
        }
    }
}

/// Idempotency keys, named by state and age.
const KEYS_SQL: &str = "
    INSERT INTO bff.idempotency
        (tenant_id, operator_id, device_id, method, route, idempotency_key, fingerprint, state, claimed_at,
         lease_expires_at, expires_at, completed_at, response_status, response_headers, response_body)
    SELECT tenant, 'opr', 'dev', 'POST', '/r', rpad(name, 16, '_'), decode(repeat('00', 32), 'hex'), state,
           now() - age::interval, now() + lease::interval, now() + expiry::interval,
           CASE state WHEN 'completed' THEN now() - age::interval END,
           CASE state WHEN 'completed' THEN 200 END, CASE state WHEN 'completed' THEN '{}'::jsonb END,
           CASE state WHEN 'completed' THEN ''::bytea END
    FROM unnest('{a,b}'::text[]) AS tenant, (VALUES
        ('expired', 'completed', '25 hours', '-25 hours', '-1 second'),
        ('fresh', 'completed', '23 hours', '-23 hours', '1 hour'),
        ('running', 'claimed', '1 second', '4 seconds', '24 hours'),
        ('died', 'claimed', '1 day', '-1 day', '-1 second'),
        ('slow', 'claimed', '9 days', '1 second', '-8 days'),
        ('abandoned', 'claimed', '9 days', '-9 days', '-8 days')
    ) AS key (name, state, age, lease, expiry)";

#[tokio::test]
async fn keys_go_when_their_time_is_over_and_claims_in_progress_stay() {
    let database = TestDatabase::create(Schema::Bff).await;
    database.run(KEYS_SQL).await;
    let service = connect(database.url()).await;
    assert_eq!(sweep_all(&service, "bff.sweep_idempotency").await, 4, "two of each tenant");
    let left = "SELECT DISTINCT rtrim(idempotency_key, '_') FROM bff.idempotency ORDER BY 1";
    assert_eq!(database.rows(left).await, ["died", "fresh", "running", "slow"]);
}

#[tokio::test]
async fn a_batch_is_bounded_and_skips_locked_rows() {
    let database = TestDatabase::create(Schema::Bff).await;
    database.run(KEYS_SQL).await;
    let service = connect(database.url()).await;
    assert_eq!(sweep(&service, "bff.sweep_idempotency", 1).await, Some(1));
    let held = database
        .hold("SELECT FROM bff.idempotency WHERE idempotency_key LIKE 'expired%' FOR UPDATE")
        .await;
    assert_eq!(sweep_all(&service, "bff.sweep_idempotency").await, 1, "without waiting");
    held.end().await;
    assert_eq!(sweep_all(&service, "bff.sweep_idempotency").await, 2);
}

/// Attestations of a given age, named by the idempotency key that used them.
const ATTESTATIONS_SQL: &str = "
    CREATE TEMPORARY TABLE made AS SELECT * FROM (VALUES
        ('fresh', 'expired', '1 minute'), ('recent', 'expired', '47 hours'), ('old', 'expired', '49 hours'),
        ('tied-to-claim', 'died', '49 hours'), ('tied-to-answer', 'fresh', '49 hours'),
        ('unused', NULL, '49 hours')) AS m (id, key, age);
    INSERT INTO bff.mfa_attestations
        (tenant_id, attestation_id, operator_id, device_id, thumbprint, scope, issued_at, expires_at, request_id)
    SELECT tenant, id, 'opr', 'dev', repeat('x', 43), 'lock.revoke', now() - age::interval - interval '5 minutes',
           now() - age::interval, 'r'
    FROM made, unnest('{a,b}'::text[]) AS tenant;
    INSERT INTO bff.mfa_attestation_uses (tenant_id, attestation_id, used_by, used_at)
    SELECT tenant, id, rpad(key, 16, '_'), now() - age::interval - interval '1 minute'
    FROM made, unnest('{a,b}'::text[]) AS tenant
    WHERE key IS NOT NULL";

#[tokio::test]
async fn attestations_and_uses_go_two_days_later_unless_a_key_still_needs_them() {
    let database = TestDatabase::create(Schema::Bff).await;
    database.run(KEYS_SQL).await;
    database.run(ATTESTATIONS_SQL).await;
    let service = connect(database.url()).await;
    let unused = sweep_all(&service, "bff.sweep_mfa_attestations").await;
    assert_eq!(unused, 2, "keys hold the others");
    assert_eq!(sweep_all(&service, "bff.sweep_idempotency").await, 4);
    assert_eq!(sweep_all(&service, "bff.sweep_mfa_attestations").await, 2);
    for table in ["mfa_attestations", "mfa_attestation_uses"] {
        let left = format!("SELECT DISTINCT attestation_id FROM bff.{table} ORDER BY 1");
        let expected = ["fresh", "recent", "tied-to-answer", "tied-to-claim"];
        assert_eq!(database.rows(&left).await, expected, "{table}");
    }
}

#[tokio::test]
async fn until_then_not_even_the_owner_can_change_or_delete_them() {
    let database = TestDatabase::create(Schema::Bff).await;
    database.run(ATTESTATIONS_SQL).await;
    let (admin, service) = (connect(database.admin_url()).await, connect(database.url()).await);
    for table in ["mfa_attestation_uses", "mfa_attestations"] {
        for change in [
            format!("DELETE FROM bff.{table} WHERE attestation_id = 'recent'"),
            format!("DELETE FROM bff.{table}"),
            format!("UPDATE bff.{table} SET tenant_id = 'c' WHERE attestation_id = 'old'"),
            format!("TRUNCATE bff.{table} CASCADE"),
        ] {
            let refused = admin.batch_execute(&change).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "0L000", "{change}");
            let refused = service.batch_execute(&change).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "42501", "{change}");
        }
    }
}

#[tokio::test]
async fn attempts_at_a_second_factor_go_after_a_day() {
    let database = TestDatabase::create(Schema::Bff).await;
    database
        .run(
            "INSERT INTO bff.mfa_attempts
                 (tenant_id, attempt_id, operator_id, device_id, request_id, reserved_at)
             SELECT tenant, age, 'o', 'd', 'r', now() - age::interval
             FROM unnest('{a,b}'::text[]) AS tenant, unnest('{1 minute,23 hours,25 hours}'::text[]) AS age",
        )
        .await;
    let service = connect(database.url()).await;
    assert_eq!(sweep_all(&service, "bff.sweep_mfa_attempts").await, 2);
    let left = "SELECT DISTINCT attempt_id FROM bff.mfa_attempts ORDER BY 1";
    assert_eq!(database.rows(left).await, ["1 minute", "23 hours"]);
}

fn consumed_and_published(schema: Schema) -> String {
    format!(
        "INSERT INTO {schema}.inbox (tenant_id, event_type, event_id, received_at, processed_at)
         SELECT tenant, 'a', age, now() - age::interval, now() - age::interval
         FROM unnest('{{a,b}}'::text[]) AS tenant, unnest('{{30 days,32 days}}'::text[]) AS age;
         INSERT INTO {schema}.inbox (tenant_id, event_type, event_id, received_at, attempts, last_error)
         VALUES ('a', 'a', 'failed', now() - interval '99 days', 10, 'no');
         INSERT INTO {schema}.outbox
             (tenant_id, event_id, event_type, ordering_key, event, occurred_at, next_attempt_at, published_at)
         SELECT tenant, age, 'a', 'k', '{{}}', now() - age::interval, now(), now() - age::interval
         FROM unnest('{{a,b}}'::text[]) AS tenant, unnest('{{6 days,8 days}}'::text[]) AS age;
         INSERT INTO {schema}.outbox
             (tenant_id, event_id, event_type, ordering_key, event, occurred_at, next_attempt_at)
         VALUES ('a', 'unpublished', 'a', 'k', '{{}}', now() - interval '99 days', now())"
    )
}

#[tokio::test]
async fn finished_events_are_deleted_and_unfinished_ones_kept() {
    for schema in Schema::ALL {
        let database = TestDatabase::create(schema).await;
        database.run(&consumed_and_published(schema)).await;
        let service = connect(database.url()).await;
        assert_eq!(sweep_all(&service, &format!("{schema}.sweep_inbox")).await, 2);
        assert_eq!(sweep_all(&service, &format!("{schema}.sweep_outbox")).await, 2);
        for (table, expected) in
            [("inbox", ["30 days", "failed"]), ("outbox", ["6 days", "unpublished"])]
        {
            let left = format!("SELECT DISTINCT event_id FROM {schema}.{table} ORDER BY 1");
            assert_eq!(database.rows(&left).await, expected, "{schema}.{table}");
        }
    }
}

const ACTIVITY_SQL: &str = "
    INSERT INTO bff.operator_activity
        (tenant_id, id, occurred_at, operator_id, device_id, action, outcome, request_id)
    SELECT tenant, days::text, now() - make_interval(days => days), 'o', 'd', 'a', 'success', 'r'
    FROM unnest('{a,b}'::text[]) AS tenant, unnest('{0,1,60,89,122,150,400}'::int[]) AS days;
    INSERT INTO bff.lock_action_proxy_audit
        (tenant_id, sequence, id, action_id, action, phase, property_id, lock_id, operator_id, device_id, roles,
         request_id, idempotency_key, body_digest, occurred_at, prev_hash, hash)
    SELECT 'a', 1, 'l', 'l', 'issue_key', 'requested', 'p', 'l', 'o', 'd', '{}', 'r', 'k', zero,
           now() - interval '6 years', zero, zero
    FROM decode(repeat('00', 32), 'hex') AS zero";

#[tokio::test]
async fn activity_is_kept_ninety_days_and_leaves_by_month() {
    let database = TestDatabase::create(Schema::Bff).await;
    database.run(ACTIVITY_SQL).await;
    let service = connect(database.url()).await;
    // Rows of the default partition are moved into their month first.
    while let Some(_partition) = service
        .query_one("SELECT bff.make_next_month()", &[])
        .await
        .unwrap()
        .get::<_, Option<String>>(0)
    {}
    assert!(sweep_all(&service, "bff.sweep_operator_activity").await >= 2);
    let left = "SELECT DISTINCT id FROM bff.operator_activity ORDER BY 1";
    assert_eq!(database.rows(left).await, ["0", "1", "60", "89"]);
    let kept = "SELECT id FROM bff.lock_action_proxy_audit";
    assert_eq!(database.rows(kept).await, ["l"], "the lock audit is kept for seven years");
}

#[tokio::test]
async fn one_instance_sweeps_at_a_time() {
    for schema in Schema::ALL {
        let database = TestDatabase::create(schema).await;
        database.run(&consumed_and_published(schema)).await;
        let service = connect(database.url()).await;
        let name = if schema == Schema::Bff { "sweep-idempotency" } else { "sweep-expired" };
        let lock = format!("SELECT pg_advisory_xact_lock(hashtextextended('{schema}.{name}', 0))");
        let other = database.hold(&lock).await;
        assert_eq!(sweep(&service, &format!("{schema}.sweep_inbox"), 100).await, None);
        other.end().await;
        assert_eq!(sweep(&service, &format!("{schema}.sweep_inbox"), 100).await, Some(2));
    }
}
