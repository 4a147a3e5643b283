//! `If-None-Match` of reads, through the real router: whatever it holds, the answer is no failure; and
//! HEAD, which has the headers of GET.

use contracts::upstream::iam::AccessTokenClaims;
use serde_json::json;

use crate::tests::answers::ReadFixture;
use crate::tests::fixture::BASE;
use crate::tests::test_gateway::Answer;

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

/// Who may read all that is read here.
fn as_manager(claims: &mut AccessTokenClaims) {
    claims.roles = vec!["front_desk.manager".to_owned()];
}

/// A read of the API, signed in.
async fn read(fixture: &ReadFixture, path: &str, held: &[&str]) -> Answer {
    send(fixture, "GET", path, held).await
}

async fn send(fixture: &ReadFixture, method: &str, path: &str, held: &[&str]) -> Answer {
    let gateway = &fixture.gateway;
    let start = if path.starts_with(BASE) {
        let token = gateway.token(as_manager);
        let bare = path.split('?').next().unwrap();
        let proof = gateway.proof(bare, &token, |claims| claims["htm"] = json!(method));
        gateway.with(path, &format!("DPoP {token}"), &proof)
    } else {
        http::Request::get(path)
    };
    let request = held.iter().fold(start, |request, line| request.header("if-none-match", *line));
    gateway.send(request.method(method)).await
}

/// The same as a HEAD.
async fn head(fixture: &ReadFixture, path: &str, held: &[&str]) -> Answer {
    send(fixture, "HEAD", path, held).await
}

#[tokio::test]
async fn an_if_none_match_whose_quotes_span_lines_is_ignored() {
    let fixture = ReadFixture::open().await;
    let alerts = format!("{BASE}/alerts?propertyId={}", fixture.gateway.property);
    let dashboard = format!("{BASE}/dashboard?propertyId={}", fixture.gateway.property);
    let audit = format!("{BASE}/locks/audit?propertyId={}", fixture.gateway.property);
    let paths = [SESSION, &alerts, &dashboard, &audit, "/openapi.json", "/docs"];
    for path in paths {
        let usual = read(&fixture, path, &[]).await.status;
        for held in BROKEN {
            let answer = read(&fixture, path, held).await;
            assert_eq!(answer.status, usual, "{path} {held:?} {}", answer.body);
        }
    }
    let nobody = http::Request::get(SESSION).header("if-none-match", "\"a");
    let answer = fixture.gateway.send(nobody.header("if-none-match", "b")).await;
    answer.is_problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
}

#[tokio::test]
async fn a_tag_in_any_of_several_lines_is_found() {
    let fixture = ReadFixture::open().await;
    for path in [SESSION, "/openapi.json"] {
        let first = read(&fixture, path, &[]).await;
        assert_eq!(first.status, 200, "{}", first.body);
        let tag = first.headers["etag"].to_str().unwrap();
        let answer = read(&fixture, path, &["\"x\"", "\"y z\"", tag]).await;
        assert_eq!(answer.status, 304, "{path}");
    }
}

#[tokio::test]
async fn a_head_has_the_status_and_the_headers_of_a_get_and_no_body() {
    let fixture = ReadFixture::open().await;
    let property = fixture.gateway.property;
    let of_property = ["/locks/audit", "/alerts", "/dashboard", "/arrivals"]
        .map(|route| format!("{BASE}{route}?propertyId={property}"));
    let mut paths: Vec<&str> = of_property.iter().map(String::as_str).collect();
    let cursor = format!("{BASE}/sync/cursor");
    paths.extend([SESSION, &cursor, "/openapi.json", "/docs"]);
    for path in paths {
        let got = read(&fixture, path, &[]).await;
        assert_eq!(got.status, 200, "{path} {}", got.body);
        let tag = got.headers["etag"].to_str().unwrap();
        for (held, status) in
            [(&[][..], 200), (&["\"x\""], 200), (&["\"x\"", tag], 304), (&["*"], 304)]
        {
            let answer = head(&fixture, path, held).await;
            assert_eq!(answer.status, status, "{path} {held:?}");
            assert!(answer.body.is_null(), "{path} {}", answer.body);
            for name in ["etag", "cache-control"] {
                assert_eq!(
                    answer.headers.get(name),
                    got.headers.get(name),
                    "{path} {name} {held:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_head_says_how_long_the_body_of_a_get_is() {
    let fixture = ReadFixture::open().await;
    for path in [SESSION, "/openapi.json", "/docs"] {
        let got = read(&fixture, path, &[]).await;
        let length = &head(&fixture, path, &[]).await.headers["content-length"];
        assert_eq!(length, &got.headers["content-length"], "{path}");
        assert_ne!(length, "0", "{path}");
    }
}
