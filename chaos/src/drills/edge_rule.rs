//! A rule of the edge is meant for somebody else and hits the desks. In shadow it shows whom it
//! would hit and hits nobody; enforced by mistake, it is taken back without a restart.

use std::time::Duration;

use tokio::sync::watch;

use super::Form;
use crate::alerts;
use crate::house::{House, Seen};
use crate::observations::{Observations, Step};

const RULE: &str = "bff_backoffice_edge_rule_total";
const REFUSED: &str = "bff_backoffice_edge_rules_refused";
const CODE: &str = "MELMASTOON.BFF.EDGE_BLOCKED";
const ALERT: &str = "BffEdgeBlocksSpike";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const SOAKED: Duration = Duration::from_secs(4);
const WATCHED: Duration = Duration::from_secs(3);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(32);
const PAUSE: Duration = Duration::from_millis(40);

/// Every desk of this machine.
fn rules(mode: &str) -> String {
    format!(
        "[[deny]]\nname = \"drill\"\nmode = \"{mode}\"\naddresses = [\"127.0.0.0/8\", \"::1\"]\n"
    )
}

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let steady = until_whole(house, objective).await;
    seen.took(Step::Steady, "every widget is ok", steady);
    soak(house, seen).await?;
    enforce(form, house, seen).await?;
    mistake(house, seen).await?;
    house.write_edge_rules(&rules("shadow"))?;
    let back = until_whole(house, objective).await;
    let within = objective.as_secs();
    let took = seen.took(Step::Recovery, format!("back in shadow: whole within {within} s"), back);
    seen.recovered_after(took);
    house.write_edge_rules("")
}

async fn soak(house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    house.write_edge_rules(&rules("shadow"))?;
    seen.expect(Step::Fault, "a rule that means every desk soaks in shadow", true, "done");
    let during = house.watch(SOAKED, PAUSE).await;
    let good = during.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.expect(
        Step::Automatic,
        "while it soaks every dashboard is whole",
        good == during.len(),
        format!("{good} of {}", during.len()),
    );
    let counted = house.metric(RULE, &[("rule", "drill"), ("mode", "shadow")]).await?;
    seen.expect(
        Step::Detection,
        format!("{RULE} shows whom it would hit"),
        counted > 0.0,
        format!("{counted:.0} requests"),
    );
    Ok(())
}

async fn enforce(form: Form, house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    house.write_edge_rules(&rules("enforce"))?;
    seen.expect(Step::Fault, "the rule is enforced without a look at that", true, "done");
    let blocked = house
        .until("a block", DETECT_WITHIN, async |house| Ok(is_blocked(&house.dashboard().await)))
        .await;
    let took = seen.took(Step::User, format!("desks get 403 {CODE}"), blocked);
    let during = if form == Form::Full {
        alarmed(house, seen).await?
    } else {
        house.watch(WATCHED, PAUSE).await
    };
    let refused = during.iter().filter(|dashboard| is_blocked(dashboard)).count();
    let told = during.iter().all(|seen| seen.body["runbook"] == "bff-backoffice/waf-fp");
    seen.expect(
        Step::User,
        "each answer is that problem and names the runbook",
        told && refused == during.len(),
        format!("{refused} of {}", during.len()),
    );
    let counted = house.metric("bff_backoffice_errors_total", &[("error_code", CODE)]).await?;
    seen.expect(
        Step::Detection,
        "bff_backoffice_errors_total shows the 403 spike",
        counted > 0.0,
        format!("{counted:.0} requests"),
    );
    seen.detected_after(took);
    Ok(())
}

/// In the hurry the file is saved with a mistake.
async fn mistake(house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    house.write_edge_rules("[[deny]]\nname = \"dri")?;
    let refused = house
        .until("the refusal", DETECT_WITHIN, async |house| {
            Ok(house.metric(REFUSED, &[]).await? > 0.0)
        })
        .await;
    seen.took(Step::Detection, format!("{REFUSED} says that the file has a mistake"), refused);
    let answer = house.dashboard().await;
    seen.expect(
        Step::Automatic,
        "and the rules from before it stay in force",
        is_blocked(&answer),
        format!("{:?}", answer.status),
    );
    Ok(())
}

fn is_blocked(dashboard: &Seen) -> bool {
    dashboard.status == Some(403) && dashboard.body["code"] == CODE
}

async fn until_whole(house: &House, within: Duration) -> anyhow::Result<Duration> {
    let is_so = async |house: &House| Ok(house.dashboard().await.is_whole());
    house.until("a whole dashboard", within, is_so).await
}

async fn alarmed(house: &House, seen: &mut Observations) -> anyhow::Result<Vec<Seen>> {
    let (done, until) = watch::channel(false);
    let watching = async {
        let during = house.watch(ALERTED, PAUSE).await;
        done.send_replace(true);
        during
    };
    let (during, samples) =
        tokio::join!(watching, alerts::sample(house.http(), house.metrics_url(), until));
    let fired = alerts::firing(ALERT, &samples?, &House::folder("drills")).await;
    seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    Ok(during)
}
