use serde_json::{Value, json};
use service_kit::testing::Harness;
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};

use crate::tests::Fixture;

async fn fetch(harness: &Harness) -> Value {
    let path = format!("/api/v1/staff/forecast/staffing-gaps?propertyId={PROPERTY}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await.ok()
}

/// It is 20:00 UTC, half past midnight at the property. The fixture has the department Front desk.
const PLAN_SQL: &str = "
    CREATE TEMPORARY TABLE ids AS SELECT 'tnt_01K0000000000000000000000A' AS tenant,
        'ppt_01K0000000000000000000000A' AS here;
    CREATE FUNCTION pg_temp.id(kind text, letter text) RETURNS text LANGUAGE sql
        AS $$ SELECT kind || '_01K0000000000000000000000' || letter $$;
    INSERT INTO staff.departments (tenant_id, id, property_id, name)
    SELECT tenant, pg_temp.id('dpt', 'C'), here, 'Bell' FROM ids;
    INSERT INTO staff.positions (tenant_id, id, department_id, name)
    SELECT tenant, pg_temp.id('pos', letter), pg_temp.id('dpt', letter), letter
    FROM ids, (VALUES ('A'), ('C')) AS p (letter);
    INSERT INTO staff.staff (tenant_id, id, position_id, display_name, status)
    SELECT tenant, pg_temp.id('stf', letter), pg_temp.id('pos', 'A'), letter, status
    FROM ids, (VALUES ('A', 'active'), ('B', 'active'), ('C', 'pending_invite'), ('L', 'on_leave'),
                        ('T', 'terminated')) AS s (letter, status);
    INSERT INTO staff.shifts (tenant_id, id, property_id, position_id, starts_at, ends_at, status, required)
    SELECT tenant, pg_temp.id('shf', letter), here, pg_temp.id('pos', position), begins::timestamptz,
           ends::timestamptz, status, required
    FROM ids, (VALUES
        -- Over before this hour; ends within it, one short; follows, with one too many.
        ('1', 'A', '2026-11-21 11:30Z', '2026-11-21 19:30Z', 'in_progress', 9),
        ('2', 'A', '2026-11-21 14:00Z', '2026-11-21 20:00Z', 'in_progress', 2),
        ('3', 'A', '2026-11-21 20:00Z', '2026-11-22 04:00Z', 'scheduled', 1),
        -- Those who are assigned will not come.
        ('4', 'A', '2026-11-22 06:00Z', '2026-11-22 14:00Z', 'scheduled', 2),
        -- Will not take place; begins a day from this hour.
        ('5', 'C', '2026-11-22 10:00Z', '2026-11-22 12:00Z', 'cancelled', 5),
        ('6', 'C', '2026-11-22 19:30Z', '2026-11-22 23:00Z', 'scheduled', 5))
        AS s (letter, position, begins, ends, status, required);
    INSERT INTO staff.shift_assignments (tenant_id, id, shift_id, staff_id, kind, status, starts_at, ends_at)
    SELECT tenant, pg_temp.id('sha', letter), shift.id, pg_temp.id('stf', person), kind, a.status, starts_at, ends_at
    FROM ids, (VALUES
        ('1', '2', 'A', 'primary', 'assigned'), ('2', '3', 'B', 'primary', 'assigned'),
        ('3', '3', 'C', 'primary', 'assigned'), ('4', '4', 'L', 'primary', 'assigned'),
        ('5', '4', 'T', 'primary', 'assigned'), ('6', '4', 'A', 'standby', 'assigned'),
        ('7', '4', 'B', 'primary', 'unassigned')) AS a (letter, shift, person, kind, status)
    JOIN staff.shifts AS shift ON shift.id = pg_temp.id('shf', a.shift)";

/// When the numbers of a department change: needed, scheduled, missing.
fn changes(department: &Value) -> Vec<(&str, [u64; 3])> {
    let hours = department["hours"].as_array().unwrap();
    assert_eq!(hours.len(), 24);
    let numbers = |hour: &Value| {
        ["required", "scheduled", "missing"].map(|number| hour[number].as_u64().unwrap())
    };
    let mut changes: Vec<_> =
        hours.iter().map(|hour| (hour["startsAt"].as_str().unwrap(), numbers(hour))).collect();
    changes.dedup_by_key(|(_, numbers)| *numbers);
    changes
}

#[tokio::test]
async fn each_shift_lacks_its_own_people_in_every_hour_it_touches() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(PLAN_SQL).await;
    let body = fetch(&harness).await;
    assert_eq!(body["degraded"], true, "nobody forecasts who will be needed");
    let names: Vec<_> =
        body["departments"].as_array().unwrap().iter().map(|one| &one["department"]).collect();
    assert_eq!(names, ["Bell", "Front desk"]);
    assert_eq!(changes(&body["departments"][0]), [("2026-11-21T19:30:00.000Z", [0, 0, 0])]);
    assert_eq!(
        changes(&body["departments"][1]),
        [
            ("2026-11-21T19:30:00.000Z", [3, 3, 1]),
            ("2026-11-21T20:30:00.000Z", [1, 2, 0]),
            ("2026-11-22T04:30:00.000Z", [0, 0, 0]),
            ("2026-11-22T05:30:00.000Z", [2, 0, 2]),
            ("2026-11-22T14:30:00.000Z", [0, 0, 0]),
        ]
    );
}

#[tokio::test]
async fn a_property_without_departments_has_none() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run("DELETE FROM staff.departments").await;
    assert_eq!(fetch(&harness).await["departments"], json!([]));
}
