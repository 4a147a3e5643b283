-- What a person does in a department.
CREATE TABLE staff.positions (
    tenant_id     text        NOT NULL,
    id            text        NOT NULL,
    department_id text        NOT NULL,
    name          text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, department_id) REFERENCES staff.departments (tenant_id, id)
);

CREATE INDEX positions_department_idx ON staff.positions (tenant_id, department_id);

SELECT staff.isolate_by_tenant('staff.positions');
