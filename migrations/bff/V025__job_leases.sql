-- Which instance runs a job that one instance runs at a time. A lease instead of an advisory lock, because a job that
-- calls upstreams must not hold a connection meanwhile. A lease whose holder died ends by itself. Rows of the platform's
-- own tenant, as in `admin_audit`.
CREATE TABLE bff.job_leases (
    tenant_id  text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    job        text        NOT NULL CHECK (length(job) BETWEEN 1 AND 64),
    holder     text        NOT NULL CHECK (length(holder) BETWEEN 1 AND 64),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, job)
);

SELECT bff.isolate_by_tenant('bff.job_leases');
