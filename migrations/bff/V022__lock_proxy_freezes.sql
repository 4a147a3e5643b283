-- A gap in the ledger of lock actions freezes the lock routes of every tenant, on every instance, until two people of the
-- platform clear it. Rows of the platform's own tenant, as in `admin_audit`.
CREATE TABLE bff.lock_freezes (
    tenant_id text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    sequence  bigint      GENERATED ALWAYS AS IDENTITY,
    -- What was counted: actions, and those with a row before and a row after.
    actions   bigint      NOT NULL,
    complete  bigint      NOT NULL CHECK (complete >= 0),
    frozen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, sequence),
    CONSTRAINT a_gap CHECK (complete < actions)
);

SELECT bff.isolate_by_tenant('bff.lock_freezes');
SELECT bff.make_append_only('bff.lock_freezes');

CREATE TABLE bff.lock_unfreeze_requests (
    tenant_id         text        NOT NULL CHECK (tenant_id = 'tnt_00000000000000000000000000'),
    id                text        NOT NULL,
    reason            text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
    requested_by      text        NOT NULL,
    requested_subject text        NOT NULL,
    requested_at      timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    -- What an approval repeats, so that its own constraints can speak of both people.
    UNIQUE (tenant_id, id, requested_by, requested_subject, expires_at)
);

SELECT bff.isolate_by_tenant('bff.lock_unfreeze_requests');
SELECT bff.make_append_only('bff.lock_unfreeze_requests');

-- What was approved. Gaps from before are known from then on, and freeze nothing again.
CREATE TABLE bff.lock_unfreezes (
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
        REFERENCES bff.lock_unfreeze_requests (tenant_id, id, requested_by, requested_subject, expires_at),
    CONSTRAINT two_people CHECK (approved_by <> requested_by AND approved_subject <> requested_subject),
    CONSTRAINT in_time CHECK (approved_at < expires_at)
);

SELECT bff.isolate_by_tenant('bff.lock_unfreezes');
SELECT bff.make_append_only('bff.lock_unfreezes');

-- The functions below run as their owner, who must be above row-level security: each hotel's transaction asks whether the
-- routes are frozen, and the system asks about all tenants and sees numbers and ids of tenants only.
CREATE FUNCTION bff.lock_gaps_known_until() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$ SELECT coalesce(max(approved_at), '-infinity') FROM bff.lock_unfreezes $$;

CREATE FUNCTION bff.lock_proxy_is_frozen() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$ SELECT EXISTS (SELECT FROM bff.lock_freezes WHERE frozen_at > bff.lock_gaps_known_until()) $$;

CREATE INDEX lock_action_proxy_audit_time_idx ON bff.lock_action_proxy_audit (occurred_at);

-- Of the actions whose rows all stand between the instants: how many there are, and how many have both rows.
CREATE FUNCTION bff.lock_actions_complete(since timestamptz, before timestamptz)
RETURNS TABLE (actions bigint, complete bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$
    SELECT count(*), count(*) FILTER (WHERE is_requested AND is_ended) FROM (
        SELECT bool_or(l.phase <> 'requested') AS is_ended,
               EXISTS (SELECT FROM bff.lock_action_proxy_audit r
                       WHERE r.tenant_id = l.tenant_id AND r.id = l.action_id) AS is_requested
        FROM bff.lock_action_proxy_audit l
        WHERE l.occurred_at > greatest(since, bff.lock_gaps_known_until())
        GROUP BY l.tenant_id, l.action_id
        HAVING min(l.occurred_at) < before) action
$$;

-- Tenants with an action between the instants whose end nobody knows.
CREATE FUNCTION bff.tenants_with_open_lock_actions(since timestamptz, before timestamptz) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$
    SELECT DISTINCT r.tenant_id
    FROM bff.lock_action_proxy_audit r
    WHERE r.phase = 'requested' AND r.occurred_at >= since AND r.occurred_at < before
      AND NOT EXISTS (SELECT FROM bff.lock_action_proxy_audit e
                      WHERE e.tenant_id = r.tenant_id AND e.action_id = r.id
                        AND e.phase IN ('success', 'failure'))
$$;

-- Tenants that have a chain, or should have one. From each to the next, not over every row.
CREATE FUNCTION bff.tenants_with_lock_actions() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bff, pg_temp SET row_security = off
AS $$
    WITH RECURSIVE next(tenant_id) AS (
        SELECT min(tenant_id) FROM bff.lock_action_proxy_audit
        UNION ALL
        SELECT (SELECT min(l.tenant_id) FROM bff.lock_action_proxy_audit l WHERE l.tenant_id > next.tenant_id)
        FROM next WHERE next.tenant_id IS NOT NULL)
    SELECT tenant_id FROM next WHERE tenant_id IS NOT NULL
    UNION
    SELECT tenant_id FROM bff.lock_audit_heads
$$;
