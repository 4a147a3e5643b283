-- What was taken back: a session, a device, an operator or a tenant as a whole, for tokens issued up to `revoked_at`.
-- Every instance of the gateway follows the rows of all tenants in the order of `sequence`. `cause` is what made the
-- row (an event's id, or a digest of the order), so that the same cause told twice is one row.
CREATE TABLE bff.revocations (
    tenant_id   text        NOT NULL,
    sequence    bigint      NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('session', 'device', 'operator', 'tenant')),
    target_id   text        NOT NULL,
    revoked_at  timestamptz NOT NULL,
    reason      text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
    cause       text        NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind, target_id, cause),
    CONSTRAINT a_tenant_revokes_itself CHECK (kind <> 'tenant' OR target_id = tenant_id)
);

CREATE UNIQUE INDEX revocations_sequence_idx ON bff.revocations (sequence);

CREATE SEQUENCE bff.revocations_sequence;

-- The number is drawn under a lock that is held until the commit: rows become visible in the order of their numbers,
-- so that whoever asks for what follows the last number they saw misses none. The definer draws it, not the service.
CREATE FUNCTION bff.number_revocation() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = bff, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('bff.revocations', 0));
    NEW.sequence := nextval('bff.revocations_sequence');
    RETURN NEW;
END
$$;

CREATE TRIGGER number_revocation BEFORE INSERT ON bff.revocations
FOR EACH ROW EXECUTE FUNCTION bff.number_revocation();

SELECT bff.isolate_by_tenant('bff.revocations');
SELECT bff.make_append_only('bff.revocations');

-- The system's view across tenants, and its only one: ids and times, read-only. It runs as its owner, who must be
-- above row-level security; with `row_security` off an owner who is not gets an error instead of no rows.
CREATE FUNCTION bff.revocations_after(last bigint, recorded_since timestamptz)
RETURNS TABLE (sequence bigint, tenant_id text, kind text, target_id text,
               revoked_at timestamptz, reason text, recorded_at timestamptz)
LANGUAGE sql STABLE
SECURITY DEFINER
SET search_path = bff, pg_temp
SET row_security = off
AS $$
    SELECT r.sequence, r.tenant_id, r.kind, r.target_id, r.revoked_at, r.reason, r.recorded_at
    FROM bff.revocations r
    WHERE r.sequence > last AND r.recorded_at >= recorded_since
    ORDER BY r.sequence
$$;
