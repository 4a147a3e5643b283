//! What holds for every route of every service, checked through its whole router. A service's
//! tests name their routes and call each of these.

use crate::service::Service;
use crate::testing::world::{
    OTHER_PROPERTY, OTHER_TENANT, PROPERTY, TENANT, UNKNOWN_PROPERTY, operator,
};
use crate::testing::{Answer, Harness};

/// The paths of all of a service's routes, for one property.
pub type Routes = fn(&str) -> Vec<String>;

/// 401 without a token and with one for another service; 403 when a header contradicts it.
pub async fn strangers_are_refused(harness: &Harness, routes: Routes) {
    let operator = operator(TENANT, &[PROPERTY]);
    for path in routes(PROPERTY) {
        harness.get(&path).send().await.refused(401, "GENERAL.UNAUTHENTICATED");
        let foreign = format!("Bearer {}", harness.token(&operator, "another-service"));
        let answer = harness.get(&path).header("authorization", &foreign).send().await;
        answer.refused(401, "GENERAL.UNAUTHENTICATED");
        let answer = harness.get(&path).by(&operator).header("x-tenant-id", OTHER_TENANT);
        answer.send().await.refused(403, "TENANT.MISMATCH");
    }
}

/// Another tenant's property is as unknown as one that does not exist, even to a token that
/// names it; an own one outside the scope is 403.
pub async fn tenants_are_apart(harness: &Harness, routes: Routes) {
    for scope in [&[OTHER_PROPERTY, UNKNOWN_PROPERTY][..], &[]] {
        let operator = operator(TENANT, scope);
        for property in [OTHER_PROPERTY, UNKNOWN_PROPERTY] {
            for path in routes(property) {
                let answer = harness.get(&path).by(&operator).send().await;
                answer.refused(404, "GENERAL.RESOURCE_NOT_FOUND");
            }
        }
        for path in routes(PROPERTY) {
            let answer = harness.get(&path).by(&operator).send().await;
            answer.refused(403, "BFF.PROPERTY_OUT_OF_SCOPE");
        }
    }
}

/// 400 that names `propertyId` when it is missing or not an id, for routes that take it so.
pub async fn the_property_is_named(harness: &Harness, routes: Routes) {
    for given in ["", "ppt_1", TENANT] {
        for path in routes(given) {
            read(harness, &path).send().await.refused_field("query.propertyId");
            let bare = path.split_once('?').map_or(path.as_str(), |(bare, _)| bare);
            read(harness, bare).send().await.refused_field("query.propertyId");
        }
    }
}

/// A path that leads nowhere is answered by a problem as well.
pub async fn unknown_paths_are_problems(harness: &Harness) {
    harness.get("/nowhere").send().await.refused(404, "GENERAL.RESOURCE_NOT_FOUND");
}

/// While the database holds every read up: one with a deadline is given up when that passes, one
/// without when the statement has taken too long.
pub async fn nobody_waits_for_a_stalled_database(harness: &Harness, routes: Routes) {
    for path in routes(PROPERTY) {
        let hurried = read(harness, &path).header("x-deadline-ms", "50").send().await;
        hurried.refused(504, "GENERAL.DEADLINE_EXCEEDED");
        read(harness, &path).send().await.refused(503, "GENERAL.UNAVAILABLE");
    }
}

/// A caller that holds the answer is told so.
pub async fn answers_have_tags(harness: &Harness, routes: Routes) {
    for path in routes(PROPERTY) {
        let first = read(harness, &path).send().await;
        let tag = first.header("etag").to_owned();
        first.ok();
        let again = read(harness, &path).header("if-none-match", &tag).send().await;
        assert_eq!((again.status.as_u16(), again.header("etag")), (304, tag.as_str()), "{path}");
    }
}

/// While the database is away every read is a 503 that says when to try again, and readiness
/// says so too.
pub async fn the_loss_of_the_database_is_said(harness: &Harness, routes: Routes) {
    for path in routes(PROPERTY) {
        let answer = read(harness, &path).send().await;
        answer.refused(503, "GENERAL.UNAVAILABLE");
        assert_eq!(answer.header("retry-after"), "5");
    }
    readiness_becomes(harness, 503).await;
}

/// Every read answers and readiness agrees.
pub async fn all_is_well(harness: &Harness, routes: Routes) {
    for path in routes(PROPERTY) {
        read(harness, &path).send().await.ok();
    }
    readiness_becomes(harness, 200).await;
}

/// Readiness is that of a check of the last second.
async fn readiness_becomes(harness: &Harness, status: u16) {
    let becomes = async {
        while ready(harness).await.status != status {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(5), becomes).await;
    assert!(in_time.is_ok(), "readiness does not become {status}");
}

/// `routes` leaves none of the documented reads out.
///
/// # Panics
/// When it does.
pub fn every_route_is_named(service: Service, routes: Routes) {
    let document: serde_json::Value =
        serde_json::from_str(&service.document()).expect("the document is JSON");
    let paths = document["paths"].as_object().into_iter().flatten();
    let reads = paths.filter(|(_, operations)| !operations["get"].is_null()).count();
    assert_eq!(routes(PROPERTY).len(), reads, "name every read in the tests of the service");
}

fn read<'a>(harness: &'a Harness, path: &str) -> super::TestRequest<'a> {
    harness.get(path).by(&operator(TENANT, &[PROPERTY]))
}

async fn ready(harness: &Harness) -> Answer {
    harness.get("/health/ready").send().await
}
