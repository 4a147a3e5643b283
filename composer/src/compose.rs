//! The plan of one dashboard and its execution: every widget at once, each under its own
//! deadline, all under the route's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use contracts::clock::{Clock, Entropy};
use contracts::dashboard::{Dashboard, Reason, Record, Widget, WidgetStatus};
use contracts::id::{DashboardId, Id, PropertyId, TenantId};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use metrics::{counter, histogram};
use tokio::time::{Instant, timeout_at};
use upstream_clients::{CallContext, CallError, Upstreams};

use crate::fetch::{Fetched, fetch};
use crate::guards::Guards;
use crate::widgets::{WIDGETS, WidgetSpec, by_name};

/// The route's own deadline, after the request was let in.
pub const ROUTE_DEADLINE: Duration = Duration::from_millis(550);
/// A call ends itself at its deadline; this much later it is dropped whatever it does.
const GUARD: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
#[error("there is no widget named {0}")]
pub struct UnknownWidget(pub String);

/// What will be shown, decided before any upstream is asked.
#[derive(Debug)]
pub struct Plan {
    pub id: DashboardId,
    pub tenant: TenantId,
    pub property: PropertyId,
    admitted: Instant,
    route_deadline: Duration,
    allowed: Vec<&'static WidgetSpec>,
    forbidden: Vec<&'static WidgetSpec>,
}

impl Plan {
    /// The instant after which no widget of it lives.
    pub fn deadline(&self) -> Instant {
        self.admitted + self.route_deadline
    }

    fn deadline_ms(&self) -> u64 {
        self.route_deadline.as_millis() as u64
    }

    /// The first record of the progressive forms.
    pub fn skeleton(&self) -> Record {
        let names = self.allowed.iter().chain(&self.forbidden).map(|spec| spec.name.to_owned());
        Record::Skeleton {
            id: self.id,
            tenant_id: self.tenant,
            property_id: self.property,
            deadline_ms: self.deadline_ms(),
            widgets: names.collect(),
        }
    }
}

/// One widget, settled.
#[derive(Debug)]
pub struct Settled {
    pub name: &'static str,
    pub widget: Widget,
}

impl Settled {
    /// Whether it makes the dashboard partial.
    pub fn is_lacking(&self) -> bool {
        matches!(self.widget.status, WidgetStatus::Stale | WidgetStatus::Unavailable)
    }
}

#[derive(Debug, Clone)]
pub struct Composer {
    upstreams: Arc<Upstreams>,
    clock: Clock,
    entropy: Entropy,
    guards: Guards,
}

impl Composer {
    pub fn new(upstreams: Arc<Upstreams>, clock: Clock, entropy: Entropy) -> Self {
        Self { upstreams, clock, entropy, guards: Guards::default() }
    }

