-- Events wait here from the transaction that made them until the relay has published them. The relay works through
-- one ordering key in the order of `sequence`; a row that fails is tried again at `next_attempt_at`.
CREATE TABLE housekeeping.outbox (
    tenant_id       text        NOT NULL,
    sequence        bigint      GENERATED ALWAYS AS IDENTITY,
    event_id        text        NOT NULL,
    event_type      text        NOT NULL,
    ordering_key    text        NOT NULL,
    event           jsonb       NOT NULL,
    occurred_at     timestamptz NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL,
    last_error      text,
    published_at    timestamptz,
    PRIMARY KEY (tenant_id, sequence),
    UNIQUE (tenant_id, event_id)
);

CREATE INDEX outbox_pending_idx ON housekeeping.outbox (tenant_id, ordering_key, sequence) WHERE published_at IS NULL;

SELECT housekeeping.isolate_by_tenant('housekeeping.outbox');
