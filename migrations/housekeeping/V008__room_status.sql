-- The truth of a room's state. No foreign key to `rooms`: an event about a room may arrive before the one that
-- announces it, and the first touch makes the row.
CREATE TABLE housekeeping.room_status (
    tenant_id   text        NOT NULL,
    room_id     text        NOT NULL,
    property_id text        NOT NULL,
    status      text        NOT NULL CHECK (status IN
        ('dirty', 'cleaning', 'clean', 'inspected', 'ready', 'out_of_order', 'out_of_service')),
    -- When the room took this status.
    since       timestamptz NOT NULL,
    version     integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, room_id)
);

CREATE INDEX room_status_property_idx ON housekeeping.room_status (tenant_id, property_id);

SELECT housekeeping.isolate_by_tenant('housekeeping.room_status');
