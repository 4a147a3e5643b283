//! The failure decision tree (seed, section 2), one leaf a row: a request meets one failure and is
//! answered as the tree says; the failure over, it is answered as ever.
//!
//! The leaves stand in `leaves`, how each request is made in `asking`. They share one house.

use std::time::Duration;

use launcher::edge_rules::FILE;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::desk::Answer;
use crate::events;
use crate::house::{House, lacking};
use crate::observations::{Observations, Step};

mod asking;
mod leaves;

use asking::{Ask, Scene};
pub(super) use leaves::leaf;

const STEADY_WITHIN: Duration = Duration::from_secs(5);
/// A fault is in force within this time; then the answer is what it is.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// So that promtool sees a counter as it was before, at one sample a second.
const BEFORE: Duration = Duration::from_secs(3);
const ERRORS: &str = "bff_backoffice_errors_total";

/// One row.
#[derive(Debug)]
pub(super) struct Leaf {
    id: &'static str,
    arrange: Arrange,
    /// What is asked during the failure, in this order.
    asks: &'static [(Ask, Want)],
    signal: Signal,
    /// The alert that must fire, when there is time to wait for it.
    alert: Option<&'static str>,
    /// What must be so again, or at last, when the failure is over.
    afterwards: &'static [(Ask, Want)],
}

