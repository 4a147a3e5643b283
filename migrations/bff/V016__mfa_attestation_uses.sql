-- The use of an attestation is a row, and its primary key is what makes the use single. `used_by` is the idempotency key
-- of the request that used it: a repeat of that request is the same use.
CREATE TABLE bff.mfa_attestation_uses (
    tenant_id      text        NOT NULL,
    attestation_id text        NOT NULL,
    used_by        text        NOT NULL CHECK (length(used_by) BETWEEN 1 AND 128),
    used_at        timestamptz NOT NULL,
    CONSTRAINT an_attestation_is_used_once PRIMARY KEY (tenant_id, attestation_id),
    FOREIGN KEY (tenant_id, attestation_id) REFERENCES bff.mfa_attestations
);

CREATE INDEX mfa_attestation_uses_recent_idx ON bff.mfa_attestation_uses (used_at);

SELECT bff.isolate_by_tenant('bff.mfa_attestation_uses');
SELECT bff.make_append_only('bff.mfa_attestation_uses');

-- How many attestations were used by more than one request: 0 while the primary key stands. A number is all that the
-- system sees across tenants. It runs as its owner, who must be above row-level security; with `row_security` off an
-- owner who is not gets an error instead of no rows.
CREATE FUNCTION bff.mfa_attestations_used_twice(since timestamptz) RETURNS bigint
LANGUAGE sql STABLE
SECURITY DEFINER
SET search_path = bff, pg_temp
SET row_security = off
AS $$
    SELECT count(*) FROM (
        SELECT FROM bff.mfa_attestation_uses u
        WHERE u.used_at >= since
        GROUP BY u.tenant_id, u.attestation_id
        HAVING count(DISTINCT u.used_by) > 1) twice
$$;
