//! What the widgets of a failing upstream show: the last data with its age, nothing where there is no
//! earlier data, or nothing by design.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use composer::WIDGETS;
use contracts::clock::Clock;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::other_manager::OtherManager;
use crate::drill_env::{DashboardView, DrillEnv};
use crate::drill_run::DrillRun;

/// A hotel's first dashboard calls every upstream, which takes a while on a busy machine.
const FIRST_DASHBOARD_WITHIN: Duration = Duration::from_secs(5);

/// What the widgets of a failing upstream show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The last data, marked as stale, with its age.
    LastData,
    /// Nothing; the dashboard does not count as partial.
    Hidden,
}

/// A moment, on both clocks: the machine's and the wall's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Instant,
    wall: Timestamp,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), wall: Clock::system().now() }
    }
}

/// When the data of the upstream's widgets was current, before the fault.
#[derive(Debug)]
pub(super) struct LastData(BTreeMap<String, Timestamp>);

impl LastData {
    /// Reads it from a dashboard in which these widgets are ok.
    pub(super) fn of(dashboard: &DashboardView, names: &BTreeSet<String>) -> anyhow::Result<Self> {
        let one = |name: &String| {
            let as_of = as_of(&dashboard.body["widgets"][name]);
            anyhow::Ok((name.clone(), as_of.ok_or_else(|| anyhow::anyhow!("{name} has no asOf"))?))
        };
        Ok(Self(names.iter().map(one).collect::<anyhow::Result<_>>()?))
    }

    /// Whether a widget shows data from before the fault as stale, with its true age, and within the time
    /// for which it may be shown.
    fn is_shown(&self, name: &str, widget: &Value, seen: Instant, fault: Moment) -> bool {
        let (Some(earlier), Some(as_of)) = (self.0.get(name), as_of(widget)) else { return false };
        let is_from_before = *earlier <= as_of && as_of <= fault.wall;
        let Some(age) = widget["ageMs"].as_u64().map(Duration::from_millis) else { return false };
        // The data was requested before the fault, and the dashboard composed after it was requested.
        let is_true_age = age >= seen - fault.at && age <= shown_for(name);
        widget["status"] == "stale"
            && !widget["data"].is_null()
            && widget["reason"].is_string()
            && is_from_before
            && is_true_age
    }

    /// Checks all views of the widgets that are not ok.
    pub(super) fn check(&self, run: &DrillRun, during: &[DashboardView], fault: Moment) {
        let not_ok = during.iter().flat_map(|view| {
            let own = self.0.keys().filter(|name| view.not_ok.contains(*name));
            own.map(move |name| (name, view))
        });
        let (mut good, mut all, mut odd) = (0, 0, None);
        for (name, view) in not_ok {
            all += 1;
            let widget = &view.body["widgets"][name];
            if self.is_shown(name, widget, view.at, fault) {
                good += 1;
            } else {
                odd = Some(format!(", {name}: {}", summary(widget)));
            }
        }
        let what = "its widgets show the last data, with its age";
        let found = format!("{good} of {all}{}", odd.unwrap_or_default());
        run.user(what, good == all && all > 0, found);
    }
}

/// Checks that the widgets show nothing, and that dashboards do not count as partial without them.
pub(super) fn check_hidden(run: &DrillRun, during: &[DashboardView], names: &BTreeSet<String>) {
    let without = during.iter().filter(|view| view.not_ok.is_superset(names));
    let is_hidden = |view: &&DashboardView| {
        let are_empty = names.iter().all(|name| is_unavailable(&view.body["widgets"][name]));
        are_empty && (view.not_ok != *names || view.body["partial"] == false)
    };
    let (all, good) = (without.clone().count(), without.filter(is_hidden).count());
    let what = "its widgets are hidden, and no dashboard is partial for it";
    run.user(what, good == all && all > 0, format!("{good} of {all}"));
}

