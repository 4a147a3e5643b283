//! sync-service fails handshakes. A reconnecting desktop gets a problem that says to retry in 30 s (F-13),
//! or hundreds of desktops retry at once (GD-5). The breaker protects sync-service, everything else
//! works, and afterwards every desktop comes online.

use std::time::Duration;

use launcher::desktop::Call;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::desktop_storm::DesktopStorm;
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
use crate::sync_client::{
    HANDSHAKE, cursor, handshakes_received, pull, report_pull, send_handshake,
};
use crate::timed_call::{self, TimedResponse};

const ALERT: &str = "BffSyncHandshakeDown";
const HANDSHAKES_METRIC: &str = "bff_backoffice_sync_handshake_total";
const RUNBOOK: &str = "bff-backoffice/sync-handshake-down";
const UNAVAILABLE: (u16, &str) = (502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
const TIMED_OUT: (u16, &str) = (504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
const OVERLOADED: (u16, &str) = (503, "MELMASTOON.BFF.OVERLOADED");
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCH_DURATION: Duration = Duration::from_secs(4);
const REQUEST_PAUSE: Duration = Duration::from_millis(200);
/// The route's 800 ms plus overhead; in a storm, handshakes also wait for each other.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
const STORM_WITHIN: Duration = Duration::from_millis(2500);
/// Desktops in a storm.
const STORM_SIZE: usize = 500;
/// Desktops that come online at a time without a storm.
const GROUP: usize = 32;

/// Which desktops reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// One desktop, repeatedly: F-13.
    One,
    /// All at once, repeatedly: GD-5.
    All,
}

impl Who {
    fn within(self) -> Duration {
        if self == Self::One { ANSWER_WITHIN } else { STORM_WITHIN }
    }

    /// Fault kinds of sync-service.
    fn kinds(self) -> &'static [&'static str] {
        if self == Self::One { &["status", "hang", "refuse"] } else { &["hang", "status"] }
    }
}

/// The desktops that reconnect.
struct Desktops {
    who: Who,
    /// `None` for the drill's own desktop.
    storm: Option<DesktopStorm>,
}

impl Desktops {
    async fn open(who: Who, env: &DrillEnv) -> anyhow::Result<Self> {
        let storm = match who {
            Who::One => None,
            Who::All => Some(DesktopStorm::open(env, STORM_SIZE).await?),
        };
        Ok(Self { who, storm })
    }

    /// Sends the handshakes of all desktops at once.
    async fn wave(&self, env: &DrillEnv) -> anyhow::Result<Vec<TimedResponse>> {
        match &self.storm {
            Some(storm) => storm.handshake_all().await,
            None => Ok(vec![send_handshake(&env.desktop).await]),
        }
    }

    /// Waits until every desktop has a session, the drill's own too, and dashboards are whole.
    async fn all_online(&self, run: &DrillRun) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        if let Some(storm) = &self.storm {
            storm.come_online(GROUP, run.objective).await?;
        }
        let is_well = async |env: &DrillEnv| {
            Ok(send_handshake(&env.desktop).await.status == 200 && env.dashboard().await.is_whole())
        };
        let left = run.objective.saturating_sub(begun.elapsed());
        run.env.wait_until("a handshake and a whole dashboard", left, is_well).await?;
        Ok(begun.elapsed())
    }
}

impl Drill for Who {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run, *self))
    }
}

async fn run_drill(run: &DrillRun, who: Who) -> anyhow::Result<()> {
    // This stack's iam does not accept tokens of an earlier stack.
    run.env.desktop.forget_tokens().await?;
    let desktops = Desktops::open(who, &run.env).await?;
    let pids = pids(&run.env);
    for (number, kind) in who.kinds().iter().enumerate() {
        let alerts: &[_] = if number == 0 { &[ALERT] } else { &[] };
        drill_fault(run, kind, alerts, &desktops).await?;
    }
    let what = "no process was restarted";
    let same = self::pids(&run.env) == pids;
    run.automatic(what, same, format!("{} processes", pids.len()));
    Ok(())
}

fn pids(env: &DrillEnv) -> Vec<(String, Option<u32>)> {
    env.stack.processes().map(|process| (process.name().to_owned(), process.pid())).collect()
}

