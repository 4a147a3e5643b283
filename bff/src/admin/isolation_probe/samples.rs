//! A sample row for each table, to probe its isolation. A table without one fails the probe and a
//! test: a new table needs a row here.

/// Sample row of a table.
#[derive(Debug)]
pub(crate) struct Sample {
    pub table: &'static str,
    /// Whether its rows can only belong to the platform's own tenant.
    pub is_platform_s: bool,
    /// The table with the row that this one refers to.
    refers_to: Option<&'static str>,
    /// Required columns other than the tenant, and a value for each.
    columns: &'static str,
    values: &'static str,
}

const fn sample(table: &'static str, columns: &'static str, values: &'static str) -> Sample {
    Sample { table, is_platform_s: false, refers_to: None, columns, values }
}

const fn of_the_platform(
    table: &'static str,
    columns: &'static str,
    values: &'static str,
) -> Sample {
    Sample { is_platform_s: true, ..sample(table, columns, values) }
}

/// An approval by a second operator, of the request in the table of `requests`.
const fn approval(table: &'static str, requests: &'static str) -> Sample {
    let columns = "request_id, requested_by, requested_subject, expires_at, approved_by, approved_subject, approved_at";
    let values = "'probe', 'a', 'a', now() + interval '1 hour', 'b', 'b', now()";
    Sample { refers_to: Some(requests), ..of_the_platform(table, columns, values) }
}

/// A request that a second operator must approve.
const fn request(table: &'static str) -> Sample {
    of_the_platform(
        table,
        "id, reason, requested_by, requested_subject, requested_at, expires_at",
        "'probe', 'probe', 'a', 'a', now(), now() + interval '1 hour'",
    )
}

impl Sample {
    /// Statements that write the row for the transaction's tenant, after the row it refers to.
    pub(crate) fn sql(&self) -> String {
        let Self { table, columns, values, .. } = self;
        let referred = SAMPLES.iter().find(|other| Some(other.table) == self.refers_to);
        let before = referred.map(Self::sql).unwrap_or_default();
        format!(
            "{before}INSERT INTO bff.{table} (tenant_id, {columns})
             VALUES (bff.current_tenant_id(), {values});"
        )
    }
}

pub(crate) static SAMPLES: [Sample; 22] = [
    sample(
        "outbox",
        "event_id, event_type, ordering_key, event, occurred_at, next_attempt_at",
        "'probe', 'probe', 'probe', '{}', now(), now()",
    ),
    sample("inbox", "event_type, event_id, received_at", "'probe', 'probe', now()"),
    sample(
        "idempotency",
        "operator_id, device_id, method, route, idempotency_key, fingerprint, state,
         lease_expires_at, claimed_at, expires_at",
        "'probe', 'probe', 'POST', '/probe', 'probe-probe-probe', decode(repeat('00', 32), 'hex'),
         'claimed', now(), now(), now()",
    ),
    sample(
        "operator_activity",
        "id, occurred_at, operator_id, device_id, action, outcome, request_id",
        "'probe', now(), 'probe', 'probe', 'probe', 'probe', 'probe'",
    ),
    sample(
        "lock_action_proxy_audit",
        "sequence, id, action_id, action, phase, property_id, lock_id, operator_id, device_id,
         roles, request_id, idempotency_key, body_digest, occurred_at, prev_hash, hash",
        "1, 'probe', 'probe', 'issue_key', 'requested', 'probe', 'probe', 'probe', 'probe',
         '{}', 'probe', 'probe', decode(repeat('00', 32), 'hex'), now(),
         decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex')",
    ),
    sample("lock_audit_heads", "sequence, hash", "0, decode(repeat('00', 32), 'hex')"),
    sample(
        "device_sync_status",
        "id, device_id, operator_id, last_heartbeat_at",
        "'probe', 'probe', 'probe', now()",
    ),
    sample(
        "revocations",
        "kind, target_id, revoked_at, reason, cause, recorded_at",
        "'device', 'probe', now(), 'probe', 'probe', now()",
    ),
    sample(
        "tenant_standings",
        "suspended, stated_at, reason, cause, recorded_at",
        "false, now(), 'probe', 'probe', now()",
    ),
    sample(
        "mfa_attestations",
        "attestation_id, operator_id, device_id, thumbprint, scope, issued_at, expires_at,
         request_id",
        "'probe', 'probe', 'probe', repeat('a', 43), 'folio.refund', now(),
         now() + interval '1 minute', 'probe'",
    ),
    Sample {
        refers_to: Some("mfa_attestations"),
        ..sample(
            "mfa_attestation_uses",
            "attestation_id, used_by, used_at",
            "'probe', 'probe', now()",
        )
    },
    sample(
        "mfa_attempts",
        "attempt_id, operator_id, device_id, request_id, reserved_at",
        "'probe', 'probe', 'probe', 'probe', now()",
    ),
    of_the_platform("job_leases", "job, holder, expires_at", "'probe', 'probe', now()"),
    of_the_platform(
        "admin_audit",
        "action, step, request_id, account, subject, reason, digest, occurred_at",
        "'probe', 'requested', 'probe', 'probe', 'probe', 'probe', decode(repeat('00', 32), 'hex'),
         now()",
    ),
    Sample {
        columns: "id, rules, reason, requested_by, requested_subject, requested_at, expires_at",
        values: "'probe', '', 'probe', 'a', 'a', now(), now() + interval '1 hour'",
        ..request("edge_rule_requests")
    },
    approval("edge_rules", "edge_rule_requests"),
    of_the_platform("lock_freezes", "actions, complete, frozen_at", "1, 0, now()"),
    request("lock_unfreeze_requests"),
    approval("lock_unfreezes", "lock_unfreeze_requests"),
    of_the_platform("second_factor_freezes", "attestations, frozen_at", "1, now()"),
    request("second_factor_unfreeze_requests"),
    approval("second_factor_unfreezes", "second_factor_unfreeze_requests"),
];
