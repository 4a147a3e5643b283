//! The push of events comes to housekeeping with a token that is not for it, as when a subscription's
//! audience is mistyped; then with none at all.

use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use contracts::id::{EventId, Id};
use launcher::internal::Caller;
use launcher::service_accounts::EVENTS;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::house::House;
use crate::observations::{Observations, Step};

const SERVICE: &str = "housekeeping";
const FAILURES: &str = "housekeeping_internal_auth_failure_total";
const CONSUMED: &str = "housekeeping_event_consumed_total";
const ALERT: &str = "HousekeepingInternalAuthFailures";
const CODE: &str = "MELMASTOON.GENERAL.UNAUTHENTICATED";
/// As often as a subscription delivers at most.
const DELIVERIES: usize = 10;
const WITHIN: Duration = Duration::from_secs(10);
/// So that promtool sees the counter as it was before, at one sample a second.
const BEFORE: Duration = Duration::from_secs(3);

/// One push, delivered in the ways that the subscription is set up.
struct Subscription<'a> {
    house: &'a House,
    url: String,
    /// Of the event bus, for this service.
    right: String,
    /// Of the event bus, for the gateway.
    wrong: String,
    push: Value,
}

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let whole = until_whole(house).await;
    seen.took(Step::Steady, "every widget is ok", whole);
    let subscription = Subscription::of(house).await?;
    let status = subscription.deliver(Some(&subscription.right)).await?.status().as_u16();
    seen.expect(Step::Steady, "an event is acknowledged with 204", status == 204, status);

    let (done, until) = watch::channel(false);
    let failing = async {
        sleep(if form == Form::Full { BEFORE } else { Duration::ZERO }).await;
        let failed = fail(&subscription, seen).await;
        sleep(if form == Form::Full { BEFORE } else { Duration::ZERO }).await;
        done.send_replace(true);
        failed
    };
    let sampling = alerts::sample(house.http(), subscription.metrics_url(), until);
    let (failed, samples) = tokio::join!(failing, sampling);
    failed?;
    if form == Form::Full {
        let fired = alerts::firing(ALERT, &samples?, &House::folder("drills")).await;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    }

    let begun = Instant::now();
    let status = subscription.deliver(Some(&subscription.right)).await?.status().as_u16();
    let took = begun.elapsed();
    let held = status == 204 && took < objective;
    seen.expect(Step::Recovery, "with the right audience it is taken in", held, status);
    let consumed = subscription.counted(CONSUMED).await?;
    let twice = (consumed - 2.0).abs() < f64::EPSILON;
    seen.expect(Step::Recovery, format!("{CONSUMED} counts it"), twice, consumed);
    seen.recovered_after(Some(took));
    Ok(())
}

async fn fail(subscription: &Subscription<'_>, seen: &mut Observations) -> anyhow::Result<()> {
    let begun = Instant::now();
    let what = "ten deliveries with a token for the gateway, then one without any";
    seen.expect(Step::Fault, what, true, "done");
    let mut refused = 0;
    for _ in 0..DELIVERIES {
        refused +=
            usize::from(is_refused(subscription.deliver(Some(&subscription.wrong)).await?).await);
    }
    refused += usize::from(is_refused(subscription.deliver(None).await?).await);
    seen.expect(
        Step::User,
        format!("each is answered 401 {CODE}"),
        refused == DELIVERIES + 1,
        format!("{refused} of {}", DELIVERIES + 1),
    );
    let counted = subscription.counted(FAILURES).await?;
    let all = counted >= DELIVERIES as f64;
    seen.expect(Step::Detection, format!("{FAILURES} spikes"), all, counted);
    seen.detected_after(Some(begun.elapsed()));
    let consumed = subscription.counted(CONSUMED).await?;
    let once = (consumed - 1.0).abs() < f64::EPSILON;
    seen.expect(Step::Automatic, "nothing of them is taken in", once, consumed);
    let whole = until_whole(subscription.house).await;
    seen.took(Step::User, "desks see nothing of it: every widget is ok", whole);
    Ok(())
}

async fn until_whole(house: &House) -> anyhow::Result<Duration> {
    let is_so = async |house: &House| Ok(house.dashboard().await.is_whole());
    house.until("a whole dashboard", WITHIN, is_so).await
}

async fn is_refused(answer: Response) -> bool {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    status == 401 && body["code"] == CODE
}

impl<'a> Subscription<'a> {
    async fn of(house: &'a House) -> anyhow::Result<Self> {
        let (clock, url) = (Clock::system(), house.service_url(SERVICE)?);
        let wrong = Caller::new(house.stack.info(), clock.clone())?.token(EVENTS).await?;
        let mut there = house.stack.info().clone();
        there.internal.audience.clone_from(&url);
        let right = Caller::new(&there, clock.clone())?.token(EVENTS).await?;
        let event = json!({
            "specversion": "1.0", "id": EventId::generate(&clock, &Entropy::system()),
            "source": "/services/reservation-service",
            "type": "melmastoon.reservation.reservation.checked_out.v1",
            "subject": "rsv_01K0000000000000000000000A",
            "time": contracts::clock::wire_time(clock.now()),
            "datacontenttype": "application/json",
            "tenantid": house.desktop.operator().tenant_id,
            "orderingkey": "drill", "correlationid": "drill",
            "actortype": "system", "actorid": "drill",
            "retentionclass": "operational", "data": {},
        });
        let push = json!({"message": {"data": encoded(&event), "messageId": "1"},
                          "subscription": "projects/drill/subscriptions/housekeeping"});
        Ok(Self { house, url, right, wrong, push })
    }

    fn metrics_url(&self) -> String {
        format!("{}/metrics", self.url)
    }

    async fn counted(&self, metric: &str) -> anyhow::Result<f64> {
        self.house.metric_from(&self.metrics_url(), metric, &[]).await
    }

    async fn deliver(&self, token: Option<&str>) -> anyhow::Result<Response> {
        let mut request =
            self.house.http().post(format!("{}/internal/events", self.url)).json(&self.push);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Ok(request.send().await?)
    }
}

/// base64, as the push form has it.
fn encoded(event: &Value) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(event.to_string())
}
