-- Where a room is, from property-service's events.
CREATE TABLE housekeeping.rooms (
    tenant_id   text        NOT NULL,
    id          text        NOT NULL,
    property_id text        NOT NULL,
    number      text        NOT NULL,
    floor       integer     NOT NULL DEFAULT 0,
    archived_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, property_id) REFERENCES housekeeping.properties (tenant_id, id)
);

CREATE INDEX rooms_property_idx ON housekeeping.rooms (tenant_id, property_id);

SELECT housekeeping.isolate_by_tenant('housekeeping.rooms');
