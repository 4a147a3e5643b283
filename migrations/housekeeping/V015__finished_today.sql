-- The instant at which a day begins in a time zone. `AT TIME ZONE` alone takes the second midnight where the clocks are
-- set back to 00:00 and it comes twice; the day begins with the first.
CREATE FUNCTION housekeeping.start_of_day(day date, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT min(at)
    FROM (SELECT day::timestamp AT TIME ZONE time_zone) midnight (last),
         LATERAL (VALUES (last), (last - interval '30 minutes'), (last - interval '1 hour')) candidate (at)
    WHERE at = last OR (at AT TIME ZONE time_zone)::date = day
$$;

-- What was finished today is counted by when it was finished, not by when the task was made: a turnover made at 23:20 and
-- finished at 08:30 is work of the second day. Where a closed task has no `ended_at`, the time its room got ready stands in
-- for it, and without that the time it was made. `housekeeping_tasks_made_idx` serves the release before this one.
CREATE INDEX housekeeping_tasks_finished_idx
    ON housekeeping.housekeeping_tasks (tenant_id, property_id, (coalesce(ended_at, room_ready_at, created_at)))
    WHERE status IN ('completed', 'failed', 'cancelled');
