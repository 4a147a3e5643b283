//! The service on a real database, and what holds for all of its routes.

use migrations::Schema;
use migrations::test_database::TestDatabase;
use service_kit::testing::{Harness, assert_committed, contract, prepare_all};

use crate::app::SERVICE;

/// Two tenants with a property each, which has a department. The first is in Kabul, where the 22nd
/// began half an hour ago.
const PROPERTIES: &str = "
    INSERT INTO staff.properties (tenant_id, id, time_zone) VALUES
        ('tnt_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A', 'Asia/Kabul'),
        ('tnt_01K0000000000000000000000B', 'ppt_01K0000000000000000000000B', 'UTC');
    INSERT INTO staff.departments (tenant_id, id, property_id, name) VALUES
        ('tnt_01K0000000000000000000000A', 'dpt_01K0000000000000000000000A',
         'ppt_01K0000000000000000000000A', 'Front desk'),
        ('tnt_01K0000000000000000000000B', 'dpt_01K0000000000000000000000B',
         'ppt_01K0000000000000000000000B', 'Front desk')";
const NOW: &str = "2026-11-21T20:00:00Z";

pub(crate) struct Fixture {
    pub(crate) harness: Harness,
    pub(crate) database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(Schema::Staff).await;
        database.run(PROPERTIES).await;
        let harness = Harness::start(SERVICE, database.url(), NOW.parse().unwrap()).await;
        Self { harness, database }
    }
}

fn routes(property: &str) -> Vec<String> {
    ["on-duty", "capacity", "shifts", "forecast/staffing-gaps"]
        .map(|path| format!("/api/v1/staff/{path}?propertyId={property}"))
        .into()
}

#[tokio::test]
async fn every_route_keeps_what_all_services_promise() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    contract::every_route_is_named(SERVICE, routes);
    contract::strangers_are_refused(&harness, routes).await;
    contract::tenants_are_apart(&harness, routes).await;
    contract::answers_have_tags(&harness, routes).await;
    contract::unknown_paths_are_problems(&harness).await;
}

#[tokio::test]
async fn a_lost_database_is_said_and_found_again() {
    let Fixture { harness, database } = Fixture::new().await;
    contract::all_is_well(&harness, routes).await;
    database.go_away().await;
    contract::the_loss_of_the_database_is_said(&harness, routes).await;
    database.come_back().await;
    contract::all_is_well(&harness, routes).await;
}

#[tokio::test]
async fn a_property_is_asked_for_by_its_id() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    contract::the_property_is_named(&harness, routes).await;
}

#[tokio::test]
async fn a_stalled_database_keeps_nobody_waiting() {
    let Fixture { harness, database } = Fixture::new().await;
    let stall = database.stall("staff.departments").await;
    contract::nobody_waits_for_a_stalled_database(&harness, routes).await;
    stall.end().await;
    contract::all_is_well(&harness, routes).await;
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let database = TestDatabase::create(Schema::Staff).await;
    prepare_all(database.url(), &crate::statements()).await;
}

#[test]
fn the_committed_document_is_the_served_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/openapi/staff.json");
    assert_committed(path, &SERVICE.document());
}
