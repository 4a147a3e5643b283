//! The test fixture, a service on a real database, and tests of all routes.

use migrations::Schema;
use migrations::testing::TestDatabase;
use service_kit::testing::fixtures::PROPERTY;
use service_kit::testing::{Harness, assert_committed, contract, prepare_all, statements_in};

use crate::app::SERVICE;

/// Two tenants with a property each. The first is in Kabul, where it is already the 22nd.
const PROPERTIES_SQL: &str = "
    INSERT INTO inventory.properties (tenant_id, id, time_zone) VALUES
        ('tnt_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A', 'Asia/Kabul'),
        ('tnt_01K0000000000000000000000B', 'ppt_01K0000000000000000000000B', 'UTC')";
const NOW: &str = "2026-11-21T20:00:00Z";

pub(crate) struct Fixture {
    pub(crate) harness: Harness,
    pub(crate) database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(Schema::Inventory).await;
        database.run(PROPERTIES_SQL).await;
        let harness = Harness::start(SERVICE, database.url(), NOW.parse().unwrap()).await;
        Self { harness, database }
    }
}

fn routes(property: &str) -> Vec<String> {
    ["availability", "calendar"]
        .map(|path| format!("/api/v1/inventory/properties/{property}/{path}"))
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
        contract::parameters_occur_once(&harness, &route, &["from", "to"]).await;
    }
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
async fn requests_of_a_stalled_database_end() {
    let Fixture { harness, database } = Fixture::new().await;
    let held = database.lock_table("inventory.properties").await;
    contract::ends_requests_of_a_stalled_database(&harness, routes).await;
    held.end().await;
    contract::serves_every_route(&harness, routes).await;
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let database = TestDatabase::create(Schema::Inventory).await;
    prepare_all(database.url(), &SERVICE.maintenance.statements()).await;
    prepare_all(database.url(), &statements_in(env!("CARGO_MANIFEST_DIR"))).await;
}

#[test]
fn the_committed_document_is_the_served_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/openapi/inventory.json");
    assert_committed(path, &SERVICE.document());
}
