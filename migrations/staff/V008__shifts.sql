-- When a position must be filled at a property. The second key lets an assignment carry the same times by foreign key.
CREATE TABLE staff.shifts (
    tenant_id   text        NOT NULL,
    id          text        NOT NULL,
    property_id text        NOT NULL,
    position_id text        NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    status      text        NOT NULL DEFAULT 'scheduled'
        CHECK (status IN ('scheduled', 'in_progress', 'completed', 'cancelled')),
    version     integer     NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, id, starts_at, ends_at),
    FOREIGN KEY (tenant_id, position_id) REFERENCES staff.positions (tenant_id, id),
    CONSTRAINT a_shift_ends_within_a_day
        CHECK (ends_at > starts_at AND ends_at - starts_at <= interval '24 hours')
);

-- For the shifts of a property that run at an instant: because they end within a day, their start bounds the search.
CREATE INDEX shifts_property_idx ON staff.shifts (tenant_id, property_id, starts_at);

SELECT staff.isolate_by_tenant('staff.shifts');
