-- The instant at which a day begins in a time zone. `AT TIME ZONE` alone takes the second midnight where the clocks are
-- set back to 00:00 and it comes twice; the day begins with the first.
CREATE FUNCTION staff.start_of_day(day date, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT min(at)
    FROM (SELECT day::timestamp AT TIME ZONE time_zone) midnight (last),
         LATERAL (VALUES (last), (last - interval '30 minutes'), (last - interval '1 hour')) candidate (at)
    WHERE at = last OR (at AT TIME ZONE time_zone)::date = day
$$;
