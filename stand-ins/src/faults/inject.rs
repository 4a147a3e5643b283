//! The layer that applies a fault to a request or its response.

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

use super::wire::{self, read_body};
use super::{Fault, Faults, Kind, Target, precise_delay};
use crate::refusal::refusal;
use crate::upstreams::Platform;
use service_kit::serve::{CloseKind, ConnectionHandle};

static INJECTED: Code = Code {
    retriable: true,
    ..refusal(503, "MELMASTOON.STAND_INS.INJECTED", "A fault was injected")
};

/// State of the layer.
#[derive(Debug, Clone)]
pub(crate) struct InjectState {
    pub(crate) upstream: Upstream,
    pub(crate) faults: Arc<Faults>,
    pub(crate) platform: Arc<Platform>,
}

pub(crate) async fn inject(
    State(state): State<InjectState>,
    Extension(connection): Extension<ConnectionHandle>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with("/health/") {
        return next.run(request).await;
    }
    match state.take_fault(&request) {
        Some(fault) => apply(&fault, connection, request, next).await,
        None => next.run(request).await,
    }
}

impl InjectState {
    fn take_fault(&self, request: &Request) -> Option<Fault> {
        let target = Target {
            upstream: self.upstream,
            method: request.method().as_str(),
            template: request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
            path: request.uri().path(),
            tenant: named_tenant(request.headers()),
        };
        self.platform.effects.count(self.upstream, &target.name());
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
            precise_delay::sleep(Duration::from_millis(fault.ms.unwrap_or_default())).await;
            next.run(request).await
        }
        Kind::Hang => {
            read_body(request.into_body()).await;
            pending().await
        }
        Kind::Reset => {
            read_body(request.into_body()).await;
            connection.close(CloseKind::Reset);
            pending().await
        }
        Kind::LostAnswer => {
            read_body(next.run(request).await.into_body()).await;
            connection.close(CloseKind::Close);
            pending().await
        }
        Kind::HalfBody => wire::half_body(next.run(request).await, connection).await,
        Kind::HugeBody => wire::huge_body(),
        Kind::Drip => wire::drip(next.run(request).await).await,
        Kind::Drift => wire::drift(next.run(request).await).await,
        // The request was already in flight when the port closed.
        Kind::Refuse => next.run(request).await,
    }
}

fn status(status: u16, request: &Request) -> Response {
    let mut problem = Problem::new(&INJECTED, "A fault injected this status.");
    problem.status = status;
    request.uri().path().clone_into(&mut problem.instance);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = (status, Json(problem)).into_response();
    let kind = header::HeaderValue::from_static(problem::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.map(Body::new)
}

/// The tenant named by the request token, unverified: faults need no authentication.
fn named_tenant(headers: &HeaderMap) -> Option<TenantId> {
    #[derive(Deserialize)]
    struct Claims {
        tenant_id: TenantId,
    }
    let (_, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(Unverified::split(token).ok()?.payload::<Claims>().ok()?.tenant_id)
}
