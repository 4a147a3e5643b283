-- Attempts at a second factor stop counting after minutes and are deleted by the operator's next attempt. Those of an
-- operator who makes no other go after a day, by the same sweep as what else is past its time.
CREATE INDEX mfa_attempts_reserved_idx ON bff.mfa_attempts (reserved_at);

CREATE FUNCTION bff.sweep_mfa_attempts(most integer) RETURNS bigint
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
    DELETE FROM bff.mfa_attempts WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM bff.mfa_attempts
        WHERE reserved_at < now() - interval '24 hours'
        ORDER BY reserved_at
        LIMIT least(most, 1000)
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS swept = ROW_COUNT;
    RETURN swept;
END
$$;
