-- Punches, as they happened. Append-only: a wrong one is corrected by another.
CREATE TABLE staff.clock_entries (
    tenant_id   text        NOT NULL,
    id          text        NOT NULL,
    staff_id    text        NOT NULL,
    property_id text        NOT NULL,
    direction   text        NOT NULL CHECK (direction IN ('in', 'out')),
    source      text        NOT NULL DEFAULT 'operator'
        CHECK (source IN ('operator', 'pin', 'override', 'system_auto', 'offline_replay')),
    device_id   text,
    punched_at  timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, staff_id) REFERENCES staff.staff (tenant_id, id)
);

-- A person's last punch, which says whether and where they are on the floor.
CREATE INDEX clock_entries_last_idx ON staff.clock_entries (tenant_id, staff_id, punched_at DESC, id DESC);

SELECT staff.isolate_by_tenant('staff.clock_entries');
SELECT staff.make_append_only('staff.clock_entries');
