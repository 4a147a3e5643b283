use serde_json::{Value, json};
use service_kit::testing::Harness;
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};

use crate::tests::Fixture;

async fn fetch(harness: &Harness) -> Value {
    let path = format!("/api/v1/staff/on-duty?propertyId={PROPERTY}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await.ok()
}

/// It is 20:00 UTC of the 21st. Ids end in a letter; `here` is the requested property.
pub(crate) const PEOPLE_SQL: &str = "
    CREATE TEMPORARY TABLE ids AS SELECT 'tnt_01K0000000000000000000000A' AS tenant,
        'ppt_01K0000000000000000000000A' AS here, 'ppt_01K0000000000000000000000D' AS sister;
    CREATE FUNCTION pg_temp.id(kind text, letter text) RETURNS text LANGUAGE sql
        AS $$ SELECT kind || '_01K0000000000000000000000' || letter $$;
    INSERT INTO staff.departments (tenant_id, id, property_id, name)
    SELECT tenant, pg_temp.id('dpt', letter), CASE property WHEN 'here' THEN here ELSE sister END, name
    FROM ids, (VALUES ('C', 'here', 'Bell'), ('D', 'sister', 'Laundry'), ('E', 'sister', 'Bar'))
        AS d (letter, property, name);
    INSERT INTO staff.positions (tenant_id, id, department_id, name)
    SELECT tenant, pg_temp.id('pos', letter), pg_temp.id('dpt', letter), name
    FROM ids, (VALUES ('A', 'Receptionist'), ('C', 'Porter'), ('D', 'Presser')) AS p (letter, name);
    INSERT INTO staff.staff (tenant_id, id, position_id, display_name, status)
    SELECT tenant, pg_temp.id('stf', letter), pg_temp.id('pos', position), name, status
    FROM ids, (VALUES ('A', 'A', 'Ann', 'active'), ('B', 'A', 'Ben', 'active'), ('C', 'A', 'Cem', 'active'),
                        ('D', 'D', 'Dia', 'active'), ('E', 'A', 'Eli', 'terminated'), ('F', 'A', 'Fay', 'active'))
        AS s (letter, position, name, status);
    -- Ann came, left and came again; Ben left; Cem moved to the sister property; Dia is on loan from
    -- there; Eli never clocked out and is gone; Fay's device is a day ahead.
    INSERT INTO staff.clock_entries (tenant_id, id, staff_id, property_id, direction, punched_at)
    SELECT tenant, pg_temp.id('clk', letter), pg_temp.id('stf', person),
           CASE property WHEN 'here' THEN here ELSE sister END, direction, at::timestamptz
    FROM ids, (VALUES
        ('1', 'A', 'here', 'in', '2026-11-21 06:00Z'), ('2', 'A', 'here', 'out', '2026-11-21 10:00Z'),
        ('3', 'A', 'here', 'in', '2026-11-21 16:00Z'),
        ('4', 'B', 'here', 'in', '2026-11-21 06:00Z'), ('5', 'B', 'here', 'out', '2026-11-21 14:00Z'),
        ('6', 'C', 'here', 'in', '2026-11-21 06:00Z'), ('7', 'C', 'sister', 'in', '2026-11-21 12:00Z'),
        ('8', 'D', 'here', 'in', '2026-11-21 15:00Z'), ('9', 'E', 'here', 'in', '2026-11-21 06:00Z'),
        ('F', 'F', 'here', 'in', '2026-11-22 16:00Z')) AS c (letter, person, property, direction, at);
    INSERT INTO staff.shifts (tenant_id, id, property_id, position_id, starts_at, ends_at, status)
    SELECT tenant, pg_temp.id('shf', letter), here, pg_temp.id('pos', position), begins::timestamptz,
           ends::timestamptz, status
    FROM ids, (VALUES
        ('A', 'A', '2026-11-21 14:00Z', '2026-11-21 22:00Z', 'in_progress'),
        ('B', 'A', '2026-11-21 06:00Z', '2026-11-21 20:00Z', 'in_progress'),
        ('C', 'A', '2026-11-21 20:00Z', '2026-11-22 04:00Z', 'scheduled'),
        ('D', 'C', '2026-11-21 14:00Z', '2026-11-21 22:00Z', 'cancelled')) AS s (letter, position, begins, ends, status);
    -- Running: shift A with a primary and a standby, and shift C, which begins now. B ends now.
    INSERT INTO staff.shift_assignments (tenant_id, id, shift_id, staff_id, kind, starts_at, ends_at)
    SELECT tenant, pg_temp.id('sha', letter), shift.id, pg_temp.id('stf', person), kind, starts_at, ends_at
    FROM ids, (VALUES ('A', 'A', 'A', 'primary'), ('B', 'A', 'B', 'standby'), ('C', 'B', 'B', 'primary'),
                        ('D', 'C', 'C', 'primary'), ('E', 'D', 'D', 'primary')) AS a (letter, shift, person, kind)
    JOIN staff.shifts AS shift ON shift.id = pg_temp.id('shf', a.shift)";

fn present(letter: char, name: &str, position: &str, since: &str) -> Value {
    json!({"staffId": format!("stf_01K0000000000000000000000{letter}"), "displayName": name,
           "position": position, "since": since})
}

#[tokio::test]
async fn the_last_punch_decides_who_is_present() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(PEOPLE_SQL).await;
    assert_eq!(
        fetch(&harness).await,
        json!({
            "propertyId": PROPERTY,
            "asOf": "2026-11-21T20:00:00.000Z",
            "departments": [
                {"department": "Bell", "scheduled": 0, "present": []},
                {"department": "Front desk", "scheduled": 2, "present":
                    [present('A', "Ann", "Receptionist", "2026-11-21T16:00:00.000Z")]},
                {"department": "Laundry", "scheduled": 0, "present":
                    [present('D', "Dia", "Presser", "2026-11-21T15:00:00.000Z")]},
            ],
        })
    );
}