/// Checks that dashboards lack the widgets of `failing` upstreams alone. A busy machine may exceed the
/// deadline of 100 ms of the gateway's own widget now and then.
pub(super) fn check_others(run: &DrillRun, during: &[DashboardView], failing: &BTreeSet<String>) {
    let missed: BTreeSet<_> =
        during.iter().flat_map(DashboardView::upstream_widgets_not_ok).collect();
    let others: BTreeSet<_> = missed.difference(failing).collect();
    run.user("every other widget is ok", others.is_empty(), format!("{others:?}"));
    let (alone, all) = (during.iter().filter(|view| view.not_ok == *failing).count(), during.len());
    let what = "the gateway's own widget is ok beside them";
    run.user(what, alone > 0, format!("{alone} of {all}"));
}

/// Checks a hotel of which no dashboard was read before: without earlier data, the upstream's widgets are
/// unavailable, and no others than those of `failing` upstreams.
pub(super) async fn check_without_data(
    run: &DrillRun,
    other: &OtherManager,
    names: &BTreeSet<String>,
    failing: &BTreeSet<String>,
) {
    let is_so = async |env: &DrillEnv| {
        let view = other.dashboard(env).await;
        let are_empty = names.iter().all(|name| is_unavailable(&view.body["widgets"][name]));
        Ok(view.status == Some(200) && view.upstream_widgets_not_ok() == *failing && are_empty)
    };
    let outcome = run.env.wait_until("such a dashboard", FIRST_DASHBOARD_WITHIN, is_so).await;
    let what = "a hotel without earlier data misses its widgets alone, which are unavailable";
    run.user_within(what, outcome);
}

fn is_unavailable(widget: &Value) -> bool {
    widget["status"] == "unavailable" && widget["data"].is_null() && widget["reason"].is_string()
}

fn as_of(widget: &Value) -> Option<Timestamp> {
    widget["asOf"].as_str()?.parse().ok()
}

fn summary(widget: &Value) -> String {
    let of = |name: &str| widget[name].to_string();
    format!("{} of {}, age {} ms, {}", of("status"), of("asOf"), of("ageMs"), of("reason"))
}

/// How old the data of a widget may be, by the composer's table.
fn shown_for(name: &str) -> Duration {
    let spec = WIDGETS.iter().find(|spec| spec.name == name);
    spec.map_or(Duration::ZERO, |spec| spec.read.policy.fresh + spec.read.policy.stale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: &str = "2026-11-21T08:00:00.000Z";

    fn known() -> LastData {
        LastData([("rateSnapshot".to_owned(), AT.parse().unwrap())].into())
    }

    /// Whether this widget counts as stale, two seconds after a fault at 08:00:01.
    fn is_shown(widget: &Value) -> bool {
        let (at, wall) = (Instant::now(), "2026-11-21T08:00:01.000Z".parse().unwrap());
        let seen = at + Duration::from_secs(2);
        known().is_shown("rateSnapshot", widget, seen, Moment { at, wall })
    }

    #[test]
    fn only_earlier_data_with_its_true_age_is_the_last_data() {
        let widget = json!({"status": "stale", "asOf": AT, "ageMs": 3000, "data": {},
                            "reason": "BREAKER_OPEN"});
        let with = |name: &str, value: Value| {
            let mut widget = widget.clone();
            widget[name] = value;
            is_shown(&widget)
        };
        assert!(is_shown(&widget));
        assert!(!with("status", json!("unavailable")));
        assert!(!with("ageMs", json!(1999)), "requested after the fault");
        assert!(!with("ageMs", json!(1_860_001)), "older than it may be shown");
        assert!(!with("ageMs", Value::Null));
        assert!(!with("asOf", json!("2026-11-21T08:00:02.000Z")), "from after the fault");
        assert!(!with("asOf", json!("2026-11-21T07:59:59.000Z")), "older than it was before");
        assert!(!with("data", Value::Null));
        assert!(!with("reason", Value::Null));
    }
}
