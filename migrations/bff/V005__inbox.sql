-- What was consumed, by (type, id), so that a second delivery changes nothing. A row without `processed_at` is one
-- whose handler failed, with its last error.
CREATE TABLE bff.inbox (
    tenant_id    text        NOT NULL,
    event_type   text        NOT NULL,
    event_id     text        NOT NULL,
    received_at  timestamptz NOT NULL,
    processed_at timestamptz,
    attempts     integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_error   text,
    PRIMARY KEY (tenant_id, event_type, event_id)
);

SELECT bff.isolate_by_tenant('bff.inbox');