    /// The same composer with a protection switched off.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn without(mut self, guard: &str) -> Self {
        self.guards.switch_off(guard);
        self
    }

    /// Decides what this caller will be shown. `names` limits the set, comma separated.
    pub fn plan(
        &self,
        principal: &Principal,
        property: PropertyId,
        names: Option<&str>,
        admitted: Instant,
    ) -> Result<Plan, UnknownWidget> {
        let wanted = match names {
            None => WIDGETS.iter().collect(),
            Some(names) => chosen(names)?,
        };
        let (allowed, forbidden) = wanted
            .into_iter()
            .partition(|spec: &&WidgetSpec| spec.roles.intersects(principal.roles));
        Ok(Plan {
            id: DashboardId::generate(&self.clock, &self.entropy),
            tenant: principal.tenant,
            property,
            admitted,
            route_deadline: self.guards.deadline(ROUTE_DEADLINE),
            allowed,
            forbidden,
        })
    }

    /// The widgets as they settle. Dropping the stream cancels every call.
    pub fn settle(
        &self,
        plan: &Plan,
        context: &CallContext,
    ) -> impl Stream<Item = Settled> + Send + use<> {
        let forbidden: Vec<_> = plan.forbidden.iter().map(|&spec| forbidden(spec)).collect();
        let fetching: FuturesUnordered<BoxFuture<'static, Settled>> = plan
            .allowed
            .iter()
            .map(|&spec| {
                let (composer, property) = (self.clone(), plan.property);
                let (admitted, route) = (plan.admitted, plan.deadline());
                let context =
                    context.until((admitted + composer.guards.deadline(spec.deadline)).min(route));
                async move { composer.widget(spec, &context, property, admitted, route).await }
                    .boxed()
            })
            .collect();
        futures_util::stream::iter(forbidden).chain(fetching)
    }

    /// The whole dashboard, once every widget has settled.
    pub async fn compose(&self, plan: &Plan, context: &CallContext) -> Dashboard {
        let settled: Vec<Settled> = self.settle(plan, context).collect().await;
        let settled = self.guards.isolate(settled);
        let partial = settled.iter().any(Settled::is_lacking);
        let widgets: BTreeMap<_, _> =
            settled.into_iter().map(|settled| (settled.name.to_owned(), settled.widget)).collect();
        count_partial(partial);
        Dashboard {
            id: plan.id,
            tenant_id: plan.tenant,
            property_id: plan.property,
            generated_at: self.clock.now(),
            deadline_ms: plan.deadline_ms(),
            partial,
            widgets,
        }
    }

    /// The last record of the progressive forms.
    pub fn done(&self, partial: bool) -> Record {
        count_partial(partial);
        Record::Done { generated_at: self.clock.now(), partial }
    }

    async fn widget(
        &self,
        spec: &'static WidgetSpec,
        context: &CallContext,
        property: PropertyId,
        admitted: Instant,
        route: Instant,
    ) -> Settled {
        let guard = (context.deadline + GUARD).min(route);
        let outcome = timeout_at(guard, fetch(spec.kind, &self.upstreams, context, property)).await;
        let took = admitted.elapsed();
        let outcome = outcome.unwrap_or(Err(CallError::Timeout)).map_err(|error| error.reason());
        record(spec, took, outcome.as_ref().err().copied());
        Settled { name: spec.name, widget: settled(spec, took, outcome) }
    }
}

fn chosen(names: &str) -> Result<Vec<&'static WidgetSpec>, UnknownWidget> {
    let mut wanted: Vec<&'static WidgetSpec> = Vec::new();
    for name in names.split(',') {
        let spec = by_name(name).ok_or_else(|| UnknownWidget(name.chars().take(40).collect()))?;
        if !wanted.iter().any(|known| known.name == spec.name) {
            wanted.push(spec);
        }
    }
    Ok(wanted)
}

fn forbidden(spec: &'static WidgetSpec) -> Settled {
    let widget = Widget {
        status: WidgetStatus::Forbidden,
        source: spec.upstream.name().to_owned(),
        as_of: None,
        age_ms: None,
        took_ms: None,
        reason: None,
        data: None,
    };
    Settled { name: spec.name, widget }
}

fn settled(spec: &WidgetSpec, took: Duration, outcome: Result<Fetched, Reason>) -> Widget {
    let (status, as_of, reason, data) = match outcome {
        Ok(fetched) => (WidgetStatus::Ok, Some(fetched.as_of), None, Some(fetched.data)),
        Err(reason) => (WidgetStatus::Unavailable, None, Some(reason), None),
    };
    Widget {
        status,
        source: spec.upstream.name().to_owned(),
        as_of,
        age_ms: None,
        took_ms: Some(took.as_millis() as u64),
        reason,
        data,
    }
}

fn record(spec: &WidgetSpec, took: Duration, reason: Option<Reason>) {
    let outcome = reason.map_or("ok", Reason::name);
    counter!("bff_backoffice_widget_total", "widget" => spec.name, "outcome" => outcome)
        .increment(1);
    histogram!("bff_backoffice_widget_duration_seconds", "widget" => spec.name)
        .record(took.as_secs_f64());
}

fn count_partial(partial: bool) {
    if partial {
        counter!("bff_backoffice_dashboard_partial_total").increment(1);
    }
}
