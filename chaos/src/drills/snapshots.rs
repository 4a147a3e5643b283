//! An upstream fails whose answers are kept: they are shown with their age, nothing else is lacking,
//! and only what nobody asked for before is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use launcher::desktop::Call;
use reqwest::header::AGE;
use tokio::time::{Instant, sleep};

use super::Form;
use super::upstream::{Blow, failures};
use crate::alerts;
use crate::desk;
use crate::house::{House, Seen};
use crate::observations::{Observations, Step};
use crate::timed;

const CALLS: &str = "bff_backoffice_upstream_request_total";
const STALE: &str = "bff_backoffice_cache_stale_total";
const AWAY: &str = "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE";
/// Every other upstream's alert has its label.
const ALERT: &str = "BffUpstreamDown";
/// The route's deadline and what a connection adds to it on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
/// The widgets are fresh for 10 s; then they are old, and the upstream is missed.
const UNTIL_OLD: Duration = Duration::from_secs(15);
/// The route is fresh for up to 15 s.
const UNTIL_ROUTE_IS_OLD: Duration = Duration::from_secs(16);
const WATCHED: Duration = Duration::from_secs(3);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(32);
const PAUSE: Duration = Duration::from_millis(40);

/// A read of the upstream beside the dashboard.
#[derive(Debug)]
pub(super) struct Route {
    /// With `propertyId`, what the desk looks at all day.
    pub(super) path: &'static str,
    /// What makes another question of it, which nobody asked yet.
    pub(super) unasked: Option<&'static str>,
}

impl Route {
    fn call(&self, house: &House) -> Call {
        Call::get(format!("{}?propertyId={}", self.path, house.property))
    }
}

#[derive(Debug)]
pub(super) struct SnapshotDrill {
    pub(super) blow: Blow,
    pub(super) widgets: &'static [&'static str],
    pub(super) route: Option<Route>,
}

impl SnapshotDrill {
    pub(super) async fn run(
        &self,
        form: Form,
        objective: Duration,
        house: &mut House,
        seen: &mut Observations,
    ) -> anyhow::Result<()> {
        let steady = house
            .until("a whole dashboard", objective, async |it: &House| self.is_well(it).await)
            .await;
        seen.took(Step::Steady, "every widget is ok, and the route answers", steady);
        let (failed, stale) = (failures(house, self.blow).await?, house.metric(STALE, &[]).await?);
        let struck = Instant::now();
        self.blow.strike(house).await?;
        seen.expect(Step::Fault, self.blow.sentence(), true, "done");

        let mut during = self.until_old(struck, house, seen).await;
        during.extend(watched(form, house, seen).await?);
        let fresh = if self.route.is_some() { UNTIL_ROUTE_IS_OLD } else { Duration::ZERO };
        during.extend(house.watch(fresh.saturating_sub(struck.elapsed()), PAUSE).await);
        self.dashboards(&during, seen);
        self.route(house, seen).await?;
        let (failed, stale) =
            (failures(house, self.blow).await? - failed, house.metric(STALE, &[]).await? - stale);
        let what = format!("{CALLS} counts its failures, {STALE} what is shown instead");
        let found = format!("{failed:.0} failed, {stale:.0} stale");
        seen.expect(Step::Detection, what, failed > 0.0 && stale > 0.0, found);

        self.blow.undo(house).await?;
        let back = house
            .until("a whole dashboard", objective, async |it: &House| self.is_well(it).await)
            .await;
        let what = format!("every widget and the route are fresh within {} s", objective.as_secs());
        let took = seen.took(Step::Recovery, what, back);
        seen.recovered_after(took);
        Ok(())
    }

    /// Asks until the upstream is missed, as a desk does.
    async fn until_old(
        &self,
        struck: Instant,
        house: &House,
        seen: &mut Observations,
    ) -> Vec<Seen> {
        let mut before = Vec::new();
        while struck.elapsed() < UNTIL_OLD {
            let dashboard = house.dashboard().await;
            let is_missed = self.is_missed(&dashboard);
            before.push(dashboard);
            if is_missed {
                break;
            }
            sleep(PAUSE).await;
        }
        let is_missed = before.last().is_some_and(|last| self.is_missed(last));
        let what = "what is kept is past its freshness, and there is nothing newer";
        seen.expect(Step::Detection, what, is_missed, format!("after {:?}", struck.elapsed()));
        seen.detected_after(is_missed.then(|| struck.elapsed()));
        before
    }

