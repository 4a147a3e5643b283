//! The test fixture, a service on a real database, and tests of all routes.

use migrations::Schema;
use migrations::testing::TestDatabase;
use service_kit::testing::fixtures::PROPERTY;
use service_kit::testing::{Harness, assert_committed, contract, prepare_all, statements_in};

use crate::app::SERVICE;

/// Two tenants with a property each. The first is in Kabul, where the 22nd began half an hour ago.
const PROPERTIES_SQL: &str = "
    INSERT INTO housekeeping.properties (tenant_id, id, time_zone) VALUES
        ('tnt_01K0000000000000000000000A', 'ppt_01K0000000000000000000000A', 'Asia/Kabul'),
        ('tnt_01K0000000000000000000000B', 'ppt_01K0000000000000000000000B', 'UTC')";
const NOW: &str = "2026-11-21T20:00:00Z";

pub(crate) struct Fixture {
    pub(crate) harness: Harness,
    pub(crate) database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(Schema::Housekeeping).await;
        database.run(PROPERTIES_SQL).await;
        let harness = Harness::start(SERVICE, database.url(), NOW.parse().unwrap()).await;
        Self { harness, database }
    }

    /// The service on the same database at another time.
    pub(crate) async fn at(&self, now: &str) -> Harness {
        Harness::start(SERVICE, self.database.url(), now.parse().unwrap()).await
    }
}

/// A room of the first tenant.
const ROOM_SQL: &str = "
    INSERT INTO housekeeping.rooms (tenant_id, id, property_id, number, floor, created_at) VALUES
        ('tnt_01K0000000000000000000000A', 'rom_01K0000000000000000000000A',
         'ppt_01K0000000000000000000000A', '101', 1, '2026-01-01Z')";

impl Fixture {
    /// With a room without a status.
    pub(crate) async fn with_room() -> Self {
        let fixture = Self::new().await;
        fixture.database.run(ROOM_SQL).await;
        fixture
    }
}

/// Every read; those of rooms name the room of the property, or one that does not exist.
fn reads(property: &str) -> Vec<String> {
    let room = if property == PROPERTY { 'A' } else { 'Z' };
    let status = format!("/api/v1/housekeeping/rooms/rom_01K0000000000000000000000{room}/status");
    routes(property).into_iter().chain([status]).collect()
}

/// The reads that name the property in the query.
fn routes(property: &str) -> Vec<String> {
    ["summary", "board", "rooms/status"]
        .map(|path| format!("/api/v1/housekeeping/{path}?propertyId={property}"))
        .into()
}

#[tokio::test]
async fn every_route_keeps_the_contract_of_all_services() {
    let Fixture { harness, database: _database } = Fixture::with_room().await;
    contract::covers_every_route(SERVICE, reads);
    contract::rejects_unauthenticated(&harness, reads).await;
    contract::isolates_tenants(&harness, reads).await;
    contract::answers_conditional_requests(&harness, reads).await;
    for route in routes(PROPERTY) {
        contract::parameters_occur_once(&harness, &route, &["propertyId"]).await;
    }
    contract::unknown_paths_are_problems(&harness).await;
}

#[tokio::test]
async fn an_unavailable_database_is_reported_until_it_returns() {
    let Fixture { harness, database } = Fixture::with_room().await;
    contract::serves_every_route(&harness, reads).await;
    database.go_away().await;
    contract::reports_database_down(&harness, reads).await;
    database.come_back().await;
    contract::serves_every_route(&harness, reads).await;
}

#[tokio::test]
async fn reads_require_a_property_id() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    contract::requires_property_id(&harness, routes).await;
}

#[tokio::test]
async fn requests_of_a_stalled_database_end() {
    let Fixture { harness, database } = Fixture::new().await;
    let held = database.lock_table("housekeeping.properties").await;
    contract::ends_requests_of_a_stalled_database(&harness, routes).await;
    held.end().await;
    contract::serves_every_route(&harness, routes).await;
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let database = TestDatabase::create(Schema::Housekeeping).await;
    prepare_all(database.url(), &SERVICE.maintenance.statements()).await;
    prepare_all(database.url(), &statements_in(env!("CARGO_MANIFEST_DIR"))).await;
}

#[test]
fn the_committed_document_is_the_served_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/openapi/housekeeping.json");
    assert_committed(path, &SERVICE.document());
}
