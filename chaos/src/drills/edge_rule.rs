//! An edge rule matches desktops by mistake. In shadow mode it only counts whom it would block;
//! enforced by mistake, by the file or by an override, it is withdrawn without a restart.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::internal::InternalClient;
use launcher::service_accounts::OPERATORS;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::drill_env::{DashboardView, DrillEnv};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};

const RULE_METRIC: &str = "bff_backoffice_edge_rule_total";
const RULES_REFUSED_METRIC: &str = "bff_backoffice_edge_rules_refused";
const CODE: &str = "MELMASTOON.BFF.EDGE_BLOCKED";
const ALERT: &str = "BffEdgeBlocksSpike";
const RUNBOOK: &str = "bff-backoffice/waf-fp";
const OVERRIDE_PATH: &str = "/internal/admin/edge-rules";
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

pub(super) struct EdgeRule;

impl Drill for EdgeRule {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let steady = run.until_whole().await;
    run.steady_within("every widget is ok", steady);
    run_in_shadow(run).await?;
    enforce(run).await?;
    write_broken_file(run).await?;
    run.env.write_edge_rules(&rules("shadow"))?;
    let back = run.until_whole().await;
    run.recover_within("back in shadow: whole", back);
    remove_override(run).await?;
    run.env.write_edge_rules("")
}

async fn run_in_shadow(run: &DrillRun) -> anyhow::Result<()> {
    let labels = [("rule", "drill"), ("mode", "shadow")];
    let before = run.env.counter(RULE_METRIC, &labels).await?;
    run.env.write_edge_rules(&rules("shadow"))?;
    run.inject("a rule that matches every desktop runs in shadow mode");
    let during = run.env.watch(SHADOW_DURATION, REQUEST_PAUSE).await;
    let good = during.iter().filter(|dashboard| dashboard.is_whole()).count();
    run.automatic(
        "in shadow mode every dashboard is whole",
        good == during.len(),
        format!("{good} of {}", during.len()),
    );
    let counted = run.env.counter(RULE_METRIC, &labels).await? - before;
    run.detect(
        format!("{RULE_METRIC} counts what it would block"),
        counted > 0.0,
        format!("{counted:.0} requests"),
    );
    Ok(())
}

async fn enforce(run: &DrillRun) -> anyhow::Result<()> {
    let (metric, labels) = ("bff_backoffice_errors_total", [("error_code", CODE)]);
    let before = run.env.counter(metric, &labels).await?;
    let enforced_at = Instant::now();
    run.env.write_edge_rules(&rules("enforce"))?;
    run.inject("the rule is enforced");
    let blocked = run
        .env
        .wait_until("a block", DETECT_WITHIN, async |env| Ok(is_blocked(&env.dashboard().await)))
        .await;
    let took = run.user_within(format!("desktops get 403 {CODE}"), blocked);
    let length = run.watch_length(&[ALERT], WATCH_DURATION)?;
    let watching = run.env.watch(length, REQUEST_PAUSE);
    let during = run.raised_during(&[ALERT], enforced_at, watching).await?;
    let refused = during.iter().filter(|dashboard| is_blocked(dashboard)).count();
    let names_runbook = during.iter().all(|view| view.body["runbook"] == RUNBOOK);
    run.user(
        "each response is that problem and names the runbook",
        names_runbook && refused == during.len(),
        format!("{refused} of {}", during.len()),
    );
    let counted = run.env.counter(metric, &labels).await? - before;
    run.detect(
        "bff_backoffice_errors_total shows the 403 spike",
        counted > 0.0,
        format!("{counted:.0} requests"),
    );
    run.detected_after(took);
    Ok(())
}

/// The rules file is saved with a syntax error.
async fn write_broken_file(run: &DrillRun) -> anyhow::Result<()> {
    run.env.write_edge_rules("[[deny]]\nname = \"dri")?;
    let refused = run
        .env
        .wait_until("the refusal", DETECT_WITHIN, async |env| {
            Ok(env.metric(RULES_REFUSED_METRIC, &[]).await? > 0.0)
        })
        .await;
    run.detect_within(format!("{RULES_REFUSED_METRIC} shows that the file is invalid"), refused);
    let answer = run.env.dashboard().await;
    run.automatic(
        "and the previous rules stay in force",
        is_blocked(&answer),
        format!("{:?}", answer.status),
    );
    Ok(())
}

/// Two platform operators override the file by mistake, and remove the override as the runbook says.
async fn remove_override(run: &DrillRun) -> anyhow::Result<()> {
    override_file(&run.env, &rules("enforce")).await?;
    run.inject("two people enforce the rule by an override of the file");
    let blocked = async |env: &DrillEnv| Ok(is_blocked(&env.dashboard().await));
    let blocked = run.env.wait_until("a block", DETECT_WITHIN, blocked).await;
    run.user_within(format!("the override holds: desktops get 403 {CODE}"), blocked);
    run.act_by_runbook(RUNBOOK).await?;
    let back = run.until_whole().await;
    run.recover_within("without the override the file is in force: whole", back);
    Ok(())
}

/// One operator requests the override, another approves it.
async fn override_file(env: &DrillEnv, rules: &str) -> anyhow::Result<()> {
    let operators = InternalClient::new(env.stack.info(), Clock::system())?;
    let [one, other] = OPERATORS;
    let body = json!({"rules": rules, "reason": "A drill."});
    let requested = operators.call(one, Method::POST, OVERRIDE_PATH, Some(&body)).await?;
    let requested: Value = requested.error_for_status()?.json().await?;
    let id = requested["id"].as_str().context("a request has an id")?;
    let path = format!("{OVERRIDE_PATH}/{id}/approve");
    operators.call(other, Method::POST, &path, None).await?.error_for_status()?;
    Ok(())
}

fn is_blocked(dashboard: &DashboardView) -> bool {
    dashboard.status == Some(403) && dashboard.body["code"] == CODE
}
