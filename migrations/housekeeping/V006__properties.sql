-- The properties housekeeping knows, from property-service's events. The time zone decides when "today" began.
CREATE TABLE housekeeping.properties (
    tenant_id      text        NOT NULL,
    id             text        NOT NULL,
    time_zone      text        NOT NULL,
    deactivated_at timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

SELECT housekeeping.isolate_by_tenant('housekeeping.properties');
