//! A sample row for each table, to probe its isolation. A table without one fails the probe and a
//! test: a new table needs a row here.

/// Sample row of a table.
#[derive(Debug)]
pub(crate) struct Sample {
    pub table: &'static str,
    /// Whether its rows can only belong to the platform's own tenant.
    pub is_platform_s: bool,
    /// Writes a row of the transaction's tenant.
    pub row: &'static str,
}

const fn sample(table: &'static str, row: &'static str) -> Sample {
    Sample { table, is_platform_s: false, row }
}

const fn of_the_platform(table: &'static str, row: &'static str) -> Sample {
    Sample { table, is_platform_s: true, row }
}

pub(crate) static SAMPLES: [Sample; 22] = [
    sample(
        "outbox",
        "INSERT INTO bff.outbox
             (tenant_id, event_id, event_type, ordering_key, event, occurred_at, next_attempt_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'probe', '{}', now(), now())",
    ),
    sample(
        "inbox",
        "INSERT INTO bff.inbox (tenant_id, event_type, event_id, received_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', now())",
    ),
    sample(
        "idempotency",
        "INSERT INTO bff.idempotency
             (tenant_id, operator_id, device_id, method, route, idempotency_key, fingerprint, state,
              lease_expires_at, claimed_at, expires_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'POST', '/probe', 'probe-probe-probe',
                 decode(repeat('00', 32), 'hex'), 'claimed', now(), now(), now())",
    ),
    sample(
        "operator_activity",
        "INSERT INTO bff.operator_activity
             (tenant_id, id, occurred_at, operator_id, device_id, action, outcome, request_id)
         VALUES (bff.current_tenant_id(), 'probe', now(), 'probe', 'probe', 'probe', 'probe', 'probe')",
    ),
    sample(
        "lock_action_proxy_audit",
        "INSERT INTO bff.lock_action_proxy_audit
             (tenant_id, sequence, id, action_id, action, phase, property_id, lock_id, operator_id,
              device_id, roles, request_id, idempotency_key, body_digest, occurred_at, prev_hash, hash)
         SELECT bff.current_tenant_id(), 1, 'probe', 'probe', 'issue_key', 'requested', 'probe', 'probe',
                'probe', 'probe', '{}', 'probe', 'probe', nothing, now(), nothing, nothing
         FROM decode(repeat('00', 32), 'hex') AS nothing",
    ),
    sample(
        "lock_audit_heads",
        "INSERT INTO bff.lock_audit_heads (tenant_id, sequence, hash)
         VALUES (bff.current_tenant_id(), 0, decode(repeat('00', 32), 'hex'))",
    ),
    sample(
        "device_sync_status",
        "INSERT INTO bff.device_sync_status (tenant_id, id, device_id, operator_id, last_heartbeat_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'probe', now())",
    ),
    sample(
        "revocations",
        "INSERT INTO bff.revocations
             (tenant_id, kind, target_id, revoked_at, reason, cause, recorded_at)
         VALUES (bff.current_tenant_id(), 'device', 'probe', now(), 'probe', 'probe', now())",
    ),
    sample(
        "tenant_standings",
        "INSERT INTO bff.tenant_standings (tenant_id, suspended, stated_at, reason, cause, recorded_at)
         VALUES (bff.current_tenant_id(), false, now(), 'probe', 'probe', now())",
    ),
    sample(
        "mfa_attestations",
        "INSERT INTO bff.mfa_attestations
             (tenant_id, attestation_id, operator_id, device_id, thumbprint, scope, issued_at,
              expires_at, request_id)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'probe', repeat('a', 43), 'folio.refund',
                 now(), now() + interval '1 minute', 'probe')",
    ),
    sample(
        "mfa_attestation_uses",
        "INSERT INTO bff.mfa_attestations
             (tenant_id, attestation_id, operator_id, device_id, thumbprint, scope, issued_at,
              expires_at, request_id)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'probe', repeat('a', 43), 'folio.refund',
                 now(), now() + interval '1 minute', 'probe');
         INSERT INTO bff.mfa_attestation_uses (tenant_id, attestation_id, used_by, used_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', now())",
    ),
    sample(
        "mfa_attempts",
        "INSERT INTO bff.mfa_attempts
             (tenant_id, attempt_id, operator_id, device_id, request_id, reserved_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'probe', 'probe', now())",
    ),
    of_the_platform(
        "job_leases",
        "INSERT INTO bff.job_leases (tenant_id, job, holder, expires_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', now())",
    ),
    of_the_platform(
        "admin_audit",
        "INSERT INTO bff.admin_audit
             (tenant_id, action, step, request_id, account, subject, reason, digest, occurred_at)
         VALUES (bff.current_tenant_id(), 'probe', 'requested', 'probe', 'probe', 'probe', 'probe',
                 decode(repeat('00', 32), 'hex'), now())",
    ),
    of_the_platform("edge_rule_requests", EDGE_RULE_REQUEST_SQL),
    of_the_platform(
        "lock_freezes",
        "INSERT INTO bff.lock_freezes (tenant_id, actions, complete, frozen_at)
         VALUES (bff.current_tenant_id(), 1, 0, now())",
    ),
    of_the_platform("lock_unfreeze_requests", LOCK_UNFREEZE_REQUEST_SQL),
    of_the_platform(
        "lock_unfreezes",
        "INSERT INTO bff.lock_unfreeze_requests
             (tenant_id, id, reason, requested_by, requested_subject, requested_at, expires_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'a', 'a', now(), now() + interval '1 hour');
         INSERT INTO bff.lock_unfreezes
             (tenant_id, request_id, requested_by, requested_subject, expires_at,
              approved_by, approved_subject, approved_at)
         VALUES (bff.current_tenant_id(), 'probe', 'a', 'a', now() + interval '1 hour', 'b', 'b', now())",
    ),
    of_the_platform(
        "second_factor_freezes",
        "INSERT INTO bff.second_factor_freezes (tenant_id, attestations, frozen_at)
         VALUES (bff.current_tenant_id(), 1, now())",
    ),
    of_the_platform(
        "second_factor_unfreeze_requests",
        "INSERT INTO bff.second_factor_unfreeze_requests
             (tenant_id, id, reason, requested_by, requested_subject, requested_at, expires_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'a', 'a', now(), now() + interval '1 hour')",
    ),
    of_the_platform(
        "second_factor_unfreezes",
        "INSERT INTO bff.second_factor_unfreeze_requests
             (tenant_id, id, reason, requested_by, requested_subject, requested_at, expires_at)
         VALUES (bff.current_tenant_id(), 'probe', 'probe', 'a', 'a', now(), now() + interval '1 hour');
         INSERT INTO bff.second_factor_unfreezes
             (tenant_id, request_id, requested_by, requested_subject, expires_at,
              approved_by, approved_subject, approved_at)
         VALUES (bff.current_tenant_id(), 'probe', 'a', 'a', now() + interval '1 hour', 'b', 'b', now())",
    ),
    of_the_platform(
        "edge_rules",
        "INSERT INTO bff.edge_rule_requests
             (tenant_id, id, rules, reason, requested_by, requested_subject, requested_at, expires_at)
         VALUES (bff.current_tenant_id(), 'probe', '', 'probe', 'a', 'a', now(), now() + interval '1 hour');
         INSERT INTO bff.edge_rules
             (tenant_id, request_id, requested_by, requested_subject, expires_at,
              approved_by, approved_subject, approved_at)
         VALUES (bff.current_tenant_id(), 'probe', 'a', 'a', now() + interval '1 hour', 'b', 'b', now())",
    ),
];

const EDGE_RULE_REQUEST_SQL: &str = "
    INSERT INTO bff.edge_rule_requests
        (tenant_id, id, rules, reason, requested_by, requested_subject, requested_at, expires_at)
    VALUES (bff.current_tenant_id(), 'probe', '', 'probe', 'a', 'a', now(), now() + interval '1 hour')";

const LOCK_UNFREEZE_REQUEST_SQL: &str = "
    INSERT INTO bff.lock_unfreeze_requests
        (tenant_id, id, reason, requested_by, requested_subject, requested_at, expires_at)
    VALUES (bff.current_tenant_id(), 'probe', 'probe', 'a', 'a', now(), now() + interval '1 hour')";
