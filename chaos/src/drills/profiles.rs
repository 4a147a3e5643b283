//! tenant-service is slow or down. Operators with a cached profile notice nothing; a new operator is
//! admitted by the token alone after a short wait, and the profile is loaded later.
//!
//! Not here: profiles older than five minutes, which the gateway's own tests cover.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::desktop::{Call, Desktop};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::drill_env::{DashboardView, DrillEnv};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
use crate::timed_call::{self, TimedResponse};

const ALERTS: [&str; 2] = ["BffTenantDegraded", "BffOperatorProfilesMissing"];
const CALLS_METRIC: &str = "bff_backoffice_upstream_request_total";
const PROFILES_METRIC: &str = "bff_backoffice_operator_profile_total";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCH_DURATION: Duration = Duration::from_secs(4);
const REQUEST_PAUSE: Duration = Duration::from_millis(100);
/// The 200 ms that a profile is awaited, plus a new connection and overhead.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// Later requests do not wait; this is overhead only.
const NEXT_WITHIN: Duration = Duration::from_millis(700);
/// Pause before tenant-service is called again for an operator after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Profiles;

impl Drill for Profiles {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Restarted(&["bff"])
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    // A gateway that has just started has no profiles.
    run.env.stack.restart("bff").await?;
    run.env.reconnect()?;
    let slow = json!({"upstream": "tenant", "kind": "latency", "ms": 2_000});
    let down = json!({"upstream": "tenant", "kind": "refuse"});
    let newcomers = newcomers(&run.env)?;
    for (number, (fault, newcomer)) in [slow, down].iter().zip(&newcomers).enumerate() {
        let alerts: &[_] = if number == 0 { &ALERTS } else { &[] };
        drill_fault(run, fault, alerts, newcomer).await?;
    }
    Ok(())
}

/// Two operators of the property without a cached profile.
fn newcomers(env: &DrillEnv) -> anyhow::Result<[Desktop; 2]> {
    let (info, own) = (env.stack.info(), &env.desktop.operator().username);
    let others = info
        .operators
        .iter()
        .filter(|other| other.property_ids.contains(&env.property) && other.username != *own);
    let folder = env.folder.join("desktop");
    let open = |name: &str| Desktop::open(info, name, &folder, Clock::system());
    let desktops: Vec<Desktop> =
        others.take(2).map(|other| open(&other.username)).collect::<anyhow::Result<_>>()?;
    desktops.try_into().ok().context("the property has not three operators")
}

