-- Rows of a month without a partition of its own land in the default partition, and Postgres refuses to make the month
-- while they are there. This version of `add_month` moves them into the new partition. The default partition is detached
-- for that: detached, it has no append-only trigger, and nothing but this transaction can reach it. Everybody else waits
-- for the lock on the parent, and afterwards finds each row in exactly one partition.
--
-- It runs with the rights of its caller, and the service's role may not make tables: only a migration and
-- `make_next_month` get anything done with it.
CREATE OR REPLACE FUNCTION bff.add_month(parent regclass, month date) RETURNS void
LANGUAGE plpgsql
SET timezone = 'UTC'
SET row_security = off
AS $$
DECLARE
    first     date := date_trunc('month', month)::date;
    past      date := (first + interval '1 month')::date;
    partition text := format('bff.%I', (SELECT relname FROM pg_class WHERE oid = parent)
                                    || to_char(first, '_YYYYMM'));
    fallback  regclass;
    is_month  text;
    columns   text;
    is_held   boolean;
    copied    bigint;
    removed   bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('bff.add_month', parent::oid::bigint));
    IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = parent AND inhrelid = to_regclass(partition)) THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent);

    SELECT p.partdefid::regclass, format('%1$I >= %2$L AND %1$I < %3$L', a.attname, first, past)
    INTO STRICT fallback, is_month
    FROM pg_partitioned_table p
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = parent;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %s)', fallback, is_month) INTO is_held;

    IF is_held THEN
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, fallback);
    END IF;
    EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%L) TO (%L)', partition, parent, first, past);
    PERFORM bff.isolate_by_tenant(partition::regclass);
    IF NOT is_held THEN
        RETURN;
    END IF;

    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO STRICT columns
    FROM pg_attribute
    WHERE attrelid = parent AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM %s WHERE %s',
                   partition, columns, fallback, is_month);
    GET DIAGNOSTICS copied = ROW_COUNT;
    EXECUTE format('DELETE FROM %s WHERE %s', fallback, is_month);
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF copied <> removed THEN
        RAISE EXCEPTION '% rows were copied to % and % removed from %', copied, partition, removed, fallback;
    END IF;
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s DEFAULT', parent, fallback);
END
$$;

-- Makes one month that is missing, and answers its partition; null when none is missing, or when another instance is
-- making one. Wanted are the last month, this one and the next four, and any month up to then that the default partition
-- holds rows of. The service calls it at start and hourly until it answers null. It takes no argument, so that the
-- service's role, which may not make tables, can have no table made but these.
--
-- It waits a moment for its lock and then fails, rather than keep everybody waiting behind it.
CREATE FUNCTION bff.make_next_month() RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = bff, pg_temp
SET timezone = 'UTC'
SET row_security = off
SET lock_timeout = '400ms'
AS $$
DECLARE
    wanted date;
    latest date := (date_trunc('month', now()) + interval '4 months')::date;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('bff.make-months', 0)) THEN
        RETURN NULL;
    END IF;
    SELECT month INTO wanted FROM (
        SELECT generate_series(date_trunc('month', now()) - interval '1 month', latest, '1 month')::date AS month
        UNION
        SELECT date_trunc('month', occurred_at)::date FROM bff.operator_activity_default
        WHERE occurred_at >= '1970-01-01' AND occurred_at < latest + interval '1 month') months
    WHERE to_regclass('bff.operator_activity' || to_char(month, '_YYYYMM')) IS NULL
    ORDER BY month
    LIMIT 1;
    IF wanted IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM bff.add_month('bff.operator_activity', wanted);
    RETURN 'operator_activity' || to_char(wanted, '_YYYYMM');
END
$$;

-- For each table with a partition per month: rows in its default partition (counted up to 100,000), which should be none,
-- and how many months after this one have a partition. Numbers are all that the service sees across tenants.
CREATE FUNCTION bff.partition_state() RETURNS TABLE (parent text, default_rows bigint, months_ahead bigint)
LANGUAGE sql STABLE
SECURITY DEFINER
SET search_path = bff, pg_temp
SET timezone = 'UTC'
SET row_security = off
AS $$
    SELECT 'operator_activity',
           (SELECT count(*) FROM (SELECT FROM bff.operator_activity_default LIMIT 100000) held),
           (SELECT count(*) FROM generate_series(1, 120) n
            WHERE to_regclass('bff.operator_activity'
                              || to_char(now() + make_interval(months => n), '_YYYYMM')) IS NOT NULL)
$$;
