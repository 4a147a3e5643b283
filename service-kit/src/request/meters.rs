//! A server's request metrics. Handles are kept by label set, because looking them up costs more than
//! recording.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use contracts::id::TenantId;
use foldhash::quality::RandomState;
use http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use parking_lot::RwLock;

use super::RequestMetrics;

/// Label sets kept per route; handles of any more are looked up each time.
const MAX_LABEL_SETS: usize = 10_000;

/// Labels of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CallerLabels {
    pub(super) tenant: TenantId,
    pub(super) role: &'static str,
}

#[derive(Debug)]
pub(super) struct Meters {
    names: RequestMetrics,
    routes: RwLock<HashMap<String, Arc<RouteMeters>, RandomState>>,
}

impl Meters {
    pub(super) fn new(names: RequestMetrics) -> Self {
        Self { names, routes: RwLock::default() }
    }

    /// The metrics of `route`, which must be a route of the router, so that there are few.
    pub(super) fn of(&self, route: &str) -> Arc<RouteMeters> {
        let known = self.routes.read().get(route).cloned();
        known.unwrap_or_else(|| {
            let made = Arc::new(RouteMeters::new(self.names, route));
            keep(&self.routes, route.to_owned(), made)
        })
    }
}

/// The metrics of one route.
#[derive(Debug)]
pub(super) struct RouteMeters {
    names: RequestMetrics,
    pub(super) route: String,
    pub(super) inflight: Gauge,
    answered: RwLock<HashMap<ResponseLabels, Arc<Counts>, RandomState>>,
}

/// Labels of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ResponseLabels {
    method: &'static str,
    class: &'static str,
    caller: Option<CallerLabels>,
}

#[derive(Debug)]
struct Counts {
    total: Counter,
    duration: Histogram,
}

impl ResponseLabels {
    pub(super) fn new(method: &Method, status: StatusCode, caller: Option<CallerLabels>) -> Self {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let class = classes[usize::from(status.as_u16() / 100 - 1).min(4)];
        Self { method: name(method), class, caller }
    }

    fn tenant(&self) -> String {
        self.caller.as_ref().map_or("none", |caller| caller.tenant.as_str()).to_owned()
    }
}

/// The method as a label. Callers can invent methods, so unknown ones share a label.
fn name(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

impl RouteMeters {
    fn new(names: RequestMetrics, route: &str) -> Self {
        let inflight = gauge!(names.inflight, "route" => route.to_owned());
        Self { names, route: route.to_owned(), inflight, answered: RwLock::default() }
    }

    pub(super) fn answered(&self, labels: ResponseLabels, took: Duration) {
        let known = self.answered.read().get(&labels).cloned();
        let counts = known.unwrap_or_else(|| keep(&self.answered, labels, self.register(&labels)));
        counts.total.increment(1);
        counts.duration.record(took.as_secs_f64());
    }

    fn register(&self, labels: &ResponseLabels) -> Arc<Counts> {
        let (route, tenant) = (self.route.clone(), labels.tenant());
        let role = labels.caller.map_or("none", |caller| caller.role);
        let duration = histogram!(self.names.duration, "tenant_id" => tenant.clone(),
            "route" => route.clone(), "method" => labels.method, "status_class" => labels.class);
        let total = counter!(self.names.total, "tenant_id" => tenant, "route" => route,
            "method" => labels.method, "status_class" => labels.class, "role" => role);
        Arc::new(Counts { total, duration })
    }

    pub(super) fn failed(&self, labels: &ResponseLabels, code: String) {
        counter!(self.names.errors, "tenant_id" => labels.tenant(), "route" => self.route.clone(),
            "error_code" => code)
        .increment(1);
    }
}

/// Stores `made` unless another thread stored one first.
fn keep<K: Eq + Hash, V>(
    kept: &RwLock<HashMap<K, Arc<V>, RandomState>>,
    key: K,
    made: Arc<V>,
) -> Arc<V> {
    let mut kept = kept.write();
    if kept.len() >= MAX_LABEL_SETS {
        return made;
    }
    Arc::clone(kept.entry(key).or_insert(made))
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::request_metrics;

    const ROUTE: &str = "/rooms/{id}";

    fn rendered(work: impl FnOnce(&Meters)) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || work(&Meters::new(request_metrics!("test"))));
        recorder.handle().render()
    }

    #[test]
    fn answers_are_counted_by_route_method_status_and_caller() {
        let caller = CallerLabels {
            tenant: "tnt_01K0000000000000000000000A".parse().unwrap(),
            role: "frontdesk.agent",
        };
        let text = rendered(|meters| {
            for (status, caller) in [(200, Some(caller)), (201, Some(caller)), (500, None)] {
                let status = StatusCode::from_u16(status).unwrap();
                let labels = ResponseLabels::new(&Method::GET, status, caller);
                meters.of(ROUTE).answered(labels, Duration::from_millis(3));
            }
        });
        let labels = |tenant: &str, class: &str| {
            format!(r#"tenant_id="{tenant}",route="{ROUTE}",method="GET",status_class="{class}""#)
        };
        let (good, bad) = (labels(caller.tenant.as_str(), "2xx"), labels("none", "5xx"));
        for line in [
            format!(r#"test_request_total{{{good},role="frontdesk.agent"}} 2"#),
            format!(r#"test_request_total{{{bad},role="none"}} 1"#),
            format!("test_request_duration_seconds_count{{{good}}} 2"),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn unknown_methods_share_a_label() {
        let text = rendered(|meters| {
            for method in ["BREW", "WHEN"] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let labels = ResponseLabels::new(&method, StatusCode::METHOD_NOT_ALLOWED, None);
                meters.of(ROUTE).answered(labels, Duration::ZERO);
            }
        });
        assert!(text.contains(r#"method="other",status_class="4xx",role="none"} 2"#), "{text}");
    }
}