async fn drill_fault(
    run: &DrillRun,
    fault: &Value,
    alerts: &[&'static str],
    newcomer: &Desktop,
) -> anyhow::Result<()> {
    let kind = fault["kind"].as_str().unwrap_or_default();
    let steady =
        run.env.wait_until("a whole dashboard and a profile", run.objective, is_well).await;
    run.steady_within("every widget is ok and the operator's profile is known", steady);
    // Signing in does not use tenant-service.
    newcomer.access_token().await?;
    let (before, calls_before, injected_at) =
        (requests_without_profile(&run.env).await?, profile_calls(&run.env).await?, Instant::now());
    run.env.add_fault(fault).await?;
    run.inject(format!("tenant: {kind}"));
    let first = timed_call::send(newcomer, &Call::get("/session")).await?;
    run.detected_after(Some(injected_at.elapsed()));
    check_first_response(run, newcomer, &first);
    let length = run.watch_length(alerts, WATCH_DURATION)?;
    let watching = watch(length, newcomer, &run.env);
    let during = run.raised_during(alerts, injected_at, watching).await??;
    check_user_view(run, &during);
    check_automatic(run, calls_before, injected_at.elapsed()).await?;
    let counted = run
        .env
        .wait_until("the counter", DETECT_WITHIN, async |env| {
            Ok(requests_without_profile(env).await? > before)
        })
        .await;
    run.detect_within(format!("{PROFILES_METRIC} counts requests without a profile"), counted);
    run.env.clear_faults().await?;
    let back = run
        .env
        .wait_until("the newcomer's profile", run.objective, async |_| is_known(newcomer).await)
        .await;
    let what = "the newcomer has a name, loaded in the background";
    run.recover_within(what, back);
    Ok(())
}

/// Checks that the first request is admitted by the token alone.
fn check_first_response(run: &DrillRun, newcomer: &Desktop, first: &TimedResponse) {
    let operator = newcomer.operator();
    let session = &first.body;
    let by_token = first.status == 200
        && session["profile"] == "unavailable"
        && session["displayName"].is_null()
        && session["roles"] == json!(operator.roles)
        && session["propertyIds"] == json!(operator.property_ids);
    run.user(
        "a newcomer has the token's roles and properties, and no name",
        by_token,
        format!("{} profile {} roles {}", first.summary(), session["profile"], session["roles"]),
    );
    let found = format!("{} ms", first.took.as_millis());
    run.user("the newcomer's first response is in time", first.took < FIRST_WITHIN, found);
}

/// Observations during the fault.
#[derive(Default)]
struct During {
    dashboards: Vec<DashboardView>,
    known: Vec<TimedResponse>,
    newcomers: Vec<TimedResponse>,
}

async fn watch(length: Duration, newcomer: &Desktop, env: &DrillEnv) -> anyhow::Result<During> {
    let (end, mut during) = (Instant::now() + length, During::default());
    let session = Call::get("/session");
    let dashboard = Call::get(format!("/dashboard?propertyId={}", env.property));
    while Instant::now() < end {
        during.dashboards.push(env.dashboard().await);
        during.known.push(timed_call::send(&env.desktop, &session).await?);
        during.newcomers.push(timed_call::send(newcomer, &dashboard).await?);
        sleep(REQUEST_PAUSE).await;
    }
    Ok(during)
}

fn check_user_view(run: &DrillRun, during: &During) {
    let good = during.dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    let all = during.dashboards.len();
    run.user(
        "every dashboard of an operator with a cached profile is whole",
        good == all && good > 0,
        format!("{good} of {all}"),
    );
    let is_cached =
        |answer: &&TimedResponse| answer.status == 200 && answer.body["profile"] == "fresh";
    let (good, all) = (during.known.iter().filter(is_cached).count(), during.known.len());
    run.user("whose profile stays cached", good == all && good > 0, format!("{good} of {all}"));
    let good = during.newcomers.iter().filter(|answer| answer.status == 200).count();
    let all = during.newcomers.len();
    run.user(
        "every dashboard of the newcomer is 200",
        good == all && good > 0,
        format!("{good} of {all}"),
    );
    let times = during.dashboards.iter().map(|dashboard| dashboard.took);
    let times = times.chain(during.newcomers.iter().map(|answer| answer.took));
    let slowest = times.max().unwrap_or_default();
    run.user_in_time(slowest, NEXT_WITHIN);
}

/// Checks that tenant-service is called at most once in five seconds per operator.
async fn check_automatic(run: &DrillRun, before: f64, length: Duration) -> anyhow::Result<()> {
    let calls = profile_calls(&run.env).await? - before;
    let most = length.as_secs_f64() / RETRY_PAUSE.as_secs_f64() + 1.0;
    run.automatic(
        "tenant-service is not called for 5 s after each failure",
        calls > 0.0 && calls <= most,
        format!("{calls:.0} calls in {} s", length.as_secs()),
    );
    Ok(())
}

async fn is_known(desktop: &Desktop) -> anyhow::Result<bool> {
    let body = timed_call::send(desktop, &Call::get("/session")).await?.body;
    Ok(body["profile"] == "fresh" && body["displayName"].is_string())
}

async fn is_well(env: &DrillEnv) -> anyhow::Result<bool> {
    Ok(env.dashboard().await.is_whole() && is_known(&env.desktop).await?)
}

async fn requests_without_profile(env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter(PROFILES_METRIC, &[("outcome", "token_only")]).await
}

async fn profile_calls(env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter(CALLS_METRIC, &[("upstream", "tenant")]).await
}
