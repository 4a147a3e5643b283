//! The test fixture, a service on a real database, and tests of all routes.

use migrations::Schema;
use migrations::testing::TestDatabase;
use service_kit::testing::fixtures::PROPERTY;
use service_kit::testing::{Harness, assert_committed, contract, prepare_all, statements_in};

use crate::app::SERVICE;
use crate::{capacity, on_duty};

/// Two tenants with a property each, which has a department. The first is in Kabul, where the 22nd
/// began half an hour ago.
const PROPERTIES_SQL: &str = "
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
        database.run(PROPERTIES_SQL).await;
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
async fn every_route_keeps_the_contract_of_all_services() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    contract::covers_every_route(SERVICE, routes);
    contract::rejects_unauthenticated(&harness, routes).await;
    contract::isolates_tenants(&harness, routes).await;
    contract::answers_conditional_requests(&harness, routes).await;
    for route in routes(PROPERTY) {
        contract::parameters_occur_once(&harness, &route, &["propertyId"]).await;
    }
    let shifts = format!("/api/v1/staff/shifts?propertyId={PROPERTY}");
    contract::parameters_occur_once(&harness, &shifts, &["date"]).await;
    contract::unknown_paths_are_problems(&harness).await;
}

#[tokio::test]
async fn an_unavailable_database_is_reported_until_it_returns() {
    let Fixture { harness, database } = Fixture::new().await;
    contract::serves_every_route(&harness, routes).await;
    database.go_away().await;
    contract::reports_database_down(&harness, routes).await;
    database.come_back().await;
    contract::serves_every_route(&harness, routes).await;
}

#[tokio::test]
async fn reads_require_a_property_id() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    contract::requires_property_id(&harness, routes).await;
}

#[tokio::test]
async fn requests_of_a_stalled_database_end() {
    let Fixture { harness, database } = Fixture::new().await;
    let held = database.lock_table("staff.departments").await;
    contract::ends_requests_of_a_stalled_database(&harness, routes).await;
    held.end().await;
    contract::serves_every_route(&harness, routes).await;
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let database = TestDatabase::create(Schema::Staff).await;
    prepare_all(database.url(), &SERVICE.maintenance.statements()).await;
    prepare_all(database.url(), &statements_in(env!("CARGO_MANIFEST_DIR"))).await;
    let composed = [on_duty::ON_DUTY_SQL, capacity::CAPACITY_SQL].map(str::to_owned);
    prepare_all(database.url(), &composed).await;
}

#[test]
fn the_committed_document_is_the_served_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/openapi/staff.json");
    assert_committed(path, &SERVICE.document());
}
