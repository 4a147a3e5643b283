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

use crate::tests::fixture::BASE;
use crate::tests::test_gateway::{Answer, TestGateway, TestOptions, fresh};

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

async fn open() -> (TestGateway, Arc<Billing>) {
    let billing = Arc::new(Billing { property: fresh(), requests: AtomicUsize::new(0) });
    let app = Router::new().fallback(folio).with_state(Arc::clone(&billing));
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    serve(listener, Plain, app, &Lifecycle::new());
    let upstreams = BaseUrls::from([(Upstream::Billing, url)]);
    (TestGateway::build(TestOptions { upstreams, ..TestOptions::usual() }).await, billing)
}

/// Reads a folio as a front desk with this property in scope.
async fn read_folio(gateway: &TestGateway, folio: FolioId, property: PropertyId) -> Answer {
    let path = format!("{BASE}/folios/{folio}");
    let token = gateway.token(|claims| claims.property_ids = vec![property.to_string()]);
    let proof = gateway.proof(&path, &token, |_| {});
    gateway.send(gateway.with(&path, &format!("DPoP {token}"), &proof)).await
}

#[tokio::test]
async fn a_folio_is_shown_to_the_caller_in_scope_among_twenty_out_of_scope() {
    let (gateway, billing) = open().await;
    for _ in 0..5 {
        let folio = fresh::<FolioId>();
        let outside = join_all((0..20).map(|_| read_folio(&gateway, folio, gateway.property)));
        let inside = join_all((0..4).map(|_| read_folio(&gateway, folio, billing.property)));
        let (outside, inside) = futures_util::join!(outside, inside);
        for answer in inside {
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        for answer in outside {
            assert_ne!(answer.status, 200, "{}", answer.body);
        }
    }
}
