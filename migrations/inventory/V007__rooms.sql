-- What a sold night is assigned to.
CREATE TABLE inventory.rooms (
    tenant_id      text        NOT NULL,
    id             text        NOT NULL,
    property_id    text        NOT NULL,
    room_type_id   text        NOT NULL,
    number         text        NOT NULL,
    deactivated_at timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, property_id, number),
    FOREIGN KEY (tenant_id, property_id) REFERENCES inventory.properties (tenant_id, id),
    FOREIGN KEY (tenant_id, room_type_id) REFERENCES inventory.room_types (tenant_id, id)
);

CREATE INDEX rooms_type_idx ON inventory.rooms (tenant_id, room_type_id);

SELECT inventory.isolate_by_tenant('inventory.rooms');
