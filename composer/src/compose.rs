//! The plan of one dashboard and its execution: every widget at once, each under its own
//! deadline, all under the route's.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use contracts::clock::{Clock, Entropy};
use contracts::dashboard::{Dashboard, Record, Widget, WidgetStatus};
use contracts::id::{DashboardId, Id, PropertyId, TenantId};
use contracts::safeguard::{Safeguard, time_limit};
use contracts::upstream::Upstream;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use upstream_clients::{CallContext, CallError, Upstreams};

use crate::fetch::Sources;
use crate::load::{Load, Slot};
use crate::meters::Meters;
use crate::own::OwnStore;
use crate::snapshots::{Key, ReadError, Reading, Rule, Snapshots, Source};
use crate::widgets::{WIDGETS, WidgetSpec, by_name};

/// The route's own deadline, after the request was let in.
pub const ROUTE_DEADLINE: Duration = Duration::from_millis(550);

/// Which route deadline a tenant has.
#[derive(Debug, Clone)]
pub struct Deadlines {
    pub usual: Duration,
    /// Of tenants with another one.
    pub own: HashMap<TenantId, Duration>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { usual: ROUTE_DEADLINE, own: HashMap::new() }
    }
}

impl Deadlines {
    fn of(&self, tenant: TenantId) -> Duration {
        self.own.get(&tenant).copied().unwrap_or(self.usual)
    }
}

/// Why nothing is composed.
#[derive(Debug, thiserror::Error)]
pub enum NoPlan {
    #[error("there is no widget named {0}")]
    UnknownWidget(String),
    #[error("more dashboards are asked for than can be composed in time")]
    Overloaded,
}

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
    /// Held until the last widget has settled.
    slot: Arc<Slot>,
}

impl Plan {
    /// The instant after which no widget of it lives.
    pub fn deadline(&self) -> Instant {
        self.admitted + self.route_deadline
    }

    fn key(&self) -> (TenantId, PropertyId) {
        (self.tenant, self.property)
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
    pub upstream: Option<Upstream>,
    pub widget: Widget,
    /// Where its content came from; none when there is none.
    pub source: Option<Source>,
    /// The same for the same content.
    pub tag: u64,
    /// How long it waited for its upstream or its store.
    pub took: Duration,
}

impl Settled {
    /// Whether it makes the dashboard partial.
    pub fn is_lacking(&self) -> bool {
        matches!(self.widget.status, WidgetStatus::Stale | WidgetStatus::Unavailable)
    }
}

/// A dashboard, and how it came about.
#[derive(Debug)]
pub struct Composed {
    pub dashboard: Dashboard,
    /// One per widget: its name, and what [`Settled`] says of it.
    pub told: Vec<Told>,
}

/// What a widget's content is and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    pub name: &'static str,
    pub upstream: Option<Upstream>,
    pub status: WidgetStatus,
    pub source: Option<Source>,
    pub tag: u64,
    pub took: Duration,
}

/// Cheap to clone: each widget under way holds one.
#[derive(Debug, Clone)]
pub struct Composer(Arc<Parts>);

#[derive(Debug, Clone)]
pub struct Parts {
    pub(crate) sources: Sources,
    pub(crate) snapshots: Snapshots,
    meters: Meters,
    load: Load,
    deadlines: Arc<Deadlines>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
}

impl Deref for Composer {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Composer {
    pub fn new(
        upstreams: Arc<Upstreams>,
        own: Arc<dyn OwnStore>,
        snapshots: Snapshots,
        (clock, entropy): (Clock, Entropy),
    ) -> Self {
        let (sources, meters) = (Sources { upstreams, own }, Meters::new());
        let (deadlines, load) = (Arc::default(), Load::new());
        let parts = Parts { sources, snapshots, meters, load, deadlines, clock, entropy };
        Self(Arc::new(parts))
    }

    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        Arc::make_mut(&mut self.0).deadlines = Arc::new(deadlines);
        self
    }

