-- A month's partition, made the same way by a migration and by the job that rotates them: bounds in UTC, and behind
-- row-level security like its parent, so that naming a partition directly shows nothing more.
CREATE FUNCTION housekeeping.add_month(parent regclass, month date) RETURNS void
LANGUAGE plpgsql
SET timezone = 'UTC'
AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    partition text := format('%s_%s', (SELECT relname FROM pg_class WHERE oid = parent), to_char(first, 'YYYYMM'));
BEGIN
    IF to_regclass(format('housekeeping.%I', partition)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE TABLE housekeeping.%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
        partition, parent, first, (first + interval '1 month')::date);
    PERFORM housekeeping.isolate_by_tenant(format('housekeeping.%I', partition)::regclass);
END
$$;