/// The failure around the requests.
#[derive(Debug, Clone, Copy)]
enum Arrange {
    /// It is in the request itself.
    Nothing,
    EdgeRule,
    Suspension,
    SessionTier,
    Postgres,
    /// Faults of the stand-ins, met one after the other: upstream, kind, how many requests.
    Upstream(&'static [(&'static str, &'static str, Option<u32>)]),
}

/// How an answer must look.
#[derive(Debug, Clone, Copy)]
enum Want {
    Problem(u16, &'static str),
    /// The same with a time to come back.
    Later(u16, &'static str),
    Status(u16),
    /// The stored answer of the first.
    Replayed(u16),
    /// A dashboard with every widget.
    Whole,
    /// One without this widget and with every other.
    Without(&'static str),
    /// So often it really happened.
    Effects(u64),
    /// These phases in the ledger of lock actions.
    Rows(&'static str),
}

/// The counter that shows it.
#[derive(Debug, Clone, Copy)]
enum Signal {
    /// The problem's code in `bff_backoffice_errors_total`.
    Code(&'static str),
    Series(&'static str, &'static [(&'static str, &'static str)]),
}

impl Want {
    fn is_met(self, answer: &Answer) -> bool {
        let widgets = || answer.body["widgets"].as_object().is_some_and(|all| !all.is_empty());
        match self {
            Self::Problem(status, code) => answer.status == status && answer.code() == code,
            Self::Later(status, code) => {
                answer.retry_after && Self::Problem(status, code).is_met(answer)
            }
            Self::Status(status) => answer.status == status,
            Self::Replayed(status) => answer.replayed && answer.status == status,
            Self::Whole => answer.status == 200 && answer.body["partial"] == false && widgets(),
            Self::Without(widget) => {
                let others = lacking(&answer.body).into_iter().all(|name| name == widget);
                answer.status == 200 && answer.body["partial"] == true && widgets() && others
            }
            Self::Effects(count) => answer.body == count,
            Self::Rows(phases) => answer.body == phases,
        }
    }

    fn sentence(self, ask: Ask) -> String {
        let ask = ask.sentence();
        match self {
            Self::Problem(status, code) => format!("{ask}: {status} {code}"),
            Self::Later(status, code) => format!("{ask}: {status} {code} with Retry-After"),
            Self::Status(status) => format!("{ask}: {status}"),
            Self::Replayed(status) => format!("{ask}: {status} as stored"),
            Self::Whole => format!("{ask}: 200, whole"),
            Self::Without(widget) => format!("{ask}: 200, partial, only {widget} is missing"),
            Self::Effects(count) => format!("{ask}: {count}"),
            Self::Rows(phases) => format!("{ask}: {phases}"),
        }
    }
}

impl Signal {
    async fn counted(self, house: &House) -> anyhow::Result<f64> {
        match self {
            Self::Code(code) => house.metric(ERRORS, &[("error_code", code)]).await,
            Self::Series(name, labels) => house.metric(name, labels).await,
        }
    }

    fn sentence(self) -> String {
        match self {
            Self::Code(code) => format!("{ERRORS} counts {code}"),
            Self::Series(name, _) => format!("{name} counts it"),
        }
    }
}

impl Arrange {
    fn sentence(self) -> &'static str {
        match self {
            Self::Nothing => "the request itself",
            Self::EdgeRule => "an edge rule means every desk",
            Self::Suspension => "tenant-service says that the tenant is suspended",
            Self::SessionTier => "the session tier is killed with -9",
            Self::Postgres => "the gateway's database takes no connections",
            Self::Upstream(_) => "an upstream fails",
        }
    }

    /// Whether it takes a moment to be in force.
    fn is_slow(self) -> bool {
        !matches!(self, Self::Nothing | Self::Upstream(_))
    }

    async fn strike(self, house: &House) -> anyhow::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::EdgeRule => house.write_edge_rules(
                "[[deny]]\nname = \"drill\"\nmode = \"enforce\"\naddresses = [\"127.0.0.0/8\", \"::1\"]\n",
            ),
            Self::Suspension => state(house, "suspended").await,
            Self::SessionTier => house.stack.process("redis-session")?.kill().await,
            Self::Postgres => house.database("bff", false).await,
            Self::Upstream(faults) => {
                for (upstream, kind, times) in faults {
                    events::outdate(house, upstream).await?;
                    let mut fault = json!({"upstream": upstream, "kind": kind});
                    if let Some(times) = times {
                        fault["times"] = (*times).into();
                    }
                    house.fault(&fault).await?;
                }
                Ok(())
            }
        }
    }

    async fn undo(self, house: &mut House) -> anyhow::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::EdgeRule => Ok(std::fs::write(house.folder.join(FILE), "")?),
            Self::Suspension => state(house, "reactivated").await,
            Self::SessionTier => house.stack.restart("redis-session").await.map(drop),
            Self::Postgres => house.database("bff", true).await,
            Self::Upstream(_) => house.clear_faults().await,
        }
    }
}

/// Publishes what tenant-service says of the operator's tenant.
async fn state(house: &House, what: &str) -> anyhow::Result<()> {
    let data = json!({"reason": "A drill."});
    events::publish(house, &format!("tenant.tenant.{what}.v1"), &data).await
}

pub(super) async fn run(
    leaf: &Leaf,
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let scene = Scene::set(leaf.asks, house).await?;
    let steady = scene.until((Ask::Dashboard, Want::Whole), STEADY_WITHIN, house).await?;
    seen.expect(Step::Steady, "a dashboard is whole", steady.0, steady.1);
    let outcome = fail(leaf, form, &scene, house, seen).await;
    // Whatever came of it: the next leaf needs the house whole.
    leaf.arrange.undo(house).await?;
    outcome?;
    let begun = Instant::now();
    for &(ask, want) in leaf.afterwards {
        let (met, answer) = scene.until((ask, want), objective, house).await?;
        seen.expect(Step::Recovery, want.sentence(ask), met, answer);
    }
    seen.recovered_after(Some(begun.elapsed()));
    Ok(())
}

async fn fail(
    leaf: &Leaf,
    form: Form,
    scene: &Scene,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let Some(alert) = leaf.alert.filter(|_| form == Form::Full) else {
        return strike(leaf, scene, house, seen).await;
    };
    let striking = async {
        sleep(BEFORE).await;
        let struck = strike(leaf, scene, house, seen).await;
        sleep(BEFORE).await;
        struck
    };
    let exported = (house.http(), house.metrics_url());
    let (struck, fired) = alerts::during(alert, exported, striking).await;
    seen.took(Step::Detection, format!("{alert} fires on the exported metrics"), fired);
    struck
}

async fn strike(
    leaf: &Leaf,
    scene: &Scene,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let (before, begun) = (leaf.signal.counted(house).await?, Instant::now());
    leaf.arrange.strike(house).await?;
    seen.expect(Step::Fault, leaf.arrange.sentence(), true, "done");
    for (number, &(ask, want)) in leaf.asks.iter().enumerate() {
        // A read that a busy machine made late is no finding.
        let slow = number == 0 && leaf.arrange.is_slow() || matches!(want, Want::Whole);
        let within = if slow { IN_FORCE_WITHIN } else { Duration::ZERO };
        let (met, answer) = scene.until((ask, want), within, house).await?;
        seen.expect(Step::User, want.sentence(ask), met, answer);
    }
    let counted = leaf.signal.counted(house).await? - before;
    seen.expect(Step::Detection, leaf.signal.sentence(), counted > 0.0, counted);
    seen.detected_after(Some(begun.elapsed()));
    Ok(())
}

impl Scene {
    /// Asks until the answer is the wanted one, once at least, and gives the last.
    async fn until(
        &self,
        (ask, want): (Ask, Want),
        within: Duration,
        house: &House,
    ) -> anyhow::Result<(bool, String)> {
        let begun = Instant::now();
        loop {
            let answer = self.ask(ask, house).await;
            if answer.as_ref().is_ok_and(|answer| want.is_met(answer)) {
                return Ok((true, answer?.to_string()));
            }
            if begun.elapsed() >= within {
                let found = answer.map_or_else(|error| format!("{error:#}"), |it| it.to_string());
                return Ok((false, found));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