    /// What upstreams answered, for reads outside the dashboard.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.sources.upstreams
    }

    /// Dashboards that are composed now, and how many may be.
    pub fn load(&self) -> (usize, usize) {
        self.load.usage()
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Decides what this caller will be shown. `names` limits the set, comma separated.
    pub fn plan(
        &self,
        principal: &Principal,
        property: PropertyId,
        names: Option<&str>,
        admitted: Instant,
    ) -> Result<Plan, NoPlan> {
        let wanted = match names {
            None => WIDGETS.iter().collect(),
            Some(names) => chosen(names)?,
        };
        let (allowed, forbidden) = wanted
            .into_iter()
            .partition(|spec: &&WidgetSpec| spec.roles.intersects(principal.roles));
        let route_deadline = time_limit(Safeguard::Deadlines, self.deadlines.of(principal.tenant));
        let slot = self.load.enter(principal.tenant, admitted, route_deadline);
        let slot = slot.ok_or(NoPlan::Overloaded)?;
        Ok(Plan {
            id: DashboardId::generate(&self.clock, &self.entropy),
            tenant: principal.tenant,
            property,
            admitted,
            route_deadline,
            allowed,
            forbidden,
            slot: Arc::new(slot),
        })
    }

    /// The widgets as they settle. Dropping the stream cancels every call nobody else waits for.
    pub fn settle(
        &self,
        plan: &Plan,
        context: &CallContext,
    ) -> impl Stream<Item = Settled> + Send + use<> {
        let forbidden: Vec<_> = plan.forbidden.iter().map(|&spec| forbidden(spec)).collect();
        let (composer, context) = (self.clone(), context.clone());
        let slot = Arc::clone(&plan.slot);
        let plan = (plan.allowed.clone(), plan.key(), plan.admitted, plan.deadline());
        let fetching = async move {
            let (allowed, key, admitted, route) = plan;
            composer.warm(&allowed, key).await;
            let widget = |spec: &'static WidgetSpec| {
                let limit = time_limit(Safeguard::Deadlines, spec.rule.deadline);
                let deadline = (admitted + limit).min(route);
                composer.clone().widget(spec, context.until(deadline), key)
            };
            allowed.into_iter().map(widget).collect::<FuturesUnordered<_>>()
        };
        let fetched = futures_util::stream::once(fetching).flatten();
        futures_util::stream::iter(forbidden).chain(fetched).inspect(move |_| {
            let _held = &slot;
        })
    }

    /// The same for a reader who takes them when it likes: one that stands still holds neither calls
    /// nor a place that others wait for. Dropping the stream cancels as before.
    pub fn settle_unhurried(
        &self,
        plan: &Plan,
        context: &CallContext,
    ) -> impl Stream<Item = Settled> + Send + use<> {
        let all = plan.allowed.len() + plan.forbidden.len();
        let (tell, told) = mpsc::channel(all.max(1));
        let settling = self.settle(plan, context);
        self.snapshots.tasks().spawn(async move {
            let mut settling = pin!(settling);
            let telling = async {
                while let Some(settled) = settling.next().await {
                    // There is room for all of them.
                    let _ = tell.try_send(settled);
                }
            };
            tokio::select! {
                () = telling => {}
                () = tell.closed() => {}
            }
        });
        futures_util::stream::unfold(told, async |mut told| {
            told.recv().await.map(|settled| (settled, told))
        })
    }

    /// One round trip for all that this process does not hold.
    async fn warm(
        &self,
        allowed: &[&'static WidgetSpec],
        (tenant, property): (TenantId, PropertyId),
    ) {
        let reads: Vec<(&'static Rule, Key)> = allowed
            .iter()
            .map(|spec| (spec.rule, Key::of_property(spec.rule, tenant, property)))
            .collect();
        self.snapshots.warm(&reads).await;
    }

    /// The whole dashboard, once every widget has settled.
    pub async fn compose(&self, plan: &Plan, context: &CallContext) -> Composed {
        let settled: Vec<Settled> = self.settle(plan, context).collect().await;
        let partial = settled.iter().any(Settled::is_lacking);
        let mut told: Vec<Told> = settled.iter().map(Told::of).collect();
        told.sort_by_key(|it| it.name);
        let widgets: BTreeMap<_, _> =
            settled.into_iter().map(|settled| (settled.name.to_owned(), settled.widget)).collect();
        self.meters.dashboard(partial);
        let dashboard = Dashboard {
            id: plan.id,
            tenant_id: plan.tenant,
            property_id: plan.property,
            generated_at: self.clock.now(),
            deadline_ms: plan.deadline_ms(),
            partial,
            widgets,
        };
        Composed { dashboard, told }
    }

    /// The last record of the progressive forms.
    pub fn done(&self, partial: bool) -> Record {
        self.meters.dashboard(partial);
        Record::Done { generated_at: self.clock.now(), partial }
    }

    async fn widget(
        self,
        spec: &'static WidgetSpec,
        context: CallContext,
        (tenant, property): (TenantId, PropertyId),
    ) -> Settled {
        let (began, sources) = (Instant::now(), self.sources.clone());
        let fetch = move |context| sources.clone().ask(spec.question, context, property);
        let key = Key::of_property(spec.rule, tenant, property);
        let outcome = self.snapshots.read(spec.rule, &key, &context, fetch).await;
        let took = began.elapsed();
        let settled = settled(spec, took, outcome);
        self.meters.widget(spec, took, &settled);
        settled
    }
}

impl Told {
    fn of(settled: &Settled) -> Self {
        let Settled { name, upstream, source, tag, took, .. } = *settled;
        Self { name, upstream, status: settled.widget.status, source, tag, took }
    }
}

fn chosen(names: &str) -> Result<Vec<&'static WidgetSpec>, NoPlan> {
    let mut wanted: Vec<&'static WidgetSpec> = Vec::new();
    for name in names.split(',') {
        let spec =
            by_name(name).ok_or_else(|| NoPlan::UnknownWidget(name.chars().take(40).collect()))?;
        if !wanted.iter().any(|known| known.name == spec.name) {
            wanted.push(spec);
        }
    }
    Ok(wanted)
}

