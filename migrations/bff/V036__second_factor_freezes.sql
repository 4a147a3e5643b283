-- An attestation that two requests used stops the routes that require one, for every tenant, on every instance, until two
-- people of the platform clear it. Rows of the platform's own tenant, as in `lock_freezes`.
CREATE TABLE bff.second_factor_freezes (
    tenant_id    text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    sequence     bigint      GENERATED ALWAYS AS IDENTITY,
    -- How many were used twice and were not known.
    attestations bigint      NOT NULL CHECK (attestations > 0),
    frozen_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);

SELECT bff.isolate_by_tenant('bff.second_factor_freezes');
SELECT bff.make_append_only('bff.second_factor_freezes');

CREATE TABLE bff.second_factor_unfreeze_requests (
    tenant_id         text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    id                text        NOT NULL,
    reason            text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
    requested_by      text        NOT NULL,
    requested_subject text        NOT NULL,
    requested_at      timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, id, requested_by, requested_subject, expires_at)
);

SELECT bff.isolate_by_tenant('bff.second_factor_unfreeze_requests');
SELECT bff.make_append_only('bff.second_factor_unfreeze_requests');

-- What was approved. Second uses from before are known from then on, and freeze nothing again.
CREATE TABLE bff.second_factor_unfreezes (
    tenant_id         text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    request_id        text        NOT NULL,
    requested_by      text        NOT NULL,
    requested_subject text        NOT NULL,
    expires_at        timestamptz NOT NULL,
    approved_by       text        NOT NULL,
    approved_subject  text        NOT NULL,
    approved_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, request_id),
    FOREIGN KEY (tenant_id, request_id, requested_by, requested_subject, expires_at)
        REFERENCES bff.second_factor_unfreeze_requests
            (tenant_id, id, requested_by, requested_subject, expires_at),
    CONSTRAINT two_people CHECK (approved_by <> requested_by AND approved_subject <> requested_subject),
    CONSTRAINT in_time CHECK (approved_at < expires_at)
);

SELECT bff.isolate_by_tenant('bff.second_factor_unfreezes');
SELECT bff.make_append_only('bff.second_factor_unfreezes');

-- The functions below run as their owner, who must be above row-level security, as those of `lock_freezes`.
CREATE FUNCTION bff.second_uses_known_until() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$ SELECT coalesce(max(approved_at), '-infinity') FROM bff.second_factor_unfreezes $$;

CREATE FUNCTION bff.second_factor_routes_are_frozen() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$
    SELECT EXISTS (SELECT FROM bff.second_factor_freezes WHERE frozen_at > bff.second_uses_known_until())
$$;

-- The changes that a second factor permitted.
CREATE INDEX operator_activity_attested_idx ON bff.operator_activity (occurred_at)
    WHERE outcome = 'requested' AND detail ? 'attestation';

-- Attestations that more than one request used, from two records that different code writes: the uses, whose primary key
-- forbids it, and the activity, which names the attestation of each change before it is sent. Losing the constraint shows
-- in both, code that does not look at it in the second. `unapproved` are those used since the last approval. An attestation
-- that was never issued is not one that was used twice.
CREATE FUNCTION bff.mfa_second_uses(since timestamptz) RETURNS TABLE (used_twice bigint, unapproved bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$
    WITH use AS (
        SELECT u.tenant_id, u.attestation_id, u.used_at AS at, 'use' AS record,
               concat_ws(' ', u.used_by, u.fingerprint) AS request
        FROM bff.mfa_attestation_uses u
        WHERE u.used_at >= since
        UNION ALL
        SELECT m.tenant_id, m.attestation_id, a.occurred_at, 'activity',
               concat_ws(' ', a.operator_id, a.device_id, a.action, a.resource_id, a.detail ->> 'idempotencyKey')
        FROM bff.operator_activity a
        JOIN bff.mfa_attestations m
          ON m.tenant_id = a.tenant_id AND m.attestation_id = a.detail ->> 'attestation'
        WHERE a.occurred_at >= since AND a.outcome = 'requested' AND a.detail ? 'attestation'),
    twice AS (
        SELECT tenant_id, attestation_id, max(at) AS last_use
        FROM use GROUP BY tenant_id, attestation_id, record
        HAVING count(DISTINCT request) > 1)
    SELECT count(DISTINCT (tenant_id, attestation_id)),
           count(DISTINCT (tenant_id, attestation_id)) FILTER (WHERE last_use > bff.second_uses_known_until())
    FROM twice
$$;

CREATE OR REPLACE FUNCTION bff.mfa_attestations_used_twice(since timestamptz) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$ SELECT used_twice FROM bff.mfa_second_uses(since) $$;
