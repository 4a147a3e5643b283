-- How long the gateway keeps what it writes. The service calls these functions hourly, each until it answers 0. Each call
-- deletes at most `most` rows and leaves alone what another transaction holds, so that nobody waits long for it. They run
-- as their owner because expiry knows no tenant, and take no condition and no time: the service's role can delete nothing
-- with them that is not past its time. A call answers null when another instance is at it.
--
-- Kept longer, and never deleted here: the lock audit (7 years), the admin audit, revocations.

CREATE FUNCTION bff.may_sweep() RETURNS boolean
LANGUAGE sql
AS $$ SELECT pg_try_advisory_xact_lock(hashtextextended('bff.sweep-idempotency', 0)) $$;

-- An answer goes when its time is over, 24 hours after completion. A claim is in progress until it is completed; one that
-- nobody took over for a week after its time is abandoned.
CREATE FUNCTION bff.sweep_idempotency(most integer) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = bff, pg_temp
SET row_security = off
AS $$
DECLARE
    swept bigint;
BEGIN
    IF NOT bff.may_sweep() THEN
        RETURN NULL;
    END IF;
    DELETE FROM bff.idempotency WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM bff.idempotency
        WHERE expires_at <= now()
          AND (state = 'completed' OR (expires_at <= now() - interval '7 days' AND lease_expires_at <= now()))
        ORDER BY expires_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;

-- Attestations and their uses stay append-only for 48 hours after they end; then they may be deleted, and still never
-- changed. Only their owner can: the service's role has no right to.
CREATE FUNCTION bff.refuse_change_for_48_hours() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND (to_jsonb(OLD) ->> TG_ARGV[0])::timestamptz < now() - interval '48 hours' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '0L000';
END
$$;

CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON bff.mfa_attestations
FOR EACH ROW EXECUTE FUNCTION bff.refuse_change_for_48_hours('expires_at');

CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON bff.mfa_attestation_uses
FOR EACH ROW EXECUTE FUNCTION bff.refuse_change_for_48_hours('used_at');

CREATE INDEX mfa_attestations_expiry_idx ON bff.mfa_attestations (expires_at);

-- An attestation goes once it is long past any acceptance and the idempotency key of its use has no row: the repeat of a
-- request finds the use for as long as it finds the key. Its use goes with it, in one transaction, so that no attestation
-- is ever seen without the use it had. Answers the attestations deleted.
CREATE FUNCTION bff.sweep_mfa_attestations(most integer) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = bff, pg_temp
SET row_security = off
AS $$
DECLARE
    expired tid[];
BEGIN
    IF NOT bff.may_sweep() THEN
        RETURN NULL;
    END IF;
    expired := ARRAY(
        SELECT a.ctid
        FROM bff.mfa_attestations a
        WHERE a.expires_at < now() - interval '48 hours'
          AND NOT EXISTS (
              SELECT
              FROM bff.mfa_attestation_uses u
              LEFT JOIN bff.idempotency i
                  ON i.tenant_id = u.tenant_id AND i.operator_id = a.operator_id AND i.device_id = a.device_id
                  AND i.idempotency_key = u.used_by
              WHERE u.tenant_id = a.tenant_id AND u.attestation_id = a.attestation_id
                AND (i.tenant_id IS NOT NULL OR u.used_at >= now() - interval '48 hours'))
        ORDER BY a.expires_at
        LIMIT least(most, 1000)
        FOR UPDATE OF a SKIP LOCKED);
    DELETE FROM bff.mfa_attestation_uses u
    USING bff.mfa_attestations a
    WHERE a.ctid = ANY (expired) AND u.tenant_id = a.tenant_id AND u.attestation_id = a.attestation_id;
    DELETE FROM bff.mfa_attestations WHERE ctid = ANY (expired);
    RETURN cardinality(expired);
END
$$;

-- What was consumed stays known for as long as the event bus may deliver it again (31 days at most). A row without
-- `processed_at` is a failure that nobody has settled yet.
CREATE INDEX inbox_processed_idx ON bff.inbox (processed_at) WHERE processed_at IS NOT NULL;

CREATE FUNCTION bff.sweep_inbox(most integer) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = bff, pg_temp
SET row_security = off
AS $$
DECLARE
    swept bigint;
BEGIN
    IF NOT bff.may_sweep() THEN
        RETURN NULL;
    END IF;
    DELETE FROM bff.inbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM bff.inbox
        WHERE processed_at < now() - interval '31 days'
        ORDER BY processed_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;

-- What was published is kept for a week, for whoever looks into an incident.
CREATE INDEX outbox_published_idx ON bff.outbox (published_at) WHERE published_at IS NOT NULL;

CREATE FUNCTION bff.sweep_outbox(most integer) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = bff, pg_temp
SET row_security = off
AS $$
DECLARE
    swept bigint;
BEGIN
    IF NOT bff.may_sweep() THEN
        RETURN NULL;
    END IF;
    DELETE FROM bff.outbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM bff.outbox
        WHERE published_at < now() - interval '7 days'
        ORDER BY published_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;

-- Operator activity is kept 90 days and leaves by month, because its rows are append-only. Each call drops the oldest month
-- that ended 90 days ago or earlier, and answers how many rows the planner thinks it had, at least 1; 0 when there is no
-- such month. It waits a moment for its lock and then fails, rather than keep everybody waiting behind it.
CREATE FUNCTION bff.sweep_operator_activity(most integer) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = bff, pg_temp
SET timezone = 'UTC'
SET row_security = off
SET lock_timeout = '400ms'
AS $$
DECLARE
    expired regclass;
    swept   bigint;
BEGIN
    IF NOT bff.may_sweep() THEN
        RETURN NULL;
    END IF;
    SELECT p.oid::regclass, greatest(p.reltuples, 1)::bigint INTO expired, swept
    FROM pg_inherits i
    JOIN pg_class p ON p.oid = i.inhrelid
    WHERE i.inhparent = 'bff.operator_activity'::regclass AND p.relname ~ '^operator_activity_[0-9]{6}$'
      AND to_date(right(p.relname, 6), 'YYYYMM') + interval '1 month' <= now() - interval '90 days'
    ORDER BY p.relname
    LIMIT 1;
    IF expired IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('DROP TABLE %s', expired);
    RETURN swept;
END
$$;
