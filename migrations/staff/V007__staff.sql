-- The people. A person has one position and may work at several properties of the tenant.
CREATE TABLE staff.staff (
    tenant_id     text        NOT NULL,
    id            text        NOT NULL,
    position_id   text        NOT NULL,
    -- The iam user, once the invitation was taken.
    user_id       text,
    display_name  text        NOT NULL,
    status        text        NOT NULL DEFAULT 'active'
        CHECK (status IN ('pending_invite', 'active', 'on_leave', 'terminated')),
    terminated_at timestamptz,
    version       integer     NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, position_id) REFERENCES staff.positions (tenant_id, id)
);

CREATE INDEX staff_position_idx ON staff.staff (tenant_id, position_id);

SELECT staff.isolate_by_tenant('staff.staff');
