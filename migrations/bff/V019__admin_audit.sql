-- What people of the platform did here by hand, each step of it. Its rows belong to the platform's own tenant, an id
-- that is no hotel's: so no hotel's transaction sees them, and no statement needs to run without a tenant.
CREATE TABLE bff.admin_audit (
    tenant_id   text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    sequence    bigint      GENERATED ALWAYS AS IDENTITY,
    action      text        NOT NULL CHECK (action <> ''),
    step        text        NOT NULL CHECK (step IN ('requested', 'approved', 'refused')),
    -- The request that the step belongs to.
    request_id  text        NOT NULL,
    account     text        NOT NULL,
    -- The issuer's own id of the account, which is never given to another.
    subject     text        NOT NULL,
    reason      text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
    -- SHA-256 of what was asked for.
    digest      bytea       NOT NULL CHECK (octet_length(digest) = 32),
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);

SELECT bff.isolate_by_tenant('bff.admin_audit');
SELECT bff.make_append_only('bff.admin_audit');
