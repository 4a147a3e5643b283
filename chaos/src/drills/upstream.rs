//! An upstream of the dashboard fails: its widgets go or grow old, the others stay, nothing is late,
//! and it comes back by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Form;
use super::beside::Beside;
use crate::alerts;
use crate::events;
use crate::house::{House, Seen, fault};
use crate::observations::{Observations, Step};

/// The route's deadline and what a connection adds to it on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
const DETECT_WITHIN: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(3);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(32);
const PAUSE: Duration = Duration::from_millis(40);

/// What is done to an upstream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Blow {
    /// `kill -9`
    Kill(&'static str),
    /// SIGSTOP: it keeps its port and connections and answers nothing.
    Pause(&'static str),
    /// Its connections are ended and no new ones allowed, so that it answers 503.
    TakeDatabase(&'static str),
    /// A fault of the stand-ins.
    StandIn { upstream: &'static str, kind: &'static str },
}

impl Blow {
    pub(super) fn upstream(self) -> &'static str {
        match self {
            Self::Kill(name) | Self::Pause(name) | Self::TakeDatabase(name) => name,
            Self::StandIn { upstream, .. } => upstream,
        }
    }

    pub(super) fn sentence(self) -> String {
        match self {
            Self::Kill(name) => format!("{name} is killed with -9"),
            Self::Pause(name) => format!("{name} is stopped with SIGSTOP"),
            Self::TakeDatabase(name) => format!("{name} loses its database and answers 503"),
            Self::StandIn { upstream, kind } => format!("{upstream}: {kind}"),
        }
    }

    pub(super) async fn strike(self, house: &House) -> anyhow::Result<()> {
        match self {
            Self::Kill(name) => house.stack.process(name)?.kill().await,
            Self::Pause(name) => house.stack.process(name)?.pause().await,
            Self::TakeDatabase(name) => house.database(name, false).await,
            Self::StandIn { upstream, kind } => house.fault(&fault(upstream, kind)).await,
        }
    }

    pub(super) async fn undo(self, house: &mut House) -> anyhow::Result<()> {
        match self {
            Self::Kill(name) => house.stack.restart(name).await.map(drop),
            Self::Pause(name) => house.stack.process(name)?.resume().await,
            Self::TakeDatabase(name) => house.database(name, true).await,
            Self::StandIn { .. } => house.clear_faults().await,
        }
    }
}

#[derive(Debug)]
pub(super) struct UpstreamDrill {
    pub(super) blows: &'static [Blow],
    /// The alert that must fire on the first blow, when there is time to wait for it.
    pub(super) alert: &'static str,
    /// The widgets that may be lacking, and no others.
    pub(super) widgets: fn(Blow) -> &'static [&'static str],
    /// What else a desk has open of it.
    pub(super) beside: &'static [Beside],
}

impl UpstreamDrill {
    pub(super) async fn run(
        &self,
        form: Form,
        objective: Duration,
        house: &mut House,
        seen: &mut Observations,
    ) -> anyhow::Result<()> {
        for (number, blow) in self.blows.iter().enumerate() {
            let alert = (number == 0 && form == Form::Full).then_some(self.alert);
            self.one(*blow, alert, objective, house, seen).await?;
        }
        Ok(())
    }

