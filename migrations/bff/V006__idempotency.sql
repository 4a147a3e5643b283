-- One row per idempotency key within its scope (tenant, operator, device, method, route), so that a mutation has one
-- effect however often it is sent. `fence` grows with every take-over of the claim: a worker completes the row only
-- while it holds the current one. A claim may be taken over after `lease_expires_at`.
CREATE TABLE bff.idempotency (
    tenant_id        text        NOT NULL,
    operator_id      text        NOT NULL,
    device_id        text        NOT NULL,
    method           text        NOT NULL,
    route            text        NOT NULL,
    idempotency_key  text        NOT NULL CHECK (idempotency_key ~ '^[A-Za-z0-9_-]{16,128}$'),
    fingerprint      bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    state            text        NOT NULL CHECK (state IN ('claimed', 'completed')),
    fence            bigint      NOT NULL DEFAULT 1 CHECK (fence > 0),
    lease_expires_at timestamptz NOT NULL,
    response_status  smallint    CHECK (response_status BETWEEN 100 AND 599),
    response_headers jsonb,
    response_body    bytea,
    claimed_at       timestamptz NOT NULL,
    completed_at     timestamptz,
    expires_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, operator_id, device_id, method, route, idempotency_key),
    CONSTRAINT completed_has_an_answer CHECK (
        (state = 'completed') = (completed_at IS NOT NULL AND response_status IS NOT NULL
                                 AND response_headers IS NOT NULL AND response_body IS NOT NULL))
);

CREATE INDEX idempotency_expiry_idx ON bff.idempotency (expires_at);

SELECT bff.isolate_by_tenant('bff.idempotency');
