//! A failure that pages on-call. The commands of the alert's runbook show which upstream fails and why. A
//! full run measures the time from the alert to the first of them.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::upstream::{Fault, failures};
use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::events;

const UPSTREAM: &str = "inventory";
const FAULT: Fault = Fault::TakeDatabase(UPSTREAM);
const ALERT: &str = "BffInventoryDown";
const WATCH_DURATION: Duration = Duration::from_secs(2);
const REQUEST_PAUSE: Duration = Duration::from_millis(40);
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// From the alert to the first command.
const OBJECTIVE: Duration = Duration::from_secs(5 * 60);

pub(super) struct FirstCommand;

impl Drill for FirstCommand {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let whole = run.until_whole().await;
    run.steady_within("every widget is ok", whole);
    let before = failures(&run.env, FAULT).await?;
    events::invalidate(&run.env, UPSTREAM).await?;
    let injected_at = Instant::now();
    FAULT.inject(&run.env).await?;
    run.inject(FAULT.sentence());
    let counted = run.env.wait_until("the failure counter", DETECT_WITHIN, async |env| {
        drop(env.dashboard().await);
        Ok(failures(env, FAULT).await? > before)
    });
    let counted = counted.await;
    let took = run.detect_within("its failed calls are counted", counted);
    run.detected_after(took);
    let length = run.watch_length(&[ALERT], WATCH_DURATION)?;
    let requesting = request_until_alert(&run.env, length);
    run.raised_during(&[ALERT], injected_at, requesting).await??;
    run.check_acknowledged(OBJECTIVE);
    check_output(run);
    FAULT.undo(&mut run.env).await?;
    let is_whole = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
    let back = run.env.wait_until("a whole dashboard", run.objective, is_whole).await;
    run.recover_within("every widget is ok again", back);
    Ok(())
}

/// The alert counts calls, so dashboards are requested until it fires, or for `longest`.
async fn request_until_alert(env: &DrillEnv, longest: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + longest;
    while Instant::now() < end {
        drop(env.dashboard().await);
        if let Ok(alerts) = env.alerts()
            && alerts.state(ALERT).await?.is_firing()
        {
            break;
        }
        sleep(REQUEST_PAUSE).await;
    }
    Ok(())
}

/// What the person on call reads.
fn check_output(run: &DrillRun) {
    let output = run.command_outputs();
    let is_failing = |line: &str| {
        line.starts_with("bff_backoffice_upstream_request_total{")
            && line.contains("upstream=\"inventory\"")
            && line.contains("outcome=\"UPSTREAM_ERROR\"")
    };
    let failing = output.lines().find(|line| is_failing(line));
    let what = "the commands show that inventory's calls fail";
    run.runbook(what, failing.is_some(), failing.unwrap_or("no such line"));
    let is_down = |line: &str| line.starts_with('{') && line.contains("\"state\":\"down\"");
    let down = output.lines().filter(|line| is_down(line)).count();
    run.runbook("and that one service is down", down == 1, format!("{down} services"));
}
