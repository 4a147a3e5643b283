-- Who changed what about whom. Append-only.
CREATE TABLE staff.audit_events (
    tenant_id   text        NOT NULL,
    sequence    bigint      GENERATED ALWAYS AS IDENTITY,
    property_id text,
    actor_type  text        NOT NULL CHECK (actor_type IN ('system', 'user', 'integration')),
    actor_id    text        NOT NULL,
    action      text        NOT NULL,
    subject_id  text        NOT NULL,
    detail      jsonb       NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);

CREATE INDEX audit_events_subject_idx ON staff.audit_events (tenant_id, subject_id, sequence DESC);

SELECT staff.isolate_by_tenant('staff.audit_events');
SELECT staff.make_append_only('staff.audit_events');
