-- Who works a shift. Nobody can be the primary of two shifts at once, whatever the code does. The times repeat those of
-- the shift because a constraint sees one table only; the foreign key keeps them equal when a shift is moved.
CREATE TABLE staff.shift_assignments (
    tenant_id  text        NOT NULL,
    id         text        NOT NULL,
    shift_id   text        NOT NULL,
    staff_id   text        NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('primary', 'standby')),
    status     text        NOT NULL DEFAULT 'assigned' CHECK (status IN ('assigned', 'unassigned')),
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    version    integer     NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, shift_id, starts_at, ends_at)
        REFERENCES staff.shifts (tenant_id, id, starts_at, ends_at) ON UPDATE CASCADE,
    FOREIGN KEY (tenant_id, staff_id) REFERENCES staff.staff (tenant_id, id),
    CONSTRAINT one_primary_shift_at_a_time EXCLUDE USING gist (
        tenant_id WITH =, staff_id WITH =, tstzrange(starts_at, ends_at) WITH &&)
        WHERE (kind = 'primary' AND status = 'assigned')
);

CREATE INDEX shift_assignments_shift_idx ON staff.shift_assignments (tenant_id, shift_id);

SELECT staff.isolate_by_tenant('staff.shift_assignments');
