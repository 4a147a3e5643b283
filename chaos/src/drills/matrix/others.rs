//! An upstream that hangs for one tenant alone, whose desk goes on asking: another tenant's
//! dashboards stay whole and as quick as before.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use futures_util::future::{Either, select};
use launcher::desktop::Desktop;
use launcher::info::Operator;
use serde_json::json;
use tokio::time::sleep;

use super::super::Form;
use super::Times;
use crate::house::{House, Seen};
use crate::observations::{Observations, Step};

/// Of each turn, and the turns: a p99 of a few hundred is one busy moment of the machine.
const SHORT: (usize, usize) = (40, 2);
const FULL: (usize, usize) = (100, 12);
/// Of the first tenant's desk, however it is answered: it is no lighter a load while it waits.
const PACE: Duration = Duration::from_millis(500);

/// A general manager of another tenant, at the first property of theirs.
struct Other {
    desktop: Desktop,
    property: String,
}

impl Other {
    fn find(house: &House) -> anyhow::Result<Self> {
        let (info, own) = (house.stack.info(), &house.desktop.operator().tenant_id);
        let is_it = |it: &&Operator| it.tenant_id != *own && it.roles == ["property.gm"];
        let found = info.operators.iter().find(is_it).context("there is one tenant only")?;
        let folder = house.folder.join("desktop");
        let desktop = Desktop::open(info, &found.username, &folder, Clock::system())?;
        let property = found.property_ids.first().context("the manager has no property")?;
        Ok(Self { desktop, property: property.clone() })
    }

    async fn dashboards(&self, count: usize, house: &House) -> Vec<Seen> {
        let mut seen = Vec::new();
        for _ in 0..count {
            seen.push(house.dashboard_at(&self.desktop, &self.property).await);
        }
        seen
    }
}

/// Quiet and faulty turns by turns, so that what else the machine does hits both alike.
pub(super) async fn run(form: Form, house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    let other = Other::find(house)?;
    // Signed in, and with a connection.
    let (count, turns) = if form == Form::Full { FULL } else { SHORT };
    other.dashboards(count, house).await;
    let (mut quiet, mut faulty) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        quiet.extend(beside(count, house, &other).await);
        let tenant = &house.desktop.operator().tenant_id;
        house.fault(&json!({"upstream": "pricing", "kind": "hang", "tenantId": tenant})).await?;
        faulty.extend(beside(count, house, &other).await);
        house.clear_faults().await?;
    }
    let has_all = |it: &&Seen| it.status == Some(200) && it.missed().is_empty();
    let whole = faulty.iter().filter(has_all).count();
    let what = "pricing hangs for one tenant: another's dashboards have all that upstreams give";
    seen.expect(Step::User, what, whole == faulty.len(), format!("{whole} of {}", faulty.len()));
    // Eighty dashboards on a busy machine say too little.
    if form == Form::Full {
        let (before, during) = (Times::of(quiet.iter()), Times::of(faulty.iter()));
        let what = "pricing hangs for one tenant: another's p99 is longer by a tenth at most";
        let held = during.p99 <= before.p99 * 11 / 10;
        seen.expect(Step::User, what, held, format!("{during}; else {before}"));
    }
    Ok(())
}

/// What the other tenant saw while the first went on asking.
async fn beside(count: usize, house: &House, other: &Other) -> Vec<Seen> {
    let (seeing, asking) = (pin!(other.dashboards(count, house)), pin!(ask_on(house)));
    match select(seeing, asking).await {
        Either::Left((seen, _)) => seen,
        Either::Right((never, _)) => match never {},
    }
}

async fn ask_on(house: &House) -> Infallible {
    loop {
        tokio::join!(house.dashboard(), sleep(PACE));
    }
}