async fn drill_fault(
    run: &DrillRun,
    kind: &str,
    alerts: &[&'static str],
    desktops: &Desktops,
) -> anyhow::Result<()> {
    let who = desktops.who;
    let steady = desktops.all_online(run).await;
    run.steady_within("every desktop comes online, every widget is ok", steady);
    let known = cursor(&run.env.desktop).await?;
    let (before, injected_at) = (counted("failed", &run.env).await?, Instant::now());
    let arrived = handshakes_received(&run.env).await?;
    run.env.add_fault(&sync_fault(kind)).await?;
    run.inject(format!("sync: {kind}"));

    let length = run.watch_length(alerts, WATCH_DURATION)?;
    let watching = watch(length, desktops, &run.env);
    let during = run.raised_during(alerts, injected_at, watching).await??;
    run.detected_after(during.first.map(|first| first - injected_at));
    check_user_view(run, kind, who, &during);
    let grown = async |env: &DrillEnv| Ok(counted("failed", env).await? > before);
    let counted = run.env.wait_until("the counter", DETECT_WITHIN, grown).await;
    run.detect_within(format!("{HANDSHAKES_METRIC} counts the failed ones"), counted);
    check_automatic(run, who, &during, handshakes_received(&run.env).await? - arrived);
    let same = cursor(&run.env.desktop).await? == known;
    let what = "the cached cursor is served as before";
    run.user(what, same, known["cursor"]["version"].clone());

    run.env.clear_faults().await?;
    let back = desktops.all_online(run).await;
    let what = "all of them come online again, automatically";
    run.recover_within(what, back);
    check_sync_works(run).await
}

/// Checks that a handshake's token opens sync-service and that the pull can be reported.
async fn check_sync_works(run: &DrillRun) -> anyhow::Result<()> {
    let answer = send_handshake(&run.env.desktop).await;
    let has = answer.body["cursor"]["version"].as_u64().unwrap_or_default();
    let (held, found) = match pull(&run.env.desktop, &answer.body).await {
        Ok(pulled) => {
            let reported = report_pull(&run.env.desktop, pulled).await?;
            (
                pulled == has + 1 && reported == pulled,
                format!("from {has} to {pulled}, reported {reported}"),
            )
        }
        Err(error) => (false, format!("{error:#}")),
    };
    let what = "a desktop pulls with its token and its own key, and reports it";
    run.recover(what, held, found);
    Ok(())
}

/// The stand-in fault. A closed port applies to all routes of sync-service.
fn sync_fault(kind: &str) -> serde_json::Value {
    if kind == "refuse" {
        return stand_in_fault("sync", kind);
    }
    json!({"upstream": "sync", "route": HANDSHAKE, "kind": kind})
}

/// Observations during the fault.
#[derive(Default)]
struct During {
    /// When the first handshake got a response.
    first: Option<Instant>,
    answers: Vec<TimedResponse>,
    dashboards: Vec<DashboardView>,
    /// Responses of another route.
    reads: Vec<TimedResponse>,
    /// In the second half: handshakes sent, and handshakes that sync-service received.
    late: (u64, u64),
}

async fn watch(length: Duration, desktops: &Desktops, env: &DrillEnv) -> anyhow::Result<During> {
    let (begun, mut during) = (Instant::now(), During::default());
    let read = Call::get(format!("/arrivals?propertyId={}", env.property));
    let (mut since, mut is_late) = ((0, handshakes_received(env).await?), false);
    while begun.elapsed() < length {
        if !is_late && begun.elapsed() >= length / 2 {
            (since, is_late) = ((during.answers.len(), handshakes_received(env).await?), true);
        }
        let other_reads = async {
            (Box::pin(env.dashboard()).await, Box::pin(timed_call::send(&env.desktop, &read)).await)
        };
        let (answers, (dashboard, read)) = tokio::join!(desktops.wave(env), other_reads);
        during.first.get_or_insert_with(Instant::now);
        during.answers.extend(answers?);
        during.dashboards.push(dashboard);
        during.reads.extend(read);
        sleep(REQUEST_PAUSE).await;
    }
    let (sent_before, arrived) = since;
    during.late =
        ((during.answers.len() - sent_before) as u64, handshakes_received(env).await? - arrived);
    Ok(during)
}

fn check_user_view(run: &DrillRun, kind: &str, who: Who, during: &During) {
    let is_expected = |answer: &&TimedResponse| {
        let fitting = answer.is(UNAVAILABLE.0, UNAVAILABLE.1)
            || kind == "hang" && answer.is(TIMED_OUT.0, TIMED_OUT.1)
            || who == Who::All && answer.is(OVERLOADED.0, OVERLOADED.1);
        fitting && answer.body["retryAfter"] == 30 && answer.body["runbook"] == RUNBOOK
    };
    let (all, good) = (during.answers.len(), during.answers.iter().filter(is_expected).count());
    let odd = during.answers.iter().find(|answer| !is_expected(answer)).map(TimedResponse::summary);
    let found = format!("{good} of {all} {}", odd.unwrap_or_default());
    let what = "every handshake is a 502, 503 or 504 with retryAfter 30";
    run.user(what, good == all && all > 0, found.trim());
    let slowest = during.answers.iter().map(|answer| answer.took).max().unwrap_or_default();
    run.user_in_time(slowest, who.within());
    let (all, good) = (during.dashboards.len(), count_whole(&during.dashboards));
    let what = "every dashboard has all widgets from upstreams";
    run.user(what, good == all && all > 0, format!("{good} of {all}"));
    let good = during.reads.iter().filter(|answer| answer.status == 200).count();
    let what = "and every list of arrivals is 200";
    run.user(what, good == all, format!("{good} of {all}"));
}

fn count_whole(dashboards: &[DashboardView]) -> usize {
    let good = |seen: &&DashboardView| {
        seen.status == Some(200) && seen.upstream_widgets_not_ok().is_empty()
    };
    dashboards.iter().filter(good).count()
}

/// A single desktop's handshake is tried at most twice. Of a storm, less than half gets through once
/// the breaker has seen enough failures.
fn check_automatic(run: &DrillRun, who: Who, during: &During, arrived: u64) {
    if who == Who::One {
        let all = during.answers.len() as u64;
        let what = "no handshake is tried more than twice";
        let found = format!("{arrived} arrived for {all}");
        return run.automatic(what, arrived <= 2 * all, found);
    }
    let (all, arrived) = during.late;
    let what = "the breaker keeps more than half of the storm away from sync";
    let found = format!("{arrived} of {all} arrived in the second half");
    run.automatic(what, arrived * 2 < all, found);
}

async fn counted(outcome: &str, env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter(HANDSHAKES_METRIC, &[("outcome", outcome)]).await
}
