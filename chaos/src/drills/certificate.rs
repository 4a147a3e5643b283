//! The gateway's certificate comes to its end: it is seen beforehand, desks cannot connect
//! afterwards, and a renewed one is served without a restart.

use std::time::Duration;

use contracts::clock::Clock;
use launcher::folder::DataFolder;
use launcher::tls::Tls;
use tokio::sync::watch;

use super::Form;
use crate::alerts;
use crate::house::House;
use crate::observations::{Observations, Step};

const METRIC: &str = "bff_backoffice_tls_certificate_expiry_seconds";
const ALERT: &str = "BffTlsCertificateEndsInADay";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);
const DAY: i64 = 86_400;
/// What a renewal gives.
const RENEWED: i64 = 90;

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let folder = DataFolder::open(&house.folder)?;
    let clock = Clock::system();
    let pid = house.stack.process("bff")?.pid();
    let steady = until_left(house, objective, |left| left > 30 * DAY).await;
    seen.took(Step::Steady, "the certificate lasts more than 30 days", steady);
    whole(Step::Steady, objective, house, seen).await?;

    Tls::renew(&folder, &clock, 1)?;
    seen.expect(Step::Fault, "the certificate ends at midnight", true, "done");
    let noticed = until_left(house, DETECT_WITHIN, |left| (0..DAY).contains(&left)).await;
    let took = seen.took(Step::Detection, format!("{METRIC} says so"), noticed);
    seen.detected_after(took);
    if form == Form::Full {
        alarmed(house, seen).await?;
    }
    whole(Step::User, objective, house, seen).await?;

    Tls::renew(&folder, &clock, -1)?;
    seen.expect(Step::Fault, "the certificate has ended", true, "done");
    let ended = until_left(house, DETECT_WITHIN, |left| left < 0).await;
    seen.took(Step::Detection, format!("{METRIC} lies in the past"), ended);
    house.reconnect()?;
    let answer = house.dashboard().await;
    seen.expect(
        Step::User,
        "a desk that connects anew refuses the certificate and works offline",
        answer.status.is_none(),
        format!("{:?}", answer.status),
    );

    Tls::renew(&folder, &clock, RENEWED)?;
    let back = house.until_whole_anew(objective).await;
    let within = objective.as_secs();
    let took = seen.took(Step::Recovery, format!("desks connect again within {within} s"), back);
    seen.recovered_after(took);
    let now = house.stack.process("bff")?.pid();
    seen.expect(Step::Automatic, "the gateway was not restarted", now == pid, format!("{now:?}"));
    Ok(())
}

/// Desks that connect now see everything.
async fn whole(
    step: Step,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let whole = house.until_whole_anew(objective).await;
    seen.took(step, "a desk that connects anew sees a whole dashboard", whole);
    let during = house.watch(WATCHED, PAUSE).await;
    let good = during.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.expect(
        step,
        "and every one after it",
        good == during.len(),
        format!("{good} of {}", during.len()),
    );
    Ok(())
}

/// Until the seconds left, by the metric, are as wanted.
async fn until_left(
    house: &House,
    within: Duration,
    wanted: impl Fn(i64) -> bool,
) -> anyhow::Result<Duration> {
    let clock = Clock::system();
    let is_so = async |house: &House| {
        let ends = house.metric(METRIC, &[]).await?;
        Ok(ends > 0.0 && wanted(ends as i64 - clock.unix_seconds()))
    };
    house.until(METRIC, within, is_so).await
}

async fn alarmed(house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    let (done, until) = watch::channel(false);
    let watching = async {
        house.watch(Duration::from_secs(8), PAUSE).await;
        done.send_replace(true);
    };
    let ((), samples) =
        tokio::join!(watching, alerts::sample(house.http(), house.metrics_url(), until));
    let samples = samples?.since_1970_to_zero(METRIC, Clock::system().unix_seconds());
    let fired = alerts::firing(ALERT, &samples, &House::folder("drills")).await;
    seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    Ok(())
}
