use serde_json::{Value, json};
use service_kit::testing::Harness;
use service_kit::testing::fixtures::{PROPERTY, TENANT, operator};

use crate::on_duty::tests::PEOPLE_SQL;
use crate::tests::Fixture;

async fn fetch(harness: &Harness) -> Value {
    let path = format!("/api/v1/staff/capacity?propertyId={PROPERTY}");
    harness.get(&path).by(&operator(TENANT, &[PROPERTY])).send().await.ok()
}

fn position(name: &str, required: u32, scheduled: u32, present: u32) -> Value {
    json!({"position": name, "required": required, "scheduled": scheduled, "present": present})
}

#[tokio::test]
async fn it_counts_people_required_scheduled_and_present() {
    let Fixture { harness, database } = Fixture::new().await;
    database.run(PEOPLE_SQL).await;
    // Of the four, two run now: one that needs three, and one that needs one.
    database
        .run("UPDATE staff.shifts SET required = 3 WHERE starts_at = '2026-11-21 14:00Z'")
        .await;
    assert_eq!(
        fetch(&harness).await,
        json!({
            "propertyId": PROPERTY,
            "asOf": "2026-11-21T20:00:00.000Z",
            "departments": [
                {"department": "Bell", "positions": [position("Porter", 0, 0, 0)]},
                {"department": "Front desk", "positions": [position("Receptionist", 4, 2, 1)]},
                {"department": "Laundry", "positions": [position("Presser", 0, 0, 1)]},
            ],
        })
    );
}

#[tokio::test]
async fn a_department_without_positions_is_named_all_the_same() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    let departments = fetch(&harness).await["departments"].take();
    assert_eq!(departments, json!([{"department": "Front desk", "positions": []}]));
}
