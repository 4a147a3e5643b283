//! Shared calls of callers with different rights.

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

use crate::tests::call::TestCall;
use crate::tests::fixture::BASE;
use crate::tests::test_gateway::{TestGateway, TestOptions, fresh, patient};

/// A fake billing that shows folios of `property` to callers in scope, and refuses others slowly.
#[derive(Debug)]
struct Billing {
    property: PropertyId,
    requests: AtomicUsize,
}

async fn folio(
    State(billing): State<Arc<Billing>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    billing.requests.fetch_add(1, Ordering::SeqCst);
    let token = headers["authorization"].to_str().unwrap().to_owned();
    let claims = auth::jwt::decoded(token.split('.').nth(1).unwrap()).unwrap();
    if !String::from_utf8(claims).unwrap().contains(billing.property.as_str()) {
        // Two refusals in a row take far less than a read may, also on a busy machine.
        tokio::time::sleep(Duration::from_millis(50)).await;
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

async fn open() -> (TestGateway, Arc<Billing>) {
    let billing = Arc::new(Billing { property: fresh(), requests: AtomicUsize::new(0) });
    let app = Router::new().fallback(folio).with_state(Arc::clone(&billing));
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    serve(listener, Plain, app, &Lifecycle::new());
    let upstreams = BaseUrls::from([(Upstream::Billing, url)]);
    let options = TestOptions { upstreams, limits: patient, ..TestOptions::usual() };
    (TestGateway::build(options).await, billing)
}

/// Reads a folio as a front desk with this property in scope.
fn read_folio(gateway: &TestGateway, folio: FolioId, property: PropertyId) -> TestCall<'_> {
    let call = gateway.get(format!("{BASE}/folios/{folio}"));
    call.claims(|claims| claims.property_ids = vec![property.to_string()])
}

#[tokio::test]
async fn a_folio_is_shown_to_the_caller_in_scope_among_twenty_out_of_scope() {
    let (gateway, billing) = open().await;
    for _ in 0..5 {
        let folio = fresh::<FolioId>();
        let read = |property| read_folio(&gateway, folio, property).into_future();
        let outside = join_all((0..20).map(|_| read(gateway.property)));
        let inside = join_all((0..4).map(|_| read(billing.property)));
        let (outside, inside) = futures_util::join!(outside, inside);
        for response in inside {
            response.status(200);
        }
        for response in outside {
            assert_ne!(response.status, 200, "{}", response.body);
        }
    }
}
