-- Whether a tenant may work, as tenant-service says: each statement is one row, and of a tenant's the one of the latest
-- `stated_at` holds, in whatever order they come. Every instance of the gateway follows the rows of all tenants in the
-- order of `sequence`. `cause` is the event's id, so that one told twice is one row.
CREATE TABLE bff.tenant_standings (
    tenant_id   text        NOT NULL,
    sequence    bigint      NOT NULL,
    suspended   boolean     NOT NULL,
    stated_at   timestamptz NOT NULL,
    reason      text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
    cause       text        NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, cause)
);

CREATE UNIQUE INDEX tenant_standings_sequence_idx ON bff.tenant_standings (sequence);

CREATE SEQUENCE bff.tenant_standings_sequence;

-- Drawn under a lock that is held until the commit, as for revocations: rows become visible in the order of their
-- numbers. The definer draws it, not the service.
CREATE FUNCTION bff.number_tenant_standing() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = bff, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('bff.tenant_standings', 0));
    NEW.sequence := nextval('bff.tenant_standings_sequence');
    RETURN NEW;
END
$$;

CREATE TRIGGER number_tenant_standing BEFORE INSERT ON bff.tenant_standings
FOR EACH ROW EXECUTE FUNCTION bff.number_tenant_standing();

SELECT bff.isolate_by_tenant('bff.tenant_standings');
SELECT bff.make_append_only('bff.tenant_standings');

-- The system's view across tenants, read-only: who is suspended and since when, and no more. With `row_security` off an
-- owner who is not above row-level security gets an error instead of no rows.
CREATE FUNCTION bff.tenant_standings_after(last bigint)
RETURNS TABLE (sequence bigint, tenant_id text, suspended boolean, stated_at timestamptz)
LANGUAGE sql STABLE
SECURITY DEFINER
SET search_path = bff, pg_temp
SET row_security = off
AS $$
    SELECT s.sequence, s.tenant_id, s.suspended, s.stated_at
    FROM bff.tenant_standings s
    WHERE s.sequence > last
    ORDER BY s.sequence
$$;
