-- The months in use and the next three; what falls outside lands in the default partition.
SELECT bff.add_month('bff.operator_activity', (current_date + make_interval(months => n))::date)
FROM generate_series(-1, 3) AS n;
