//! An upstream that answers at once: what inventory said of its next fortnight, kept, and told of
//! whatever nights are asked for. With it a read costs the gateway the same whatever inventory and
//! Postgres do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use contracts::upstream::inventory::Availability;
use jiff::ToSpan;
use jiff::civil::Date;
use reqwest::{Client, Url};
use serde::Deserialize;

/// Properties whose answers are kept; a measurement asks for a handful.
const MOST: usize = 1000;

#[derive(Debug, Clone)]
pub(crate) struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Known once the stack runs.
    behind: OnceLock<Url>,
    http: Client,
    /// By path, which names the property.
    answers: Mutex<HashMap<String, Arc<Availability>>>,
}

#[derive(Debug, Deserialize)]
struct Nights {
    from: Option<Date>,
    to: Option<Date>,
}

impl Kept {
    pub(crate) fn new(http: Client) -> Self {
        Self(Arc::new(Inner { behind: OnceLock::new(), http, answers: Mutex::default() }))
    }

    /// Where answers come from; the first call decides.
    pub(crate) fn stand_before(&self, behind: Url) {
        let _ = self.0.behind.set(behind);
    }

    pub(crate) fn router(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    fn known(&self, path: &str) -> Option<Arc<Availability>> {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn keep(&self, path: String, answer: &Arc<Availability>) {
        let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() < MOST {
            answers.insert(path, Arc::clone(answer));
        }
    }

    async fn fortnight(&self, path: &str, headers: HeaderMap) -> anyhow::Result<Arc<Availability>> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        let answer = Arc::new(self.ask(path, headers).await?);
        self.keep(path.to_owned(), &answer);
        Ok(answer)
    }

    /// Asks inventory, with everything the gateway sent but the nights.
    async fn ask(&self, path: &str, mut headers: HeaderMap) -> anyhow::Result<Availability> {
        let behind = self.0.behind.get().ok_or_else(|| anyhow::anyhow!("not started yet"))?;
        headers.remove(HOST);
        let url = behind.join(path)?;
        Ok(self.0.http.get(url).headers(headers).send().await?.error_for_status()?.json().await?)
    }
}

async fn answer(
    State(kept): State<Kept>,
    Query(nights): Query<Nights>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match kept.fortnight(uri.path(), headers).await {
        Ok(answer) => axum::Json(beginning(&answer, &nights)).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// The same rooms on other nights, at most as many.
fn beginning(answer: &Availability, nights: &Nights) -> Availability {
    let mut answer = answer.clone();
    let (Some(from), Some(to)) = (nights.from, nights.to) else { return answer };
    (answer.from, answer.to) = (from, to);
    let length = usize::try_from((to - from).get_days()).unwrap_or_default();
    for kind in &mut answer.room_types {
        kind.nights.truncate(length);
        for (night, day) in kind.nights.iter_mut().zip(0..) {
            night.date = from.saturating_add(i64::from(day).days());
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

    fn said() -> Value {
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
    async fn inventory_is_asked_once_and_told_of_any_nights() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let behind = get(async move || {
            count.fetch_add(1, Ordering::Relaxed);
            axum::Json(said())
        });
        let lifecycle = Lifecycle::new();
        let http = http_client::plain().unwrap();
        let kept = Kept::new(http.clone());
        kept.stand_before(listening(Router::new().route("/a", behind), &lifecycle).await);
        let url = listening(kept.router(), &lifecycle).await;
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
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        lifecycle.stop();
    }
}
