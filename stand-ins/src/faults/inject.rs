//! The layer that applies a fault to a request, before its handler or to its answer.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use auth::jwt::Unverified;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use contracts::id::TenantId;
use contracts::problem::{self, Code, Problem};
use contracts::upstream::Upstream;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::wire::{self, whole};
use super::{Fault, Faults, Kind, Target, late};
use crate::ledger::Ledger;
use service_kit::serve::{ConnectionHandle, Ending};

static INJECTED: Code = Code {
    name: "MELMASTOON.STAND_INS.INJECTED",
    status: 503,
    title: "A fault was injected",
    retriable: true,
    retry_after: None,
    runbook: None,
};

/// Where the layer stands.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) upstream: Upstream,
    pub(crate) faults: Arc<Faults>,
    pub(crate) ledger: Arc<Ledger>,
}

pub(crate) async fn inject(
    State(point): State<Point>,
    Extension(connection): Extension<ConnectionHandle>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with("/health/") {
        return next.run(request).await;
    }
    match point.meet(&request) {
        Some(fault) => apply(&fault, connection, request, next).await,
        None => next.run(request).await,
    }
}

impl Point {
    fn meet(&self, request: &Request) -> Option<Fault> {
        let target = Target {
            upstream: self.upstream,
            method: request.method().as_str(),
            template: request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
            path: request.uri().path(),
            tenant: named_tenant(request.headers()),
        };
        self.ledger.count(self.upstream, &target.name());
        self.faults.take(&target)
    }
}

async fn apply(
    fault: &Fault,
    connection: ConnectionHandle,
    request: Request,
    next: Next,
) -> Response {
    match fault.kind {
        Kind::Status => status(fault.status.unwrap_or(503), &request),
        Kind::Latency => {
            late::wait(Duration::from_millis(fault.ms.unwrap_or_default())).await;
            next.run(request).await
        }
        Kind::Hang => {
            whole(request.into_body()).await;
            pending().await
        }
        Kind::Reset => {
            whole(request.into_body()).await;
            connection.end(Ending::Reset);
            pending().await
        }
        Kind::LostAnswer => {
            whole(next.run(request).await.into_body()).await;
            connection.end(Ending::Close);
            pending().await
        }
        Kind::HalfBody => wire::half(next.run(request).await, connection).await,
        Kind::HugeBody => wire::huge(),
        Kind::Drip => wire::drip(next.run(request).await).await,
        Kind::Drift => wire::drift(next.run(request).await).await,
        // The port is closed; this request was under way when it was asked to.
        Kind::Refuse => next.run(request).await,
    }
}

fn status(status: u16, request: &Request) -> Response {
    let mut problem = Problem::new(&INJECTED, "The stand-in was told to answer this status.");
    problem.status = status;
    request.uri().path().clone_into(&mut problem.instance);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = (status, Json(problem)).into_response();
    let kind = header::HeaderValue::from_static(problem::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.map(Body::new)
}

/// The tenant a request token names, unverified: a fault may hit whoever claims to be there.
fn named_tenant(headers: &HeaderMap) -> Option<TenantId> {
    #[derive(Deserialize)]
    struct Claims {
        tenant_id: TenantId,
    }
    let (_, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(Unverified::split(token).ok()?.payload::<Claims>().ok()?.tenant_id)
}
