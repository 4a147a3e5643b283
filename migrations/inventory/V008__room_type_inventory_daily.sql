-- The calendar: what of a room type is left on a night. The check is the last line of defence against selling a room
-- twice; no code path may go around it. By month, so that past nights can leave without a delete.
CREATE TABLE inventory.room_type_inventory_daily (
    id              text        NOT NULL,
    tenant_id       text        NOT NULL,
    property_id     text        NOT NULL,
    room_type_id    text        NOT NULL,
    stay_date       date        NOT NULL,
    total           integer     NOT NULL DEFAULT 0 CHECK (total >= 0),
    held            integer     NOT NULL DEFAULT 0 CHECK (held >= 0),
    committed       integer     NOT NULL DEFAULT 0 CHECK (committed >= 0),
    oos_blocked     integer     NOT NULL DEFAULT 0 CHECK (oos_blocked >= 0),
    bed_total       integer     CHECK (bed_total >= 0),
    bed_held        integer     CHECK (bed_held >= 0),
    bed_committed   integer     CHECK (bed_committed >= 0),
    stop_sell       boolean     NOT NULL DEFAULT false,
    overbooking_cap integer     NOT NULL DEFAULT 0 CHECK (overbooking_cap >= 0),
    version         integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, property_id, room_type_id, stay_date),
    FOREIGN KEY (tenant_id, room_type_id) REFERENCES inventory.room_types (tenant_id, id),
    CONSTRAINT never_sold_beyond_the_cap CHECK (held + committed + oos_blocked <= total + overbooking_cap),
    CONSTRAINT beds_never_sold_twice CHECK (bed_held + bed_committed <= bed_total)
) PARTITION BY RANGE (stay_date);

CREATE TABLE inventory.room_type_inventory_daily_default
    PARTITION OF inventory.room_type_inventory_daily DEFAULT;

SELECT inventory.isolate_by_tenant('inventory.room_type_inventory_daily');
SELECT inventory.isolate_by_tenant('inventory.room_type_inventory_daily_default');