    fn is_missed(&self, dashboard: &Seen) -> bool {
        self.widgets.iter().all(|name| dashboard.lacking.contains(*name))
    }

    fn dashboards(&self, during: &[Seen], seen: &mut Observations) {
        let (what, all) = (self.blow.sentence(), during.len());
        let good = during.iter().filter(|it| it.status == Some(200)).count();
        let expected = format!("{what}: every dashboard is 200");
        seen.expect(Step::User, expected, good == all && good > 0, format!("{good} of {all}"));
        let slowest = during.iter().map(|it| it.took).max().unwrap_or_default();
        let expected = format!("{what}: every answer within {} ms", ANSWER_WITHIN.as_millis());
        let found = format!("slowest {} ms", slowest.as_millis());
        seen.expect(Step::User, expected, slowest <= ANSWER_WITHIN, found);

        let own: BTreeSet<String> = self.widgets.iter().map(|name| (*name).to_owned()).collect();
        let others: BTreeSet<_> =
            during.iter().flat_map(|it| it.lacking.difference(&own)).collect();
        let expected = format!("{what}: no other widget is lacking");
        seen.expect(Step::User, expected, others.is_empty(), format!("{others:?}"));

        let lacking = |name: &str| {
            let having = during.iter().filter(|it| it.lacking.contains(name));
            having.map(|it| &it.body["widgets"][name]).collect::<Vec<_>>()
        };
        let widgets: Vec<_> = own.iter().flat_map(|name| lacking(name)).collect();
        let stale = widgets.iter().filter(|it| {
            it["status"] == "stale" && it["ageMs"].as_u64() > Some(0) && it["data"].is_object()
        });
        let (stale, all) = (stale.count(), widgets.len());
        let oldest = widgets.iter().filter_map(|it| it["ageMs"].as_u64()).max().unwrap_or_default();
        let expected = format!("{what}: its widgets show what was read last, with its age");
        let found = format!("{stale} of {all}, the oldest of {oldest} ms");
        seen.expect(Step::User, expected, stale == all && all > 0, found);
    }

    /// What is kept is shown; what nobody asked for is refused.
    async fn route(&self, house: &House, seen: &mut Observations) -> anyhow::Result<()> {
        let Some(route) = &self.route else { return Ok(()) };
        let answer = house.desktop.send(&route.call(house)).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|it| it.to_str().ok());
        let found = format!("{} {:?}", answer.status(), (header("x-cache"), header(AGE.as_str())));
        let held = answer.status() == 200
            && header("x-cache") == Some("STALE")
            && header(AGE.as_str()).is_some_and(|age| age != "0");
        let what = format!("{} is 200 and STALE with its Age", route.path);
        seen.expect(Step::User, what, held, found);
        let Some(unasked) = route.unasked else { return Ok(()) };
        let mut call = route.call(house);
        call.path.push_str(unasked);
        let answer = timed::send(&house.desktop, &call).await?;
        let held = answer.is(502, AWAY) && answer.body["retriable"] == true;
        let what = format!("{} of which nothing is kept is a retriable 502", route.path);
        seen.expect(Step::User, what, held && answer.took <= ANSWER_WITHIN, answer.told());
        Ok(())
    }

    async fn is_well(&self, house: &House) -> anyhow::Result<bool> {
        if !house.dashboard().await.is_whole() {
            return Ok(false);
        }
        let Some(route) = &self.route else { return Ok(true) };
        let answer = house.desktop.send(&route.call(house)).await?;
        let is_stale = answer.headers().get("x-cache").is_none_or(|it| it == "STALE");
        Ok(desk::Answer::of(answer).await.status == 200 && !is_stale)
    }
}

async fn watched(form: Form, house: &House, seen: &mut Observations) -> anyhow::Result<Vec<Seen>> {
    if form == Form::Short {
        return Ok(house.watch(WATCHED, PAUSE).await);
    }
    let exported = (house.http(), house.metrics_url());
    let (during, fired) = alerts::during(ALERT, exported, house.watch(ALERTED, PAUSE)).await;
    seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    Ok(during)
}
