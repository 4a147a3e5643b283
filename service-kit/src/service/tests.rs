use http::{Method, StatusCode};
use jiff::Timestamp;

use super::*;
use crate::testing::Harness;
use crate::{connection_metrics, request_metrics};

const SERVICE: Service = Service {
    name: "a-service",
    metrics: request_metrics!("a_service"),
    connection_metrics: connection_metrics!("a_service"),
    api: OpenApiRouter::new,
    internal: Internal { routes: no_internal_routes, failures: "a_service_failures_total" },
    maintenance: TableMaintenance {
        schema: "a_service",
        prefix: "a_service",
        has_months: false,
        swept: &[],
    },
};

/// No request of these tests needs a database.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";

#[tokio::test]
async fn every_refusal_is_a_problem_whatever_the_route() {
    let harness = Harness::start(SERVICE, NOWHERE, Timestamp::UNIX_EPOCH).await;
    for path in ["/health/live", "/health/ready", "/metrics", "/openapi.json"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE] {
            let answer = harness.get(path).method(method).send().await;
            answer.assert_problem(405, "GENERAL.METHOD_NOT_ALLOWED");
            assert!(answer.header("x-request-id").starts_with("req_"), "{path}");
            assert_eq!(answer.header("allow"), "GET,HEAD", "{path}");
        }
    }
    for path in ["/", "/health", "/health/", "/metrics/all", "/nothing"] {
        let answer = harness.get(path).send().await;
        answer.assert_problem(404, "GENERAL.RESOURCE_NOT_FOUND");
        assert!(answer.header("x-request-id").starts_with("req_"), "{path}");
    }
}

#[tokio::test]
async fn health_has_the_callers_request_id() {
    let harness = Harness::start(SERVICE, NOWHERE, Timestamp::UNIX_EPOCH).await;
    let id = "req_01J00000000000000000000000";
    for (path, status) in
        [("/health/live", StatusCode::OK), ("/health/ready", StatusCode::SERVICE_UNAVAILABLE)]
    {
        let answer = harness.get(path).header("x-request-id", id).send().await;
        assert_eq!((answer.status, answer.header("x-request-id")), (status, id), "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}
