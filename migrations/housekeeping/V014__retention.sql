-- How long the service keeps what it consumed and published. It calls these functions hourly, each until it answers 0.
-- Each call deletes at most `most` rows and leaves alone what another transaction holds, so that nobody waits long for
-- it. They run as their owner because expiry knows no tenant, and take no condition and no time: the service's role can
-- delete nothing with them that is not past its time. A call answers null when another instance is at it.

CREATE FUNCTION housekeeping.may_sweep() RETURNS boolean
LANGUAGE sql
AS $$ SELECT pg_try_advisory_xact_lock(hashtextextended('housekeeping.sweep-expired', 0)) $$;

-- What was consumed stays known for as long as the event bus may deliver it again (31 days at most). A row without
-- `processed_at` is a failure that nobody has settled yet.
CREATE INDEX inbox_processed_idx ON housekeeping.inbox (processed_at) WHERE processed_at IS NOT NULL;

CREATE FUNCTION housekeeping.sweep_inbox(most integer) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = housekeeping, pg_temp
SET row_security = off
AS $$
DECLARE
    swept bigint;
BEGIN
    IF NOT housekeeping.may_sweep() THEN
        RETURN NULL;
    END IF;
    DELETE FROM housekeeping.inbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM housekeeping.inbox
        WHERE processed_at < now() - interval '31 days'
        ORDER BY processed_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;

-- What was published is kept for a week, for whoever looks into an incident.
CREATE INDEX outbox_published_idx ON housekeeping.outbox (published_at) WHERE published_at IS NOT NULL;

CREATE FUNCTION housekeeping.sweep_outbox(most integer) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = housekeeping, pg_temp
SET row_security = off
AS $$
DECLARE
    swept bigint;
BEGIN
    IF NOT housekeeping.may_sweep() THEN
        RETURN NULL;
    END IF;
    DELETE FROM housekeeping.outbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM housekeeping.outbox
        WHERE published_at < now() - interval '7 days'
        ORDER BY published_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;