    async fn one(
        &self,
        blow: Blow,
        alert: Option<&str>,
        objective: Duration,
        house: &mut House,
        seen: &mut Observations,
    ) -> anyhow::Result<()> {
        let steady = house
            .until("a whole dashboard", objective, async |house| {
                Ok(house.dashboard().await.is_whole())
            })
            .await;
        seen.took(Step::Steady, "every widget is ok", steady);
        for it in self.beside {
            it.open(house).await?;
        }
        let before = failures(house, blow).await?;
        events::outdate(house, blow.upstream()).await?;
        let struck = Instant::now();
        blow.strike(house).await?;
        seen.expect(Step::Fault, blow.sentence(), true, "done");

        let during = match alert {
            Some(alert) => alarmed(alert, house, seen).await?,
            None => house.watch(WATCHED, PAUSE).await,
        };
        let expected = (self.widgets)(blow).iter().map(|name| (*name).to_owned()).collect();
        user(&during, &expected, blow, seen);
        for it in self.beside {
            it.look(house, seen).await?;
        }
        let signal = house
            .until("the failure counter", DETECT_WITHIN, async |house| {
                Ok(failures(house, blow).await? > before)
            })
            .await;
        let lacking = during.iter().find(|dashboard| !dashboard.lacking.is_empty());
        let noticed = lacking.map(|first| first.at + first.took - struck);
        seen.took(
            Step::Detection,
            "bff_backoffice_upstream_request_total counts its failures",
            signal,
        );
        seen.detected_after(noticed);
        automatic(house, blow, seen).await?;

        blow.undo(house).await?;
        let back = house
            .until("a whole dashboard", objective, async |house| {
                Ok(house.dashboard().await.is_whole())
            })
            .await;
        let took = seen.took(
            Step::Recovery,
            format!("every widget is ok again within {} s", objective.as_secs()),
            back,
        );
        seen.recovered_after(took);
        Ok(())
    }
}

/// Watches long enough for the alert, and asks promtool whether it fires on what was exported.
async fn alarmed(alert: &str, house: &House, seen: &mut Observations) -> anyhow::Result<Vec<Seen>> {
    let (done, until) = watch::channel(false);
    let watching = async {
        let during = house.watch(ALERTED, PAUSE).await;
        done.send_replace(true);
        during
    };
    let (during, samples) =
        tokio::join!(watching, alerts::sample(house.http(), house.metrics_url(), until));
    let fired = alerts::firing(alert, &samples?, &House::folder("drills")).await;
    seen.took(Step::Detection, format!("{alert} fires on the exported metrics"), fired);
    Ok(during)
}

/// Failed calls to the upstream so far.
pub(super) async fn failures(house: &House, blow: Blow) -> anyhow::Result<f64> {
    let name = "bff_backoffice_upstream_request_total";
    let all = house.metric(name, &[("upstream", blow.upstream())]).await?;
    let good = house.metric(name, &[("upstream", blow.upstream()), ("outcome", "ok")]).await?;
    Ok(all - good)
}

fn user(during: &[Seen], expected: &BTreeSet<String>, blow: Blow, seen: &mut Observations) {
    let what = blow.sentence();
    let count = during.len();
    let good = during.iter().filter(|dashboard| dashboard.status == Some(200)).count();
    seen.expect(
        Step::User,
        format!("{what}: every dashboard is 200"),
        good == count && count > 0,
        format!("{good} of {count}"),
    );
    let slowest = during.iter().map(|dashboard| dashboard.took).max().unwrap_or_default();
    seen.expect(
        Step::User,
        format!("{what}: every answer within {} ms", ANSWER_WITHIN.as_millis()),
        slowest <= ANSWER_WITHIN,
        format!("slowest {} ms", slowest.as_millis()),
    );
    let missed: BTreeSet<_> = during.iter().flat_map(Seen::missed).collect();
    let others: BTreeSet<_> = missed.difference(expected).collect();
    seen.expect(
        Step::User,
        format!("{what}: no other widget is lacking"),
        others.is_empty(),
        format!("{others:?}"),
    );
    seen.expect(
        Step::User,
        format!("{what}: its widgets say so"),
        missed.is_superset(expected),
        format!("{missed:?}"),
    );
}

/// The breaker opens, so that a sick upstream costs no time.
async fn automatic(house: &House, blow: Blow, seen: &mut Observations) -> anyhow::Result<()> {
    let labels = [("upstream", blow.upstream()), ("outcome", "BREAKER_OPEN")];
    let refused = house.metric("bff_backoffice_upstream_request_total", &labels).await?;
    seen.expect(
        Step::Automatic,
        "the breaker opened and spared the upstream calls",
        refused > 0.0,
        format!("{refused:.0} calls spared"),
    );
    Ok(())
}
