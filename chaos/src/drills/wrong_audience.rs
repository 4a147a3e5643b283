//! Events are pushed to housekeeping with a token for another audience, as after a typo in a push
//! subscription, and without a token.

use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use contracts::id::{EventId, Id};
use launcher::internal::InternalClient;
use launcher::service_accounts::EVENTS;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Mode;
use crate::drill_env::DrillEnv;
use crate::observations::{Observations, Step};

const SERVICE: &str = "housekeeping";
const FAILURES_METRIC: &str = "housekeeping_internal_auth_failure_total";
const CONSUMED_METRIC: &str = "housekeeping_event_consumed_total";
const ALERT: &str = "HousekeepingInternalAuthFailures";
const CODE: &str = "MELMASTOON.GENERAL.UNAUTHENTICATED";
/// Maximum deliveries of a subscription.
const DELIVERIES: usize = 10;
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// One push request and the tokens to deliver it with.
struct Push<'a> {
    env: &'a DrillEnv,
    url: String,
    /// Token with this service as audience.
    right: String,
    /// Token with the gateway as audience.
    wrong: String,
    body: Value,
}

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let whole = until_whole(env).await;
    seen.check_timed(Step::Steady, "every widget is ok", whole);
    let push = Push::of(env).await?;
    let status = push.deliver(Some(&push.right)).await?.status().as_u16();
    seen.check(Step::Steady, "an event is acknowledged with 204", status == 204, status);

    let failing = refuse_deliveries(&push, seen);
    if mode == Mode::Full {
        let alerts = env.alerts()?;
        let (failed, raised) = alerts.raised_during(&[ALERT], Instant::now(), failing).await?;
        failed?;
        raised.report(seen);
    } else {
        failing.await?;
    }

    let begun = Instant::now();
    let status = push.deliver(Some(&push.right)).await?.status().as_u16();
    let took = begun.elapsed();
    let held = status == 204 && took < objective;
    seen.check(Step::Recovery, "with the right audience it is accepted", held, status);
    let consumed = push.counted(CONSUMED_METRIC).await?;
    let twice = (consumed - 2.0).abs() < f64::EPSILON;
    seen.check(Step::Recovery, format!("{CONSUMED_METRIC} counts it"), twice, consumed);
    seen.recovered_after(Some(took));
    Ok(())
}

async fn refuse_deliveries(push: &Push<'_>, seen: &mut Observations) -> anyhow::Result<()> {
    let begun = Instant::now();
    let what = "ten deliveries with a token for the gateway, then one without any";
    seen.check(Step::Fault, what, true, "done");
    let mut refused = 0;
    for _ in 0..DELIVERIES {
        refused += usize::from(is_refused(push.deliver(Some(&push.wrong)).await?).await);
    }
    refused += usize::from(is_refused(push.deliver(None).await?).await);
    seen.check(
        Step::User,
        format!("each gets 401 {CODE}"),
        refused == DELIVERIES + 1,
        format!("{refused} of {}", DELIVERIES + 1),
    );
    let counted = push.counted(FAILURES_METRIC).await?;
    let all = counted >= DELIVERIES as f64;
    seen.check(Step::Detection, format!("{FAILURES_METRIC} grows"), all, counted);
    seen.detected_after(Some(begun.elapsed()));
    let consumed = push.counted(CONSUMED_METRIC).await?;
    let once = (consumed - 1.0).abs() < f64::EPSILON;
    seen.check(Step::Automatic, "none of them is accepted", once, consumed);
    let whole = until_whole(push.env).await;
    seen.check_timed(Step::User, "operators do not notice: every widget is ok", whole);
    Ok(())
}

async fn until_whole(env: &DrillEnv) -> anyhow::Result<Duration> {
    let is_so = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
    env.wait_until("a whole dashboard", SETTLE_TIMEOUT, is_so).await
}

async fn is_refused(answer: Response) -> bool {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    status == 401 && body["code"] == CODE
}

impl<'a> Push<'a> {
    async fn of(env: &'a DrillEnv) -> anyhow::Result<Self> {
        let (clock, url) = (Clock::system(), env.service_url(SERVICE)?);
        let wrong = InternalClient::new(env.stack.info(), clock.clone())?.token(EVENTS).await?;
        let mut there = env.stack.info().clone();
        there.internal.audience.clone_from(&url);
        let right = InternalClient::new(&there, clock.clone())?.token(EVENTS).await?;
        let event = json!({
            "specversion": "1.0", "id": EventId::generate(&clock, &Entropy::system()),
            "source": "/services/reservation-service",
            "type": "melmastoon.reservation.reservation.checked_out.v1",
            "subject": "rsv_01K0000000000000000000000A",
            "time": contracts::clock::wire_time(clock.now()),
            "datacontenttype": "application/json",
            "tenantid": env.desktop.operator().tenant_id,
            "orderingkey": "drill", "correlationid": "drill",
            "actortype": "system", "actorid": "drill",
            "retentionclass": "operational", "data": {},
        });
        let body = json!({"message": {"data": encoded(&event), "messageId": "1"},
                          "subscription": "projects/drill/subscriptions/housekeeping"});
        Ok(Self { env, url, right, wrong, body })
    }

    fn metrics_url(&self) -> String {
        format!("{}/metrics", self.url)
    }

    async fn counted(&self, metric: &str) -> anyhow::Result<f64> {
        self.env.metric_from(&self.metrics_url(), metric, &[]).await
    }

    async fn deliver(&self, token: Option<&str>) -> anyhow::Result<Response> {
        let mut request =
            self.env.http().post(format!("{}/internal/events", self.url)).json(&self.body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Ok(request.send().await?)
    }
}

/// Encodes an event in base64, as Pub/Sub does.
fn encoded(event: &Value) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(event.to_string())
}
