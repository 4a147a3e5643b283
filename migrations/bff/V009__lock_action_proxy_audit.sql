-- Every lock action twice: `requested` before the vendor is called, its outcome after. Rows of a tenant form a chain
-- (`sequence` without a hole, each `prev_hash` the `hash` before it), so that a missing or altered row is provable.
-- Kept 7 years.
CREATE TABLE bff.lock_action_proxy_audit (
    tenant_id          text        NOT NULL,
    sequence           bigint      NOT NULL CHECK (sequence > 0),
    id                 text        NOT NULL,
    -- The id of the `requested` row that this one belongs to; its own id on that row.
    action_id          text        NOT NULL,
    action             text        NOT NULL CHECK (action IN ('issue_key', 'revoke_key')),
    phase              text        NOT NULL CHECK (phase IN ('requested', 'success', 'failure', 'unknown')),
    property_id        text        NOT NULL,
    lock_id            text        NOT NULL,
    operator_id        text        NOT NULL,
    device_id          text        NOT NULL,
    roles              text[]      NOT NULL,
    session_id         text,
    request_id         text        NOT NULL,
    trace_id           text,
    idempotency_key    text        NOT NULL,
    body_digest        bytea       NOT NULL CHECK (octet_length(body_digest) = 32),
    mfa_attestation_id text,
    detail             jsonb       NOT NULL DEFAULT '{}',
    occurred_at        timestamptz NOT NULL,
    prev_hash          bytea       NOT NULL CHECK (octet_length(prev_hash) = 32),
    hash               bytea       NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant_id, sequence),
    UNIQUE (tenant_id, id),
    CONSTRAINT a_request_names_itself CHECK ((phase = 'requested') = (action_id = id))
);

-- The ledger's page of a property, newest first.
CREATE INDEX lock_action_proxy_audit_property_idx
    ON bff.lock_action_proxy_audit (tenant_id, property_id, occurred_at DESC, sequence DESC);

-- An action's rows together: what was requested and has no outcome.
CREATE INDEX lock_action_proxy_audit_action_idx ON bff.lock_action_proxy_audit (tenant_id, action_id);

SELECT bff.isolate_by_tenant('bff.lock_action_proxy_audit');
SELECT bff.make_append_only('bff.lock_action_proxy_audit');
