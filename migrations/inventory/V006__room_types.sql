-- What is sold. Foreign keys carry the tenant, so that a row can never point into another one's data.
CREATE TABLE inventory.room_types (
    tenant_id      text        NOT NULL,
    id             text        NOT NULL,
    property_id    text        NOT NULL,
    name           text        NOT NULL,
    deactivated_at timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, property_id) REFERENCES inventory.properties (tenant_id, id)
);

CREATE INDEX room_types_property_idx ON inventory.room_types (tenant_id, property_id);

SELECT inventory.isolate_by_tenant('inventory.room_types');
