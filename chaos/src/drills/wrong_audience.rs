//! Events are pushed to housekeeping with a token for another audience, as after a typo in a push
//! subscription, and without a token.

use contracts::clock::{Clock, Entropy};
use contracts::id::{EventId, Id};
use launcher::internal::InternalClient;
use launcher::service_accounts::EVENTS;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};

const SERVICE: &str = "housekeeping";
const FAILURES_METRIC: &str = "housekeeping_internal_auth_failure_total";
const CONSUMED_METRIC: &str = "housekeeping_event_consumed_total";
const ALERT: &str = "HousekeepingInternalAuthFailures";
const CODE: &str = "MELMASTOON.GENERAL.UNAUTHENTICATED";
/// Maximum deliveries of a subscription.
const DELIVERIES: usize = 10;

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

pub(super) struct WrongAudience;

impl Drill for WrongAudience {
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
    let push = Push::of(&run.env).await?;
    let status = push.deliver(Some(&push.right)).await?.status().as_u16();
    run.steady("an event is acknowledged with 204", status == 204, status);

    run.raised_during(&[ALERT], Instant::now(), refuse_deliveries(run, &push)).await??;

    let (before, begun) = (push.counted(CONSUMED_METRIC).await?, Instant::now());
    let status = push.deliver(Some(&push.right)).await?.status().as_u16();
    let took = begun.elapsed();
    let held = status == 204 && took < run.objective;
    run.recover("with the right audience it is accepted", held, status);
    let consumed = push.counted(CONSUMED_METRIC).await? - before;
    let once = (consumed - 1.0).abs() < 0.5;
    run.recover(format!("{CONSUMED_METRIC} counts it"), once, consumed);
    run.recovered_after(Some(took));
    Ok(())
}

async fn refuse_deliveries(run: &DrillRun, push: &Push<'_>) -> anyhow::Result<()> {
    let (failures, consumed_before, begun) = (
        push.counted(FAILURES_METRIC).await?,
        push.counted(CONSUMED_METRIC).await?,
        Instant::now(),
    );
    let what = "ten deliveries with a token for the gateway, then one without any";
    run.inject(what);
    let mut refused = 0;
    for _ in 0..DELIVERIES {
        refused += usize::from(is_refused(push.deliver(Some(&push.wrong)).await?).await);
    }
    refused += usize::from(is_refused(push.deliver(None).await?).await);
    run.user(
        format!("each gets 401 {CODE}"),
        refused == DELIVERIES + 1,
        format!("{refused} of {}", DELIVERIES + 1),
    );
    let counted = push.counted(FAILURES_METRIC).await? - failures;
    let all = counted >= DELIVERIES as f64;
    run.detect(format!("{FAILURES_METRIC} grows"), all, counted);
    run.detected_after(Some(begun.elapsed()));
    let consumed = push.counted(CONSUMED_METRIC).await? - consumed_before;
    run.automatic("none of them is accepted", consumed < 0.5, consumed);
    let whole = run.until_whole().await;
    run.user_within("operators do not notice: every widget is ok", whole);
    Ok(())
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
        self.env.counter_at(&self.metrics_url(), metric, &[]).await
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
