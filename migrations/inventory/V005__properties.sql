-- The properties inventory knows, from property-service's events. The time zone decides which day "today" is.
CREATE TABLE inventory.properties (
    tenant_id      text        NOT NULL,
    id             text        NOT NULL,
    time_zone      text        NOT NULL,
    deactivated_at timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

SELECT inventory.isolate_by_tenant('inventory.properties');
