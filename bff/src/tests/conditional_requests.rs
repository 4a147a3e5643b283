//! `If-None-Match` of reads, through the real router: whatever it holds, the response is no failure; and
//! HEAD, which has the headers of GET.

use crate::tests::answers::ReadFixture;
use crate::tests::call::TestCall;
use crate::tests::fixture::BASE;
use crate::tests::test_gateway::TestGateway;

const SESSION: &str = "/api/bff/backoffice/v1/session";

/// Lines that are no list of entity tags: quotes that open in one line and close in the next, or not
/// at all.
const BROKEN: [&[&str]; 6] = [
    &["\"a", "b"],
    &["\"a", "\""],
    &["W/\"x", "y\""],
    &["\"", "\""],
    &["\"a b", "\t\"", "c"],
    &["\"x\" \"y", "z\" \"", "\", W/"],
];

/// A read of the API as a manager, who may read all that is read here; others without signing in.
fn call<'a>(
    gateway: &'a TestGateway,
    method: &str,
    path: &str,
    held: &'a [&'a str],
) -> TestCall<'a> {
    let call = gateway.call(method, path).role("front_desk.manager");
    let call = if path.starts_with(BASE) { call } else { call.anonymous() };
    call.header_lines("if-none-match", held)
}

fn get<'a>(gateway: &'a TestGateway, path: &str, held: &'a [&'a str]) -> TestCall<'a> {
    call(gateway, "GET", path, held)
}

fn head<'a>(gateway: &'a TestGateway, path: &str, held: &'a [&'a str]) -> TestCall<'a> {
    call(gateway, "HEAD", path, held)
}

#[tokio::test]
async fn an_if_none_match_whose_quotes_span_lines_is_ignored() {
    let gateway = ReadFixture::open().await.gateway;
    let alerts = format!("{BASE}/alerts?propertyId={}", gateway.property);
    let dashboard = format!("{BASE}/dashboard?propertyId={}", gateway.property);
    let audit = format!("{BASE}/locks/audit?propertyId={}", gateway.property);
    let paths = [SESSION, &alerts, &dashboard, &audit, "/openapi.json", "/docs"];
    for path in paths {
        let usual = get(&gateway, path, &[]).await.status;
        for held in BROKEN {
            let response = get(&gateway, path, held).await;
            assert_eq!(response.status, usual, "{path} {held:?} {}", response.body);
        }
    }
    let nobody = gateway.get(SESSION).anonymous().header_lines("if-none-match", BROKEN[0]).await;
    nobody.problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
}

#[tokio::test]
async fn a_tag_in_any_of_several_lines_is_found() {
    let gateway = ReadFixture::open().await.gateway;
    for path in [SESSION, "/openapi.json"] {
        let first = get(&gateway, path, &[]).await.status(200);
        let tag = first.header("etag");
        get(&gateway, path, &["\"x\"", "\"y z\"", tag]).await.status(304);
    }
}

#[tokio::test]
async fn a_head_has_the_status_and_the_headers_of_a_get_and_no_body() {
    let gateway = ReadFixture::open().await.gateway;
    let property = gateway.property;
    // One widget, which is cached: a late one would change the dashboard's tag.
    let of_property =
        ["/locks/audit?", "/alerts?", "/dashboard?widgets=propertyCard&", "/arrivals?"]
            .map(|route| format!("{BASE}{route}propertyId={property}"));
    let mut paths: Vec<&str> = of_property.iter().map(String::as_str).collect();
    let cursor = format!("{BASE}/sync/cursor");
    paths.extend([SESSION, &cursor, "/openapi.json", "/docs"]);
    for path in paths {
        let got = get(&gateway, path, &[]).await.status(200);
        let tag = got.header("etag");
        for (held, status) in
            [(&[][..], 200), (&["\"x\""], 200), (&["\"x\"", tag], 304), (&["*"], 304)]
        {
            let response = head(&gateway, path, held).await.status(status);
            assert!(response.body.is_null(), "{path} {}", response.body);
            for name in ["etag", "cache-control"] {
                assert_eq!(
                    response.headers.get(name),
                    got.headers.get(name),
                    "{path} {name} {held:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_head_says_how_long_the_body_of_a_get_is() {
    let gateway = ReadFixture::open().await.gateway;
    for path in [SESSION, "/openapi.json", "/docs"] {
        let got = get(&gateway, path, &[]).await;
        let length = &head(&gateway, path, &[]).await.headers["content-length"];
        assert_eq!(length, &got.headers["content-length"], "{path}");
        assert_ne!(length, "0", "{path}");
    }
}
