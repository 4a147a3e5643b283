-- Ledgers are only ever inserted into. A trigger says so even to the owner; the runner reads the trigger and grants
-- the service no more than INSERT and SELECT.
CREATE FUNCTION staff.refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '0L000';
END
$$;

CREATE FUNCTION staff.make_append_only(target regclass) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s '
        'FOR EACH ROW EXECUTE FUNCTION staff.refuse_change()', target);
    EXECUTE format(
        'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION staff.refuse_change()', target);
END
$$;
