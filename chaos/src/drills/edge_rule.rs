//! An edge rule matches desktops by mistake. In shadow mode it only counts whom it would block;
//! enforced by mistake, it is withdrawn without a restart.

use std::time::Duration;

use tokio::time::Instant;

use super::Mode;
use crate::drill_env::{DashboardView, DrillEnv};
use crate::observations::{Observations, Step};

const RULE_METRIC: &str = "bff_backoffice_edge_rule_total";
const RULES_REFUSED_METRIC: &str = "bff_backoffice_edge_rules_refused";
const CODE: &str = "MELMASTOON.BFF.EDGE_BLOCKED";
const ALERT: &str = "BffEdgeBlocksSpike";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const SHADOW_DURATION: Duration = Duration::from_secs(4);
const WATCH_DURATION: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(40);

/// A rule that matches every desktop on this machine.
fn rules(mode: &str) -> String {
    format!(
        "[[deny]]\nname = \"drill\"\nmode = \"{mode}\"\naddresses = [\"127.0.0.0/8\", \"::1\"]\n"
    )
}

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let steady = until_whole(env, objective).await;
    seen.check_timed(Step::Steady, "every widget is ok", steady);
    run_in_shadow(env, seen).await?;
    enforce(mode, env, seen).await?;
    write_broken_file(env, seen).await?;
    env.write_edge_rules(&rules("shadow"))?;
    let back = until_whole(env, objective).await;
    let within = objective.as_secs();
    let took =
        seen.check_timed(Step::Recovery, format!("back in shadow: whole within {within} s"), back);
    seen.recovered_after(took);
    env.write_edge_rules("")
}

async fn run_in_shadow(env: &DrillEnv, seen: &mut Observations) -> anyhow::Result<()> {
    env.write_edge_rules(&rules("shadow"))?;
    seen.check(Step::Fault, "a rule that matches every desktop runs in shadow mode", true, "done");
    let during = env.watch(SHADOW_DURATION, REQUEST_PAUSE).await;
    let good = during.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.check(
        Step::Automatic,
        "in shadow mode every dashboard is whole",
        good == during.len(),
        format!("{good} of {}", during.len()),
    );
    let counted = env.metric(RULE_METRIC, &[("rule", "drill"), ("mode", "shadow")]).await?;
    seen.check(
        Step::Detection,
        format!("{RULE_METRIC} counts what it would block"),
        counted > 0.0,
        format!("{counted:.0} requests"),
    );
    Ok(())
}

async fn enforce(mode: Mode, env: &DrillEnv, seen: &mut Observations) -> anyhow::Result<()> {
    let enforced_at = Instant::now();
    env.write_edge_rules(&rules("enforce"))?;
    seen.check(Step::Fault, "the rule is enforced", true, "done");
    let blocked = env
        .wait_until("a block", DETECT_WITHIN, async |env| Ok(is_blocked(&env.dashboard().await)))
        .await;
    let took = seen.check_timed(Step::User, format!("desktops get 403 {CODE}"), blocked);
    let during = if mode == Mode::Full {
        watch_with_alert(enforced_at, env, seen).await?
    } else {
        env.watch(WATCH_DURATION, REQUEST_PAUSE).await
    };
    let refused = during.iter().filter(|dashboard| is_blocked(dashboard)).count();
    let names_runbook = during.iter().all(|seen| seen.body["runbook"] == "bff-backoffice/waf-fp");
    seen.check(
        Step::User,
        "each response is that problem and names the runbook",
        names_runbook && refused == during.len(),
        format!("{refused} of {}", during.len()),
    );
    let counted = env.metric("bff_backoffice_errors_total", &[("error_code", CODE)]).await?;
    seen.check(
        Step::Detection,
        "bff_backoffice_errors_total shows the 403 spike",
        counted > 0.0,
        format!("{counted:.0} requests"),
    );
    seen.detected_after(took);
    Ok(())
}

/// The rules file is saved with a syntax error.
async fn write_broken_file(env: &DrillEnv, seen: &mut Observations) -> anyhow::Result<()> {
    env.write_edge_rules("[[deny]]\nname = \"dri")?;
    let refused = env
        .wait_until("the refusal", DETECT_WITHIN, async |env| {
            Ok(env.metric(RULES_REFUSED_METRIC, &[]).await? > 0.0)
        })
        .await;
    seen.check_timed(
        Step::Detection,
        format!("{RULES_REFUSED_METRIC} shows that the file is invalid"),
        refused,
    );
    let answer = env.dashboard().await;
    seen.check(
        Step::Automatic,
        "and the previous rules stay in force",
        is_blocked(&answer),
        format!("{:?}", answer.status),
    );
    Ok(())
}

fn is_blocked(dashboard: &DashboardView) -> bool {
    dashboard.status == Some(403) && dashboard.body["code"] == CODE
}

async fn until_whole(env: &DrillEnv, within: Duration) -> anyhow::Result<Duration> {
    let is_so = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
    env.wait_until("a whole dashboard", within, is_so).await
}

async fn watch_with_alert(
    enforced_at: Instant,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<Vec<DashboardView>> {
    let alerts = env.alerts()?;
    let watching = env.watch(alerts.fire_within(&[ALERT])?, REQUEST_PAUSE);
    let (during, raised) = alerts.raised_during(&[ALERT], enforced_at, watching).await?;
    raised.report(seen);
    Ok(during)
}