fn forbidden(spec: &'static WidgetSpec) -> Settled {
    let widget = empty(spec, WidgetStatus::Forbidden);
    of(spec, widget, None, (0, Duration::ZERO))
}

fn settled(
    spec: &'static WidgetSpec,
    took: Duration,
    outcome: Result<Reading, ReadError>,
) -> Settled {
    let took_ms = Some(milliseconds(took));
    let reading = match outcome {
        Ok(reading) => reading,
        Err(error) => return unavailable(spec, took, &error),
    };
    let (status, age_ms, reason) = match reading.source {
        Source::Stale { age, reason } => {
            (WidgetStatus::Stale, Some(milliseconds(age)), Some(reason))
        }
        _ => (WidgetStatus::Ok, None, None),
    };
    let widget = Widget {
        as_of: Some(reading.snapshot.as_of),
        age_ms,
        took_ms,
        reason,
        data: reading.snapshot.part(spec.part).cloned(),
        ..empty(spec, status)
    };
    of(spec, widget, Some(reading.source), (reading.snapshot.tag, took))
}

fn unavailable(spec: &'static WidgetSpec, took: Duration, error: &CallError) -> Settled {
    let (took_ms, reason) = (Some(milliseconds(took)), Some(error.reason()));
    let widget = Widget { took_ms, reason, ..empty(spec, WidgetStatus::Unavailable) };
    of(spec, widget, None, (0, took))
}

fn of(
    spec: &'static WidgetSpec,
    widget: Widget,
    source: Option<Source>,
    (tag, took): (u64, Duration),
) -> Settled {
    Settled { name: spec.name, upstream: spec.rule.upstream, widget, source, tag, took }
}

fn empty(spec: &WidgetSpec, status: WidgetStatus) -> Widget {
    Widget {
        status,
        source: spec.source().to_owned(),
        as_of: None,
        age_ms: None,
        took_ms: None,
        reason: None,
        data: None,
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
