-- The properties staff knows, from property-service's events. The time zone decides which shifts are a day's.
CREATE TABLE staff.properties (
    tenant_id      text        NOT NULL,
    id             text        NOT NULL,
    time_zone      text        NOT NULL,
    deactivated_at timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

SELECT staff.isolate_by_tenant('staff.properties');
