//! `GET /dashboard`: one answer from many upstreams, whole or progressive.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use composer::compose::{Composed, Composer, Plan, PlanError};
use composer::result::WidgetResult;
use contracts::dashboard::{Dashboard, Record};
use contracts::problem::{Problem, code};
use futures_util::{Stream, StreamExt, stream};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use service_kit::accept;
use service_kit::extract::Query;
use service_kit::problem::{ApiError, ApiResult};
use upstream_clients::CallContext;

use crate::edge::{CallerContext, InProperty, SignedIn};
use crate::reads::cached_read::Reads;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct DashboardQuery {
    /// The property shown; it must be in the caller's scope.
    #[param(rename = "propertyId", value_type = String, required = true)]
    #[serde(rename = "propertyId")]
    _property: Option<String>,
    /// Names of widgets, comma separated; all when left out.
    widgets: Option<String>,
}

/// The dashboard of a property.
///
/// 200 whenever the edge let the request in: an upstream that is away costs its widgets, not
/// the answer. As `application/x-ndjson` or `text/event-stream` the records arrive as they settle.
#[utoipa::path(
    get, path = "/dashboard", tag = "dashboard", security(("dpop" = [])), params(DashboardQuery),
    responses(
        (status = 200, content((Dashboard = "application/json"), (Record = "application/x-ndjson"), (Record = "text/event-stream"))),
        (status = "default", response = crate::problems::AnyProblem),
    ),
)]
pub async fn get_dashboard(
    in_property: InProperty<SignedIn>,
    calls: CallerContext,
    reads: Reads,
    Query(query): Query<DashboardQuery>,
    State(composer): State<Composer>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let form = Form::accepted(&headers)?;
    let principal = &in_property.caller.principal;
    let plan = composer
        .plan(principal, in_property.property, query.widgets.as_deref(), calls.received())
        .map_err(unplanned)?;
    let context = calls.with_deadline(plan.deadline());
    let mut response = match form {
        Form::Json => {
            let Composed { dashboard, origins } = composer.compose(&plan, &context).await;
            reads.composed(&origins, &dashboard)
        }
        Form::Lines => progressive(Form::Lines, composer, &plan, &context),
        Form::Events => progressive(Form::Events, composer, &plan, &context),
    };
    response.headers_mut().append(VARY, HeaderValue::from(ACCEPT));
    Ok(response)
}

fn unplanned(error: PlanError) -> ApiError {
    match error {
        PlanError::UnknownWidget(_) => {
            Problem::field("query.widgets", "UNKNOWN", format!("{error}.")).into()
        }
        PlanError::Overloaded => ApiError::new(
            &code::OVERLOADED,
            "More dashboards are asked for than can be composed in time. Try again in a second.",
        ),
    }
}

/// Answers to one caller alone are never kept by anything between.
const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Events,
}

impl Form {
    const OFFERED: [Self; 3] = [Self::Json, Self::Lines, Self::Events];

    /// The one of `Accept` that the client wants most; JSON without the header.
    fn accepted(headers: &HeaderMap) -> Result<Self, ApiError> {
        let names = Self::OFFERED.map(Self::content_type);
        let wanted = accept::preferred(headers, &names).map(|index| Self::OFFERED[index]);
        wanted.ok_or_else(|| {
            ApiError::new(
                &code::NOT_ACCEPTABLE,
                "Accept application/json, application/x-ndjson or text/event-stream.",
            )
        })
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    fn write(self, record: &Record) -> Bytes {
        let json = serde_json::to_string(record).expect("records are plain JSON");
        match self {
            Self::Events => format!("data: {json}\n\n").into(),
            _ => format!("{json}\n").into(),
        }
    }
}

/// Skeleton at once, a record per widget as it settles, `done` last. Dropped with the client.
fn progressive(form: Form, composer: Composer, plan: &Plan, context: &CallContext) -> Response {
    let skeleton = form.write(&plan.skeleton());
    let settled = composer.compose_buffered(plan, context);
    let body = stream::once(async move { skeleton }).chain(records(form, composer, settled));
    let headers = [
        (CONTENT_TYPE, form.content_type()),
        NO_STORE,
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(body.map(Ok::<_, Infallible>))).into_response()
}

fn records(
    form: Form,
    composer: Composer,
    settled: impl Stream<Item = WidgetResult> + Send + 'static,
) -> impl Stream<Item = Bytes> + Send {
    let steps = settled.map(Some).chain(stream::once(async { None }));
    steps.scan(false, move |partial, step| {
        let record = if let Some(settled) = step {
            *partial |= settled.is_degraded();
            Record::Widget { name: settled.name.to_owned(), widget: settled.widget }
        } else {
            composer.done(*partial)
        };
        std::future::ready(Some(form.write(&record)))
    })
}
