-- Edge rules that people of the platform order in a hurry: one asks, another approves. Rows of the platform's own
-- tenant, as in `admin_audit`.
CREATE TABLE bff.edge_rule_requests (
    tenant_id         text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    id                text        NOT NULL,
    -- TOML, as it was judged when it was asked for. Empty: back to the file.
    rules             text        NOT NULL CHECK (octet_length(rules) <= 262144),
    reason            text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
    requested_by      text        NOT NULL,
    requested_subject text        NOT NULL,
    requested_at      timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    -- What an approval repeats, so that its own constraints can speak of both people.
    UNIQUE (tenant_id, id, requested_by, requested_subject, expires_at)
);

SELECT bff.isolate_by_tenant('bff.edge_rule_requests');
SELECT bff.make_append_only('bff.edge_rule_requests');

-- What was approved. The row with the highest number holds, on every instance.
CREATE TABLE bff.edge_rules (
    tenant_id         text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    sequence          bigint      GENERATED ALWAYS AS IDENTITY,
    request_id        text        NOT NULL,
    requested_by      text        NOT NULL,
    requested_subject text        NOT NULL,
    expires_at        timestamptz NOT NULL,
    approved_by       text        NOT NULL,
    approved_subject  text        NOT NULL,
    approved_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sequence),
    UNIQUE (tenant_id, request_id),
    FOREIGN KEY (tenant_id, request_id, requested_by, requested_subject, expires_at)
        REFERENCES bff.edge_rule_requests (tenant_id, id, requested_by, requested_subject, expires_at),
    CONSTRAINT two_people CHECK (approved_by <> requested_by AND approved_subject <> requested_subject),
    CONSTRAINT in_time CHECK (approved_at < expires_at)
);

SELECT bff.isolate_by_tenant('bff.edge_rules');
SELECT bff.make_append_only('bff.edge_rules');
