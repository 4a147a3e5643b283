//! Upstream that responds at once: it fetches inventory's availability once per property and returns
//! it for any requested nights. A read then costs the gateway the same, independent of inventory and
//! Postgres.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use contracts::upstream::inventory::Availability;
use jiff::ToSpan;
use jiff::civil::Date;
use parking_lot::Mutex;
use reqwest::{Client, Url};
use serde::Deserialize;

/// Maximum cached properties; a measurement uses a handful.
const MAX_PROPERTIES: usize = 1000;

#[derive(Debug, Clone)]
pub(crate) struct CannedUpstream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Set once the stack runs.
    origin: OnceLock<Url>,
    http: Client,
    /// By path, which contains the property id.
    answers: Mutex<HashMap<String, Arc<Availability>>>,
}

#[derive(Debug, Deserialize)]
struct Nights {
    from: Option<Date>,
    to: Option<Date>,
}

impl CannedUpstream {
    pub(crate) fn new(http: Client) -> Self {
        Self(Arc::new(Inner { origin: OnceLock::new(), http, answers: Mutex::default() }))
    }

    /// Sets the server that responses are fetched from. Later calls have no effect.
    pub(crate) fn set_origin(&self, origin: Url) {
        let _ = self.0.origin.set(origin);
    }

    pub(crate) fn router(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    async fn fortnight(&self, path: &str, headers: HeaderMap) -> anyhow::Result<Arc<Availability>> {
        let answers = || self.0.answers.lock();
        let cached = answers().get(path).cloned();
        if let Some(cached) = cached {
            return Ok(cached);
        }
        let answer = Arc::new(self.fetch(path, headers).await?);
        let mut answers = answers();
        if answers.len() < MAX_PROPERTIES {
            answers.insert(path.to_owned(), Arc::clone(&answer));
        }
        Ok(answer)
    }

    /// Fetches from the origin with the gateway's headers, without its query.
    async fn fetch(&self, path: &str, mut headers: HeaderMap) -> anyhow::Result<Availability> {
        let origin = self.0.origin.get().ok_or_else(|| anyhow::anyhow!("not started yet"))?;
        headers.remove(HOST);
        let url = origin.join(path)?;
        Ok(self.0.http.get(url).headers(headers).send().await?.error_for_status()?.json().await?)
    }
}

async fn answer(
    State(canned): State<CannedUpstream>,
    Query(nights): Query<Nights>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match canned.fortnight(uri.path(), headers).await {
        Ok(answer) => axum::Json(with_nights(&answer, &nights)).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// Moves the response to the requested nights, and truncates it if they are fewer.
fn with_nights(answer: &Availability, nights: &Nights) -> Availability {
    let mut answer = answer.clone();
    let (Some(from), Some(to)) = (nights.from, nights.to) else { return answer };
    (answer.from, answer.to) = (from.into(), to.into());
    let length = usize::try_from((to - from).get_days()).unwrap_or_default();
    for kind in &mut answer.room_types {
        kind.nights.truncate(length);
        for (night, day) in kind.nights.iter_mut().zip(0..) {
            night.date = from.saturating_add(i64::from(day).days()).into();
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use launcher::http_client;
    use serde_json::{Value, json};
    use service_kit::lifecycle::Lifecycle;
    use service_kit::serve::{Plain, bind, serve};

    use super::*;

    async fn listening(app: Router, lifecycle: &Lifecycle) -> Url {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        serve(listener, Plain, app, lifecycle);
        url.parse().unwrap()
    }

    fn availability() -> Value {
        let night = |date: &str, total: u32| {
            json!({"date": date, "total": total, "held": 0, "committed": 0, "oosBlocked": 0,
                "available": total, "stopSell": false})
        };
        let nights = [night("2026-11-21", 5), night("2026-11-22", 6)];
        json!({"propertyId": "ppt_01K0000000000000000000000A", "timeZone": "Asia/Kabul",
            "asOf": "2026-11-21T08:00:00.000Z", "from": "2026-11-21", "to": "2026-11-23",
            "roomTypes": [{"roomTypeId": "rty_01K0000000000000000000000A", "name": "Double", "nights": nights}]})
    }

    #[tokio::test]
    async fn inventory_is_called_once_for_any_nights() {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let origin = get(async move || {
            count.fetch_add(1, Ordering::Relaxed);
            axum::Json(availability())
        });
        let lifecycle = Lifecycle::new();
        let http = http_client::plain().unwrap();
        let canned = CannedUpstream::new(http.clone());
        canned.set_origin(listening(Router::new().route("/a", origin), &lifecycle).await);
        let url = listening(canned.router(), &lifecycle).await;
        for (query, first, end) in [
            ("/a", "2026-11-21", "2026-11-23"),
            ("/a?from=2030-02-28&to=2030-03-02", "2030-02-28", "2030-03-02"),
        ] {
            let answer = http.get(url.join(query).unwrap()).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            assert_eq!((&answer["from"], &answer["to"]), (&json!(first), &json!(end)));
            let nights = &answer["roomTypes"][0]["nights"];
            assert_eq!((&nights[0]["date"], &nights[1]["total"]), (&json!(first), &json!(6)));
        }
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        lifecycle.stop();
    }
}
