-- Why something is not for sale: a room out of order or out of service, or a stop-sell of a type or a whole property.
CREATE TABLE inventory.inventory_blocks (
    tenant_id    text        NOT NULL,
    id           text        NOT NULL,
    property_id  text        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('out_of_order', 'out_of_service', 'stop_sell')),
    room_id      text,
    room_type_id text,
    starts_on    date        NOT NULL,
    ends_on      date        NOT NULL,
    reason       text        NOT NULL,
    created_by   text        NOT NULL,
    cleared_at   timestamptz,
    version      integer     NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, property_id) REFERENCES inventory.properties (tenant_id, id),
    FOREIGN KEY (tenant_id, room_id) REFERENCES inventory.rooms (tenant_id, id),
    FOREIGN KEY (tenant_id, room_type_id) REFERENCES inventory.room_types (tenant_id, id),
    CONSTRAINT at_least_one_night CHECK (ends_on > starts_on),
    CONSTRAINT rooms_are_taken_out_types_are_stopped CHECK ((kind = 'stop_sell') = (room_id IS NULL))
);

CREATE INDEX inventory_blocks_property_idx
    ON inventory.inventory_blocks (tenant_id, property_id, starts_on) WHERE cleared_at IS NULL;

SELECT inventory.isolate_by_tenant('inventory.inventory_blocks');
