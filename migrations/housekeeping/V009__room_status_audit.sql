-- Every flip of a room, with who and why. Append-only.
CREATE TABLE housekeeping.room_status_audit (
    tenant_id   text        NOT NULL,
    sequence    bigint      GENERATED ALWAYS AS IDENTITY,
    room_id     text        NOT NULL,
    property_id text        NOT NULL,
    -- Absent on the first touch of a room.
    from_status text,
    to_status   text        NOT NULL,
    reason      text        NOT NULL,
    task_id     text,
    actor_type  text        NOT NULL CHECK (actor_type IN ('system', 'user', 'integration')),
    actor_id    text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);

CREATE INDEX room_status_audit_room_idx ON housekeeping.room_status_audit (tenant_id, room_id, sequence DESC);

SELECT housekeeping.isolate_by_tenant('housekeeping.room_status_audit');
SELECT housekeeping.make_append_only('housekeeping.room_status_audit');
