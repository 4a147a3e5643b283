-- The teams of a property.
CREATE TABLE staff.departments (
    tenant_id   text        NOT NULL,
    id          text        NOT NULL,
    property_id text        NOT NULL,
    name        text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, property_id, name)
);

SELECT staff.isolate_by_tenant('staff.departments');
