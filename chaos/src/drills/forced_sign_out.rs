//! Operators are signed out by force while their streams are open at the other instance: first with
//! everything in order, then without the session tier, whose messages are lost. Each desktop gets the event,
//! 95 % of them within five seconds, and its token is void. Then the instance that has the streams is stopped
//! for longer than that, which raises the alert.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use futures_util::future::join_all;
use launcher::desktop::{Call, Desktop};
use launcher::internal::InternalClient;
use launcher::servers::SECOND_GATEWAY;
use reqwest::{Method, Response};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::drill_env::{DrillEnv, EnvOptions, metrics_of};
use crate::drill_run::{Drill, DrillFuture, DrillRun};
use crate::timed_call;

const METRIC: &str = "bff_backoffice_force_logout_total";
const DELAY_METRIC: &str = "bff_backoffice_revocation_delay_seconds_bucket";
const ALERT: &str = "BffForcedSignOutLate";
const REVOKE: &str = "/internal/sessions/revoke";
const EVENT: &str = "event: session.force_logout";
const OPERATOR_ACCOUNT: &str = "operator-a";
/// The objective, for 95 % of the desktops.
const P95_OBJECTIVE: Duration = Duration::from_secs(5);
/// Longer than the objective.
const STOPPED_FOR: Duration = Duration::from_secs(6);
const DELIVERED_WITHIN: Duration = Duration::from_secs(10);
const DETECT_WITHIN: Duration = Duration::from_secs(5);

/// An operator's desktop with an open stream.
struct OpenStream {
    desktop: Desktop,
    stream: Response,
}

pub(super) struct ForcedSignOut;

impl Drill for ForcedSignOut {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        EnvOptions { second_gateway: true, ..options }
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let whole = run.until_whole().await;
    run.steady_within("every widget is ok", whole);
    let mut streams = open_streams(&run.env).await?;
    let count = streams.len();
    run.steady("every operator has an open stream", count > 1, count);
    let caller = InternalClient::new(run.env.stack.info(), Clock::system())?;
    caller.token(OPERATOR_ACCOUNT).await?;
    let before = run.env.counter_everywhere(METRIC, &[]).await?;

    let stopped = streams.split_off(count - count / 3);
    let without_tier = streams.split_off(streams.len() / 2);
    run.inject("some of the operators are signed out by force");
    let mut deliveries = sign_out(&caller, streams).await?;
    let tier = run.env.stack.process("redis-session")?;
    tier.pause().await?;
    run.inject("others too, while the session tier does not respond");
    let others = sign_out(&caller, without_tier).await;
    let commands = run.run_runbooks().await;
    tier.resume().await?;
    commands?;
    deliveries.extend(others?);
    check_deliveries(run, &deliveries, before).await?;
    deliveries.extend(sign_out_late(run, &caller, stopped).await?);
    check_signed_out(run, &deliveries).await
}

/// Opens streams of all operators but the drill's own, at the second instance.
async fn open_streams(env: &DrillEnv) -> anyhow::Result<Vec<OpenStream>> {
    let mut info = env.stack.info().clone();
    info.gateway = info.second_gateway.clone().context("there are two instances")?;
    let (own, folder) = (&env.desktop.operator().username, env.folder.join("desktop-2"));
    let mut streams = Vec::new();
    for operator in info.operators.iter().filter(|operator| operator.username != *own) {
        let desktop = Desktop::open(&info, &operator.username, &folder, Clock::system())?;
        // This stack's iam does not accept tokens of an earlier stack.
        desktop.forget_tokens().await?;
        let call = Call { within: None, ..Call::get("/sse/stream") };
        let mut stream = desktop.send(&call).await?.error_for_status()?;
        stream.chunk().await?.context("a stream says hello")?;
        streams.push(OpenStream { desktop, stream });
    }
    Ok(streams)
}

/// A desktop and the time from the request until its stream said so; `None` if it did not.
struct Delivery {
    desktop: Desktop,
    took: Option<Duration>,
}

/// Signs out all desktops at once, and reads their streams.
async fn sign_out(
    caller: &InternalClient,
    streams: Vec<OpenStream>,
) -> anyhow::Result<Vec<Delivery>> {
    let deliveries = streams.into_iter().map(async |OpenStream { desktop, mut stream }| {
        let begun = Instant::now();
        let operator = desktop.operator();
        let body = json!({"tenantId": operator.tenant_id, "kind": "device",
                          "id": operator.device_id, "reason": "a drill"});
        let revoking = caller.call(OPERATOR_ACCOUNT, Method::POST, REVOKE, Some(&body));
        let reading = async {
            let deliveries = timeout(DELIVERED_WITHIN, until_force_logout(&mut stream)).await;
            matches!(deliveries, Ok(Ok(true))).then(|| begun.elapsed())
        };
        let (revoked, took) = tokio::join!(revoking, reading);
        revoked?.error_for_status()?;
        anyhow::Ok(Delivery { desktop, took })
    });
    join_all(deliveries).await.into_iter().collect()
}

