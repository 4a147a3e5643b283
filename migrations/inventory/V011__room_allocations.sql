-- The ledger: which stay has which room, or one of a type until a room is assigned. A room cannot be given to two live
-- stays that share a night, whatever the code does; [check_in, check_out) lets one leave and the next arrive on a day.
CREATE TABLE inventory.room_allocations (
    tenant_id           text        NOT NULL,
    id                  text        NOT NULL,
    property_id         text        NOT NULL,
    room_type_id        text        NOT NULL,
    room_id             text,
    reservation_id      text,
    reservation_item_id text,
    check_in            date        NOT NULL,
    check_out           date        NOT NULL,
    status              text        NOT NULL
        CHECK (status IN ('held', 'confirmed', 'checked_in', 'checked_out', 'released', 'expired')),
    hold_expires_at     timestamptz,
    version             integer     NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, property_id) REFERENCES inventory.properties (tenant_id, id),
    FOREIGN KEY (tenant_id, room_type_id) REFERENCES inventory.room_types (tenant_id, id),
    FOREIGN KEY (tenant_id, room_id) REFERENCES inventory.rooms (tenant_id, id),
    CONSTRAINT at_least_one_night CHECK (check_out > check_in),
    CONSTRAINT a_hold_ends CHECK (status <> 'held' OR hold_expires_at IS NOT NULL),
    CONSTRAINT a_guest_in_house_has_a_room CHECK (status <> 'checked_in' OR room_id IS NOT NULL),
    CONSTRAINT one_live_stay_per_room_and_night EXCLUDE USING gist (
        tenant_id WITH =, room_id WITH =, daterange(check_in, check_out) WITH &&)
        WHERE (room_id IS NOT NULL AND status IN ('held', 'confirmed', 'checked_in'))
);

-- For the sweeper of expired holds.
CREATE INDEX room_allocations_held_expiry_idx
    ON inventory.room_allocations (hold_expires_at) WHERE status = 'held';

-- For a property's live stays in a window.
CREATE INDEX room_allocations_property_idx
    ON inventory.room_allocations (tenant_id, property_id, check_in)
    WHERE status IN ('held', 'confirmed', 'checked_in');

CREATE INDEX room_allocations_reservation_idx ON inventory.room_allocations (tenant_id, reservation_id);

SELECT inventory.isolate_by_tenant('inventory.room_allocations');
