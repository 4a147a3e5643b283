//! Plans and composes a dashboard: all widgets in parallel, each under its own deadline and all
//! under the route's.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use contracts::dashboard::{Dashboard, Record, Widget, WidgetStatus};
use contracts::env::Env;
use contracts::id::{DashboardId, PropertyId, TenantId};
use contracts::safeguard::{Safeguard, time_limit};
use contracts::workbench::Part;
use derive_more::Deref;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use upstream_clients::{CallContext, Upstreams};

use crate::admission::{ConcurrencyLimit, Permit};
use crate::local_data::LocalData;
use crate::meters::Meters;
use crate::property_read::{PropertyDay, PropertyRead, Sources};
use crate::provenance::Provenance;
use crate::read_policy::ReadPolicy;
use crate::result::{WidgetOrigin, WidgetResult, milliseconds};
use crate::snapshots::{FetchFuture, Key, Snapshots};
use crate::widgets::{WIDGETS, WidgetSpec, by_name};

#[cfg(test)]
mod tests;

/// The route's default timeout, counted from the receipt of the request.
pub const ROUTE_DEADLINE: Duration = Duration::from_millis(550);

/// The route's timeout per tenant.
#[derive(Debug, Clone)]
pub struct Deadlines {
    pub default: Duration,
    /// Tenants with another timeout than the default.
    pub by_tenant: HashMap<TenantId, Duration>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { default: ROUTE_DEADLINE, by_tenant: HashMap::new() }
    }
}

impl Deadlines {
    fn of(&self, tenant: TenantId) -> Duration {
        self.by_tenant.get(&tenant).copied().unwrap_or(self.default)
    }
}

/// Why a dashboard is not composed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("there is no widget named {0}")]
    UnknownWidget(String),
    #[error("too many dashboards are being composed")]
    Overloaded,
}

/// The widgets to show, decided before any upstream is called.
#[derive(Debug)]
pub struct Plan {
    pub id: DashboardId,
    pub tenant: TenantId,
    pub property: PropertyId,
    admitted: Instant,
    route_deadline: Duration,
    allowed: Vec<&'static WidgetSpec>,
    forbidden: Vec<&'static WidgetSpec>,
    /// Held until the last widget is done.
    permit: Arc<Permit>,
}

impl Plan {
    /// The deadline of the whole dashboard.
    pub fn deadline(&self) -> Instant {
        self.admitted + self.route_deadline
    }

    fn deadline_ms(&self) -> u64 {
        self.route_deadline.as_millis() as u64
    }

    /// The first record of a streamed dashboard.
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

/// A dashboard and the origin of its widgets.
#[derive(Debug)]
pub struct Composed {
    pub dashboard: Dashboard,
    /// One per widget, by name.
    pub origins: Vec<WidgetOrigin>,
}

/// Entry point of this crate. Cheap to clone.
#[derive(Debug, Clone, Deref)]
pub struct Composer(#[deref(forward)] Arc<Inner>);

#[derive(Debug, Clone)]
pub struct Inner {
    pub(crate) sources: Sources,
    pub(crate) snapshots: Snapshots,
    meters: Meters,
    limit: ConcurrencyLimit,
    deadlines: Arc<Deadlines>,
    pub(crate) env: Env,
}

impl Composer {
    pub fn new(
        upstreams: Arc<Upstreams>,
        local: Arc<dyn LocalData>,
        snapshots: Snapshots,
        env: Env,
    ) -> Self {
        let (sources, meters) = (Sources { upstreams, local }, Meters::new());
        let deadlines = Arc::default();
        let limit = ConcurrencyLimit::new();
        let inner = Inner { sources, snapshots, meters, limit, deadlines, env };
        Self(Arc::new(inner))
    }

    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        Arc::make_mut(&mut self.0).deadlines = Arc::new(deadlines);
        self
    }

    /// The cache, for reads outside the dashboard.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.sources.upstreams
    }