/// Reads until the event, or false at the end of the stream.
async fn until_force_logout(stream: &mut Response) -> anyhow::Result<bool> {
    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await? {
        text.push_str(&String::from_utf8_lossy(&chunk));
        if text.contains(EVENT) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn check_deliveries(
    run: &DrillRun,
    deliveries: &[Delivery],
    before: f64,
) -> anyhow::Result<()> {
    let mut times: Vec<Duration> = deliveries.iter().filter_map(|delivery| delivery.took).collect();
    let found = format!("{} of {}", times.len(), deliveries.len());
    run.user("every stream gets session.force_logout", times.len() == deliveries.len(), found);
    times.sort_unstable();
    let rank = (deliveries.len() * 95).div_ceil(100);
    let p95 = times.get(rank - 1).copied();
    let held = p95.is_some_and(|p95| p95 < P95_OBJECTIVE);
    let found = format!("{p95:?}, the slowest {:?}", times.last());
    run.automatic("95 % of them within the objective", held, found);
    run.detected_after(p95);
    let all = before + deliveries.len() as f64 - 0.5;
    let is_counted = async |env: &DrillEnv| Ok(env.counter_everywhere(METRIC, &[]).await? > all);
    let counted = run.env.wait_until("the counter", DETECT_WITHIN, is_counted).await;
    run.detect_within(format!("{METRIC} counts each"), counted);
    Ok(())
}

/// Signs out the others while the instance that has their streams is stopped.
async fn sign_out_late(
    run: &DrillRun,
    caller: &InternalClient,
    streams: Vec<OpenStream>,
) -> anyhow::Result<Vec<Delivery>> {
    let second = run.env.stack.process(SECOND_GATEWAY)?;
    let stopped_at = Instant::now();
    second.pause().await?;
    run.inject("the last ones too, while the instance with their streams is stopped");
    let resuming = async {
        sleep(STOPPED_FOR).await;
        second.resume().await
    };
    let both = async { tokio::join!(sign_out(caller, streams), resuming) };
    let (deliveries, resumed) = run.raised_during(&[ALERT], stopped_at, both).await?;
    resumed?;
    let deliveries = deliveries?;
    let late = deliveries.iter().filter(|delivery| delivery.took > Some(P95_OBJECTIVE)).count();
    let found = format!("{late} of {}", deliveries.len());
    run.user("each gets it late, once the instance runs again", late == deliveries.len(), found);
    let is_exported = async |env: &DrillEnv| {
        let delays = metrics_of(&env.gateways()[1]);
        let on_time = env.counter_at(&delays, DELAY_METRIC, &[("le", "5")]).await?;
        let all = env.counter_at(&delays, DELAY_METRIC, &[("le", "+Inf")]).await?;
        Ok(all - on_time > late as f64 - 0.5)
    };
    let exported = run.env.wait_until("the delays", DETECT_WITHIN, is_exported).await;
    run.detect_within(format!("{DELAY_METRIC} shows the delay of each"), exported);
    Ok(deliveries)
}

/// The backstop: whether or not a desktop got the event, its token is void.
async fn check_signed_out(run: &DrillRun, deliveries: &[Delivery]) -> anyhow::Result<()> {
    let mut refused = 0;
    for Delivery { desktop, .. } in deliveries {
        let answer = timed_call::send(desktop, &Call::get("/session")).await?;
        refused += usize::from(answer.status == 401);
    }
    let found = format!("{refused} of {}", deliveries.len());
    run.automatic("every token of before is 401", refused == deliveries.len(), found);
    let begun = Instant::now();
    for Delivery { desktop, .. } in deliveries {
        let is_back = async |_: &DrillEnv| {
            // A token of the second of the revocation is void too.
            desktop.forget_tokens().await?;
            Ok(timed_call::send(desktop, &Call::get("/session")).await?.status == 200)
        };
        run.env.wait_until("a new session", run.objective, is_back).await?;
    }
    run.recover_within("everyone can sign in again", Ok(begun.elapsed()));
    Ok(())
}
