-- Who did what at the gateway, kept 90 days. By month, because append-only rows can leave only with their partition.
CREATE TABLE bff.operator_activity (
    tenant_id   text        NOT NULL,
    id          text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    operator_id text        NOT NULL,
    device_id   text        NOT NULL,
    session_id  text,
    property_id text,
    action      text        NOT NULL,
    resource_id text,
    outcome     text        NOT NULL,
    request_id  text        NOT NULL,
    trace_id    text,
    detail      jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id, occurred_at)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE bff.operator_activity_default PARTITION OF bff.operator_activity DEFAULT;

CREATE INDEX operator_activity_operator_idx
    ON bff.operator_activity (tenant_id, operator_id, occurred_at DESC);

SELECT bff.isolate_by_tenant('bff.operator_activity');
SELECT bff.isolate_by_tenant('bff.operator_activity_default');
SELECT bff.make_append_only('bff.operator_activity');
