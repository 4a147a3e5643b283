//! A desk at work: a house whose gateway asks a platform that the test commands, on a clock that
//! the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Body;
use contracts::clock::{Clock, Entropy};
use contracts::upstream::iam::AccessTokenClaims;
use jiff::SignedDuration;
use serde_json::json;
use service_kit::postgres::Database;
use service_kit::testing::postgres;
use tower::ServiceExt;
use upstream_clients::{Limits, Upstreams};

use crate::house::{Answer, House, Plan, answer, composer};
use crate::platform::Platform;

/// Of the API, below its host.
pub(crate) const BASE: &str = "/api/bff/backoffice/v1";

/// Connections of the gateway to its database.
const POOL: usize = 8;

pub(crate) fn fresh_key() -> String {
    format!("{:032x}", Entropy::system().u128())
}

pub(crate) struct Desk {
    pub(crate) house: House,
    pub(crate) platform: Arc<Platform>,
    /// Seconds the gateway's clock is ahead; the edge's is not.
    ahead: Arc<AtomicI64>,
}

impl Desk {
    pub(crate) async fn open() -> Self {
        Self::with(Plan::usual()).await
    }

    /// Nothing listens where the gateway looks for its session tier.
    pub(crate) async fn without_session_tier() -> Self {
        Self::with(Plan { tier: "redis://127.0.0.1:1/".to_owned(), ..Plan::usual() }).await
    }

    async fn with(plan: Plan) -> Self {
        let (platform, upstreams) = Platform::open().await;
        let ahead = Arc::new(AtomicI64::new(0));
        let (system, seconds) = (Clock::system(), Arc::clone(&ahead));
        let clock = Clock::from_fn(move || {
            system.now() + SignedDuration::from_secs(seconds.load(Ordering::SeqCst))
        });
        let house = House::build(plan).await.with_part(|gateway| gateway.env.clock = clock);
        let url = house.database.url().to_owned();
        let patient = |upstream| Limits { attempt: Duration::from_secs(2), ..Limits::of(upstream) };
        let house = house.with_part(|gateway| {
            gateway.upstreams = Arc::new(Upstreams::new(&upstreams, patient).unwrap());
            gateway.database = Database::new(&postgres(&url, POOL)).unwrap();
            gateway.composer = composer(gateway);
        });
        // A read waits less than a connection may take on a busy machine.
        drop(house.gateway.database.connection().await.unwrap());
        Self { house, platform, ahead }
    }

    /// Opens all connections of the pool, so that a race does not wait for one to be made.
    pub(crate) async fn warm_up(&self) {
        let mut open = Vec::new();
        for _ in 0..POOL {
            open.push(self.house.gateway.database.connection().await.unwrap());
        }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }

    /// This of every line of the ledger, in order.
    pub(crate) async fn ledger(&self, what: &str) -> Vec<String> {
        let order = "array_position('{requested}', outcome), id";
        let sql = format!("SELECT {what} FROM bff.operator_activity ORDER BY occurred_at, {order}");
        self.house.rows(&sql).await
    }
}

impl House {
    /// A change with a good token, or one changed a little, and a fresh proof.
    pub(crate) fn change(
        &self,
        path: &str,
        change: impl FnOnce(&mut AccessTokenClaims),
    ) -> http::request::Builder {
        let token = self.token(change);
        let bare = path.split('?').next().unwrap();
        let proof = self.proof(bare, &token, |claims| claims["htm"] = json!("POST"));
        self.with(path, &format!("DPoP {token}"), &proof).method("POST")
    }

    pub(crate) async fn send_text(&self, request: http::request::Builder, body: &str) -> Answer {
        answer(self.open_answer(request, body).await).await
    }

    /// An answer whose body may not end.
    pub(crate) async fn open_answer(
        &self,
        request: http::request::Builder,
        body: &str,
    ) -> http::Response<Body> {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.app.clone().oneshot(request).await.unwrap()
    }

    /// The one text column of a query, as the admin sees it.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let admin = postgres(self.database.admin_url(), 1);
        let admin = Database::new(&admin).unwrap().connection().await.unwrap();
        let rows = admin.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}
