//! Query parameters of every read, wrong in the ways that a query can be: the problem names the
//! parameter and says in plain words what to send.

use contracts::id::FolioId;
use serde_json::Value;

use crate::http::endpoints::ENDPOINTS;
use crate::tests::answers::ReadFixture;
use crate::tests::call::TestCall;
use crate::tests::fixture::{BASE, Fixture};
use crate::tests::test_gateway::{TestGateway, fresh};

const INVALID: &str = "MELMASTOON.GENERAL.VALIDATION_FAILED";
/// Words of a library, or of the language the gateway is written in.
const RIDDLES: [&str; 6] =
    ["deserialize", "duplicate field", "missing field", "u16", "u64", "struct"];

fn get(gateway: &TestGateway, path: impl Into<String>) -> TestCall<'_> {
    gateway.get(path).role("property.gm")
}

/// Each read and a parameter that its document lists.
fn parameters() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&crate::http::openapi::json()).unwrap();
    let reads = ENDPOINTS.iter().filter(|endpoint| endpoint.method == "get");
    let of = |path: &str| {
        let listed = document["paths"][format!("{BASE}{path}")]["get"]["parameters"].clone();
        let listed = listed.as_array().cloned().unwrap_or_default();
        let in_query = listed.into_iter().filter(|parameter| parameter["in"] == "query");
        in_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let named =
        reads.flat_map(|read| of(read.path).into_iter().map(|name| (read.path.into(), name)));
    named.collect()
}

#[tokio::test]
async fn a_parameter_that_occurs_twice_is_named() {
    let fixture = ReadFixture::open().await;
    let all = parameters();
    for name in ["propertyId", "from", "to", "date", "limit", "cursor", "widgets", "channels"] {
        assert!(all.iter().any(|(_, listed)| listed == name), "{name} is no parameter");
    }
    for (path, name) in all {
        let path = path.replace("{id}", fresh::<FolioId>().as_str());
        let property = format!("propertyId={}", fixture.gateway.property);
        let pair = if name == "propertyId" { property.clone() } else { format!("{name}=1") };
        let rest = if name == "propertyId" { String::new() } else { format!("{property}&") };
        let response = get(&fixture.gateway, format!("{BASE}{path}?{rest}{pair}&{pair}"))
            .await
            .problem(400, INVALID);
        let error = &response.body["errors"][0];
        assert_eq!(error["field"], format!("query.{name}"), "{path}");
        assert_eq!(error["code"], "DUPLICATE", "{path} {name}");
        let text = response.body.to_string();
        assert!(text.contains(&format!("Send the parameter {name} once.")), "{text}");
        assert!(!RIDDLES.iter().any(|riddle| text.contains(riddle)), "{text}");
    }
    assert_eq!(fixture.requests("/"), 0, "nobody is asked");
}

#[tokio::test]
async fn a_parameter_that_no_read_knows_may_occur_twice() {
    let fixture = ReadFixture::open().await;
    let path = format!("{BASE}/alerts?propertyId={}&x=1&x=2", fixture.gateway.property);
    get(&fixture.gateway, path).await.status(200);
}

#[tokio::test]
async fn who_asks_for_an_unknown_widget_learns_which_there_are() {
    let fixture = ReadFixture::open().await;
    let path =
        format!("{BASE}/dashboard?propertyId={}&widgets=occupancy,x", fixture.gateway.property);
    let response = get(&fixture.gateway, &path).await.problem(400, INVALID);
    let error = &response.body["errors"][0];
    assert_eq!((&error["field"], &error["code"]), (&"query.widgets".into(), &"UNKNOWN".into()));
    let text = response.body.to_string();
    assert!(text.contains("There is no widget named x. The widgets are "), "{text}");
    for widget in composer::WIDGETS {
        assert!(text.contains(widget.name), "{} {text}", widget.name);
    }
}

/// What `/locks/audit` responses to one end of a period.
fn audit<'a>(gateway: &'a TestGateway, end: &str, text: &str) -> TestCall<'a> {
    let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let property = gateway.property;
    get(gateway, format!("{BASE}/locks/audit?propertyId={property}&{end}={text}"))
}

#[tokio::test]
async fn an_end_of_the_audits_period_is_an_instant_or_a_date_and_nothing_in_between() {
    let fixture = ReadFixture::open().await;
    for end in ["from", "to"] {
        for good in ["2026-11-30", "2026-11-30T23:00:00Z", "2026-11-30T23:00:00.5+04:30"] {
            audit(&fixture.gateway, end, good).await.status(200);
        }
        for wrong in [
            "2026-11-30T23:00:00",
            "2026-11-30T23",
            "2026-11-30T23:00Z",
            "2026-11-30 23:00:00",
            "2026-11-30 23:00:00Z",
            "20261130T230000",
            "20261130T230000Z",
            "2026-11-30T23:00:00[Nowhere/X]",
            "2026-11-30T23:00:00Z[Asia/Kabul]",
            "2026-11-30[Asia/Kabul]",
            "20261130",
            "+002026-11-30",
            "0000-12-31",
            "0000-12-31T23:59:59Z",
            "-004800-01-01T00:00:00Z",
            "+010000-01-01T00:00:00Z",
            "2026-02-30",
            "2026-W10-1",
            "",
        ] {
            let response = audit(&fixture.gateway, end, wrong).await.status(400);
            response.invalid(&format!("query.{end}"));
        }
    }
}

async fn takes_the_first_and_the_last_days(gateway: &TestGateway) {
    for end in ["from", "to"] {
        for day in ["0001-01-01", "9999-12-30", "9999-12-31"] {
            audit(gateway, end, day).await.status(200);
        }
    }
    let both = format!("propertyId={}&from=9999-12-31&to=9999-12-31", gateway.property);
    get(gateway, format!("{BASE}/locks/audit?{both}")).await.status(200);
}

#[tokio::test]
async fn the_first_and_the_last_days_are_dates_whether_the_zone_is_known_or_not() {
    takes_the_first_and_the_last_days(&Fixture::open().await.gateway).await;
    // Without the property's card, which has its zone.
    takes_the_first_and_the_last_days(&ReadFixture::open().await.gateway).await;
}
