-- The horizon of 540 days and the month before; what falls outside lands in the default partition.
SELECT inventory.add_month(
    'inventory.room_type_inventory_daily', (current_date + make_interval(months => n))::date)
FROM generate_series(-1, 18) AS n;
