//! Reads that share a call, of callers whom the upstream treats differently.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use contracts::id::{FolioId, PropertyId};
use contracts::upstream::Upstream;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};
use upstream_clients::BaseUrls;

use crate::desk::BASE;
use crate::house::{Answer, House, Plan, fresh};

/// A billing that shows folios of `property` to callers in its scope, and is slow to refuse others.
#[derive(Debug)]
struct Billing {
    property: PropertyId,
    asked: AtomicUsize,
}

async fn folio(
    State(billing): State<Arc<Billing>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    billing.asked.fetch_add(1, Ordering::SeqCst);
    let token = headers["authorization"].to_str().unwrap().to_owned();
    let claims = auth::jwt::decoded(token.split('.').nth(1).unwrap()).unwrap();
    if !String::from_utf8(claims).unwrap().contains(billing.property.as_str()) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        return StatusCode::FORBIDDEN.into_response();
    }
    let at = "2026-11-21T08:00:00.000Z";
    let money = || json!({"amountMicro": "5000000", "currency": "AFN"});
    Json(json!({
        "propertyId": billing.property, "asOf": at, "folioId": uri.path().rsplit('/').next(),
        "reservationId": "rsv_01K0000000000000000000000A", "guestName": "A", "state": "open",
        "openedAt": at, "charges": [], "payments": [], "refunds": [], "charged": money(),
        "paid": money(), "refunded": money(), "balance": money(),
    }))
    .into_response()
}

async fn open() -> (House, Arc<Billing>) {
    let billing = Arc::new(Billing { property: fresh(), asked: AtomicUsize::new(0) });
    let app = Router::new().fallback(folio).with_state(Arc::clone(&billing));
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    serve(listener, Plain, app, &Lifecycle::new());
    let upstreams = BaseUrls::from([(Upstream::Billing, url)]);
    (House::build(Plan { upstreams, ..Plan::usual() }).await, billing)
}

/// A front desk with this property in its scope looks at a folio.
async fn look(house: &House, folio: FolioId, property: PropertyId) -> Answer {
    let path = format!("{BASE}/folios/{folio}");
    let token = house.token(|claims| claims.property_ids = vec![property.to_string()]);
    let proof = house.proof(&path, &token, |_| {});
    house.send(house.with(&path, &format!("DPoP {token}"), &proof)).await
}

#[tokio::test]
async fn a_folio_is_shown_to_the_desk_in_scope_beside_twenty_that_are_not() {
    let (house, billing) = open().await;
    for _ in 0..5 {
        let folio = fresh::<FolioId>();
        let outside = join_all((0..20).map(|_| look(&house, folio, house.property)));
        let inside = join_all((0..4).map(|_| look(&house, folio, billing.property)));
        let (outside, inside) = futures_util::join!(outside, inside);
        for answer in inside {
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        for answer in outside {
            assert_ne!(answer.status, 200, "{}", answer.body);
        }
    }
}
