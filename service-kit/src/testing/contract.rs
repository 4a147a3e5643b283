//! The contract of all routes of all services, checked through the whole router. The tests of a service
//! list its routes and call each function.

use crate::service::Service;
use crate::testing::fixtures::{
    OTHER_PROPERTY, OTHER_TENANT, PROPERTY, TENANT, UNKNOWN_PROPERTY, operator,
};
use crate::testing::{Harness, TestResponse};

/// The paths of a service's routes for one property.
pub type Routes = fn(&str) -> Vec<String>;

/// 401 without a token or with one for another service; 403 when a header contradicts the token.
pub async fn rejects_unauthenticated(harness: &Harness, routes: Routes) {
    let operator = operator(TENANT, &[PROPERTY]);
    for path in routes(PROPERTY) {
        harness.get(&path).send().await.assert_problem(401, "GENERAL.UNAUTHENTICATED");
        let foreign = format!("Bearer {}", harness.token(&operator, "another-service"));
        let response = harness.get(&path).header("authorization", &foreign).send().await;
        response.assert_problem(401, "GENERAL.UNAUTHENTICATED");
        let response = harness.get(&path).by(&operator).header("x-tenant-id", OTHER_TENANT);
        response.send().await.assert_problem(403, "TENANT.MISMATCH");
    }
}

/// 404 for a property of another tenant, even if the token names it; 403 for an own property outside the
/// scope.
pub async fn isolates_tenants(harness: &Harness, routes: Routes) {
    for scope in [&[OTHER_PROPERTY, UNKNOWN_PROPERTY][..], &[]] {
        let operator = operator(TENANT, scope);
        for property in [OTHER_PROPERTY, UNKNOWN_PROPERTY] {
            for path in routes(property) {
                let response = harness.get(&path).by(&operator).send().await;
                response.assert_problem(404, "GENERAL.RESOURCE_NOT_FOUND");
            }
        }
        for path in routes(PROPERTY) {
            let response = harness.get(&path).by(&operator).send().await;
            response.assert_problem(403, "BFF.PROPERTY_OUT_OF_SCOPE");
        }
    }
}

/// 400 that names `propertyId` when it is missing or invalid, for routes with that parameter.
pub async fn requires_property_id(harness: &Harness, routes: Routes) {
    for given in ["", "ppt_1", TENANT] {
        for path in routes(given) {
            read(harness, &path).send().await.assert_invalid_field("query.propertyId");
            let bare = path.split_once('?').map_or(path.as_str(), |(bare, _)| bare);
            read(harness, bare).send().await.assert_invalid_field("query.propertyId");
        }
    }
}

/// 400 that names the parameter when it occurs twice; `parameters` are those of a route.
pub async fn parameters_occur_once(harness: &Harness, route: &str, parameters: &[&str]) {
    for name in parameters {
        let given = route.split_once('?').map(|(_, query)| query);
        let twice = match given {
            Some(given) if given.starts_with(name) => format!("{route}&{given}"),
            Some(_) => format!("{route}&{name}=1&{name}=1"),
            None => format!("{route}?{name}=1&{name}=1"),
        };
        let response = read(harness, &twice).send().await;
        response.assert_invalid_field(&format!("query.{name}"));
        let text = response.body.to_string();
        assert!(text.contains(&format!("Send the parameter {name} once.")), "{text}");
    }
}

/// A problem for unknown paths.
pub async fn unknown_paths_are_problems(harness: &Harness) {
    harness.get("/nowhere").send().await.assert_problem(404, "GENERAL.RESOURCE_NOT_FOUND");
}

/// While the database is stalled: 504 at the deadline, or 503 at the statement timeout.
pub async fn ends_requests_of_a_stalled_database(harness: &Harness, routes: Routes) {
    for path in routes(PROPERTY) {
        let hurried = read(harness, &path).header("x-deadline-ms", "50").send().await;
        hurried.assert_problem(504, "GENERAL.DEADLINE_EXCEEDED");
        read(harness, &path).send().await.assert_problem(503, "GENERAL.UNAVAILABLE");
    }
}

/// 304 for a caller that has the response.
pub async fn answers_conditional_requests(harness: &Harness, routes: Routes) {
    for path in routes(PROPERTY) {
        let first = read(harness, &path).send().await;
        let tag = first.header("etag").to_owned();
        first.ok();
        let again = read(harness, &path).header("if-none-match", &tag).send().await;
        assert_eq!((again.status.as_u16(), again.header("etag")), (304, tag.as_str()), "{path}");
        for (held, status) in [("\"x\"", 200), (&tag, 304)] {
            let head = read(harness, &path).as_head().header("if-none-match", held).send().await;
            assert_eq!(
                (head.status.as_u16(), head.header("etag")),
                (status, tag.as_str()),
                "{path}"
            );
            assert!(head.body.is_null(), "{path}");
        }
    }
    quotes_that_span_lines_are_ignored(harness, routes).await;
}

async fn quotes_that_span_lines_are_ignored(harness: &Harness, routes: Routes) {
    let open_document = "/openapi.json".to_owned();
    for path in routes(PROPERTY).into_iter().chain([open_document]) {
        for lines in [["\"a", "b"], ["\"a", "\""], ["W/\"x", "y\""]] {
            let request = read(harness, &path);
            let [first, second] = lines;
            let request = request.header("if-none-match", first);
            request.another_header("if-none-match", second).send().await.ok();
        }
    }
}

/// While the database is unavailable: 503 with `Retry-After`, and not ready.
pub async fn reports_database_down(harness: &Harness, routes: Routes) {
    for path in routes(PROPERTY) {
        let response = read(harness, &path).send().await;
        response.assert_problem(503, "GENERAL.UNAVAILABLE");
        assert_eq!(response.header("retry-after"), "5");
    }
    readiness_becomes(harness, 503).await;
}

/// 200 for every read, and ready.
pub async fn serves_every_route(harness: &Harness, routes: Routes) {
    for path in routes(PROPERTY) {
        read(harness, &path).send().await.ok();
    }
    readiness_becomes(harness, 200).await;
}

/// Waits until readiness has this status; its checks run once a second.
async fn readiness_becomes(harness: &Harness, status: u16) {
    let becomes = async {
        while ready(harness).await.status != status {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(5), becomes).await;
    assert!(in_time.is_ok(), "readiness does not become {status}");
}

/// Checks that `routes` has every documented read.
///
/// # Panics
/// When it does.
pub fn covers_every_route(service: Service, routes: Routes) {
    let document: serde_json::Value =
        serde_json::from_str(&service.document()).expect("the document is JSON");
    let paths = document["paths"].as_object().into_iter().flatten();
    let reads = paths.filter(|(_, operations)| !operations["get"].is_null()).count();
    assert_eq!(routes(PROPERTY).len(), reads, "list every read in the tests of the service");
}

fn read<'a>(harness: &'a Harness, path: &str) -> super::TestRequest<'a> {
    harness.get(path).by(&operator(TENANT, &[PROPERTY]))
}

async fn ready(harness: &Harness) -> TestResponse {
    harness.get("/health/ready").send().await
}