    /// The call of a read, for [`Snapshots::read`].
    pub fn fetch(
        &self,
        read: &'static PropertyRead,
        at: PropertyDay,
    ) -> impl Fn(CallContext) -> FetchFuture + Send + Sync + '_ {
        move |context| self.sources.fetch(read, context, at)
    }

    /// Dashboards in flight, and the current limit.
    pub fn load(&self) -> (usize, usize) {
        self.limit.usage()
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Decides what this caller sees. `names` limits the widgets, comma separated.
    pub fn plan(
        &self,
        principal: &Principal,
        property: PropertyId,
        names: Option<&str>,
        admitted: Instant,
    ) -> Result<Plan, PlanError> {
        let wanted = match names {
            None => WIDGETS.to_vec(),
            Some(names) => parse_names(names)?,
        };
        let (allowed, forbidden) = wanted
            .into_iter()
            .partition(|spec: &&WidgetSpec| spec.roles.intersects(principal.roles));
        let route_deadline = time_limit(Safeguard::Deadlines, self.deadlines.of(principal.tenant));
        let permit = self.limit.try_acquire(principal.tenant, admitted, route_deadline);
        let permit = permit.ok_or(PlanError::Overloaded)?;
        Ok(Plan {
            id: self.env.new_id(),
            tenant: principal.tenant,
            property,
            admitted,
            route_deadline,
            allowed,
            forbidden,
            permit: Arc::new(permit),
        })
    }

    /// Streams the widgets as they complete. Dropping the stream cancels its calls, unless other
    /// requests share them.
    pub fn compose_stream(
        &self,
        plan: &Plan,
        context: &CallContext,
    ) -> impl Stream<Item = WidgetResult> + Send + use<> {
        let forbidden = |&spec: &&'static WidgetSpec| {
            let provenance = Provenance::forbidden(spec.name, &spec.read.policy);
            widget_result(spec, &provenance)
        };
        let forbidden: Vec<_> = plan.forbidden.iter().map(forbidden).collect();
        let (composer, context) = (self.clone(), context.clone());
        let permit = Arc::clone(&plan.permit);
        let (tenant, property) = (plan.tenant, plan.property);
        let (allowed, route) = (plan.allowed.clone(), plan.deadline());
        let fetching = async move {
            // Not since admission: a slow edge must not use up the time of the shortest reads.
            let begun = Instant::now();
            composer.prefetch(&allowed, tenant, property).await;
            let widget = |spec: &'static WidgetSpec| {
                let limit = time_limit(Safeguard::Deadlines, spec.read.policy.deadline);
                let deadline = (begun + limit).min(route);
                composer.clone().widget(spec, context.with_deadline(deadline), tenant, property)
            };
            allowed.into_iter().map(widget).collect::<FuturesUnordered<_>>()
        };
        let fetched = futures_util::stream::once(fetching).flatten();
        futures_util::stream::iter(forbidden).chain(fetched).inspect(move |_| {
            let _held = &permit;
        })
    }

    /// As [`Self::compose_stream`], but buffered, for slow readers: a stalled reader blocks neither
    /// upstream calls nor the permit. Dropping the stream cancels as before.
    pub fn compose_buffered(
        &self,
        plan: &Plan,
        context: &CallContext,
    ) -> impl Stream<Item = WidgetResult> + Send + use<> {
        let all = plan.allowed.len() + plan.forbidden.len();
        let (sender, receiver) = mpsc::channel(all.max(1));
        let results = self.compose_stream(plan, context);
        self.snapshots.tasks().spawn(async move {
            let mut results = pin!(results);
            let sending = async {
                while let Some(result) = results.next().await {
                    // The channel has room for all of them.
                    let _ = sender.try_send(result);
                }
            };
            tokio::select! {
                () = sending => {}
                () = sender.closed() => {}
            }
        });
        futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|result| (result, receiver))
        })
    }

    /// Loads all snapshots that this process lacks in one round trip.
    async fn prefetch(
        &self,
        allowed: &[&'static WidgetSpec],
        tenant: TenantId,
        property: PropertyId,
    ) {
        let reads: Vec<(&'static ReadPolicy, Key)> = allowed
            .iter()
            .map(|spec| (&spec.read.policy, spec.read.key(tenant, property.into())))
            .collect();
        self.snapshots.prefetch(&reads).await;
    }

    /// Composes the whole dashboard.
    pub async fn compose(&self, plan: &Plan, context: &CallContext) -> Composed {
        let settled: Vec<WidgetResult> = self.compose_stream(plan, context).collect().await;
        let partial = settled.iter().any(WidgetResult::makes_partial);
        let mut origins: Vec<WidgetOrigin> = settled.iter().map(|settled| settled.origin).collect();
        origins.sort_by_key(|origin| origin.name);
        let widgets: BTreeMap<_, _> = settled
            .into_iter()
            .map(|settled| (settled.spec.name.to_owned(), settled.widget))
            .collect();
        self.meters.dashboard(partial);
        let dashboard = Dashboard {
            id: plan.id,
            tenant_id: plan.tenant,
            property_id: plan.property,
            generated_at: self.env.now().into(),
            deadline_ms: plan.deadline_ms(),
            partial,
            widgets,
        };
        Composed { dashboard, origins }
    }

    /// The last record of a streamed dashboard.
    pub fn done(&self, partial: bool) -> Record {
        self.meters.dashboard(partial);
        Record::Done { generated_at: self.env.now().into(), partial }
    }

    async fn widget(
        self,
        spec: &'static WidgetSpec,
        context: CallContext,
        tenant: TenantId,
        property: PropertyId,
    ) -> WidgetResult {
        let (began, read, at) = (Instant::now(), &spec.read, property.into());
        let fetch = self.fetch(read, at);
        let outcome =
            self.snapshots.read(&read.policy, &read.key(tenant, at), &context, fetch).await;
        let provenance = match outcome {
            Ok(reading) => Provenance::of(spec.name, &read.policy, reading),
            Err(error) => Provenance::failed(spec.name, &read.policy, &error, began.elapsed()),
        };
        let result = widget_result(spec, &provenance);
        self.meters.widget(&result);
        result
    }
}

fn parse_names(names: &str) -> Result<Vec<&'static WidgetSpec>, PlanError> {
    let mut wanted: Vec<&'static WidgetSpec> = Vec::new();
    for name in names.split(',') {
        let spec = by_name(name)
            .ok_or_else(|| PlanError::UnknownWidget(name.chars().take(40).collect()))?;
        if !wanted.iter().any(|known| known.name == spec.name) {
            wanted.push(spec);
        }
    }
    Ok(wanted)
}

/// A widget as its source gave it, or without content.
fn widget_result(spec: &'static WidgetSpec, provenance: &Provenance) -> WidgetResult {
    let origin = provenance.origin();
    let Part { status, source, as_of, age_ms, reason } = provenance.part();
    let took_ms = (status != WidgetStatus::Forbidden).then(|| milliseconds(origin.took));
    let data = provenance.reading().and_then(|reading| reading.snapshot.part(spec.part).cloned());
    let widget = Widget { status, source, as_of, age_ms, took_ms, reason, data };
    WidgetResult { spec, widget, origin }
}
