//! `GET /dashboard`: composes many upstreams into one response, buffered or streamed.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use composer::WIDGETS;
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

use crate::edge::{CallerContext, InProperty, PropertyQuery, SignedIn};
use crate::reads::cached_read::Reads;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct DashboardQuery {
    /// Names of widgets, comma separated; all when left out.
    widgets: Option<String>,
}

/// The dashboard of a property.
///
/// 200 for every permitted request: an unavailable upstream affects only its own widgets. As
/// `application/x-ndjson` or `text/event-stream` each record is sent when it is ready.
#[utoipa::path(
    get, path = "/dashboard", tag = "dashboard", params(PropertyQuery, DashboardQuery),
    responses(
        (status = 200, content((Dashboard = "application/json"), (Record = "application/x-ndjson"), (Record = "text/event-stream"))),
    ),
)]
pub(crate) async fn get_dashboard(
    in_property: InProperty<SignedIn>,
    calls: CallerContext,
    reads: Reads,
    Query(query): Query<DashboardQuery>,
    State(composer): State<Composer>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let format = Format::accepted(&headers)?;
    let principal = &in_property.caller.principal;
    let plan = composer
        .plan(principal, in_property.property, query.widgets.as_deref(), calls.received())
        .map_err(plan_problem)?;
    let context = calls.with_deadline(plan.deadline());
    let mut response = match format {
        Format::Json => {
            let Composed { dashboard, origins } = composer.compose(&plan, &context).await;
            reads.respond_composed(&origins, &dashboard)
        }
        Format::Lines => progressive(Format::Lines, composer, &plan, &context),
        Format::Events => progressive(Format::Events, composer, &plan, &context),
    };
    response.headers_mut().append(VARY, HeaderValue::from(ACCEPT));
    Ok(response)
}

fn plan_problem(error: PlanError) -> ApiError {
    match error {
        PlanError::UnknownWidget(name) => {
            let known: Vec<&str> = WIDGETS.iter().map(|widget| widget.name).collect();
            let known = known.join(", ");
            let detail = format!("There is no widget named {name}. The widgets are {known}.");
            Problem::field("query.widgets", "UNKNOWN", detail).into()
        }
        PlanError::Overloaded => {
            ApiError::new(&code::OVERLOADED, "The server is overloaded. Try again in a second.")
        }
    }
}

/// Responses for one caller must not be stored by intermediaries.
const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Lines,
    Events,
}

impl Format {
    const OFFERED: [Self; 3] = [Self::Json, Self::Lines, Self::Events];

    /// Negotiates the format from `Accept`; JSON without the header.
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

/// Sends the skeleton at once, a record per widget when it is ready, and `done` last. Cancelled
/// when the client disconnects.
fn progressive(format: Format, composer: Composer, plan: &Plan, context: &CallContext) -> Response {
    let skeleton = format.write(&plan.skeleton());
    let settled = composer.compose_buffered(plan, context);
    let body = stream::once(async move { skeleton }).chain(records(format, composer, settled));
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        NO_STORE,
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(body.map(Ok::<_, Infallible>))).into_response()
}

fn records(
    format: Format,
    composer: Composer,
    settled: impl Stream<Item = WidgetResult> + Send + 'static,
) -> impl Stream<Item = Bytes> + Send {
    let steps = settled.map(Some).chain(stream::once(async { None }));
    steps.scan(false, move |partial, step| {
        let record = if let Some(settled) = step {
            *partial |= settled.makes_partial();
            Record::Widget { name: settled.spec.name.to_owned(), widget: settled.widget }
        } else {
            composer.done(*partial)
        };
        std::future::ready(Some(format.write(&record)))
    })
}
