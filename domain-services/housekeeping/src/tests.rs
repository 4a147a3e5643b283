//! The service on a real database, and what holds for all of its routes.

use migrations::Schema;
use migrations::test_database::TestDatabase;
use service_kit::testing::world::PROPERTY;
use service_kit::testing::{Harness, assert_committed, contract, prepare_all};

use crate::app::SERVICE;

/// Two tenants with a property each. The first is in Kabul, where the 22nd began half an hour ago.
const PROPERTIES: &str = "
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
        database.run(PROPERTIES).await;
        let harness = Harness::start(SERVICE, database.url(), NOW.parse().unwrap()).await;
        Self { harness, database }
    }

    /// The service on the same database at another time.
    pub(crate) async fn at(&self, now: &str) -> Harness {
        Harness::start(SERVICE, self.database.url(), now.parse().unwrap()).await
    }
}

/// A room of the first tenant's.
const ROOM: &str = "
    INSERT INTO housekeeping.rooms (tenant_id, id, property_id, number, floor, created_at) VALUES
        ('tnt_01K0000000000000000000000A', 'rom_01K0000000000000000000000A',
         'ppt_01K0000000000000000000000A', '101', 1, '2026-01-01Z')";

impl Fixture {
    /// With a room that nobody touched yet.
    pub(crate) async fn with_room() -> Self {
        let fixture = Self::new().await;
        fixture.database.run(ROOM).await;
        fixture
    }
}

/// Every read; those of rooms ask for the room of the property, or for one that nobody has.
fn reads(property: &str) -> Vec<String> {
    let room = if property == PROPERTY { 'A' } else { 'Z' };
    let status = format!("/api/v1/housekeeping/rooms/rom_01K0000000000000000000000{room}/status");
    routes(property).into_iter().chain([status]).collect()
}

/// Those that name the property in the query.
fn routes(property: &str) -> Vec<String> {
    ["summary", "board", "rooms/status"]
        .map(|path| format!("/api/v1/housekeeping/{path}?propertyId={property}"))
        .into()
}

#[tokio::test]
async fn every_route_keeps_what_all_services_promise() {
    let Fixture { harness, database: _database } = Fixture::with_room().await;
    contract::every_route_is_named(SERVICE, reads);
    contract::strangers_are_refused(&harness, reads).await;
    contract::tenants_are_apart(&harness, reads).await;
    contract::answers_have_tags(&harness, reads).await;
    contract::unknown_paths_are_problems(&harness).await;
}

#[tokio::test]
async fn a_lost_database_is_said_and_found_again() {
    let Fixture { harness, database } = Fixture::with_room().await;
    contract::all_is_well(&harness, reads).await;
    database.go_away().await;
    contract::the_loss_of_the_database_is_said(&harness, reads).await;
    database.come_back().await;
    contract::all_is_well(&harness, reads).await;
}

#[tokio::test]
async fn a_property_is_asked_for_by_its_id() {
    let Fixture { harness, database: _database } = Fixture::new().await;
    contract::the_property_is_named(&harness, routes).await;
}

#[tokio::test]
async fn a_stalled_database_keeps_nobody_waiting() {
    let Fixture { harness, database } = Fixture::new().await;
    let stall = database.stall("housekeeping.properties").await;
    contract::nobody_waits_for_a_stalled_database(&harness, routes).await;
    stall.end().await;
    contract::all_is_well(&harness, routes).await;
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let database = TestDatabase::create(Schema::Housekeeping).await;
    prepare_all(database.url(), &crate::statements()).await;
}

#[test]
fn the_committed_document_is_the_served_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/openapi/housekeeping.json");
    assert_committed(path, &SERVICE.document());
}
