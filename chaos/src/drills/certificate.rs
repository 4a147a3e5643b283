//! The gateway's certificate expires. This is detected beforehand, desktops cannot connect afterwards,
//! and a renewed certificate is served without a restart.

use std::time::Duration;

use contracts::clock::Clock;
use launcher::data_dir::DataDir;
use launcher::tls::Tls;
use tokio::time::Instant;

use super::Mode;
use crate::drill_env::DrillEnv;
use crate::observations::{Observations, Step};

const METRIC: &str = "bff_backoffice_tls_certificate_expiry_seconds";
const ALERT: &str = "BffTlsCertificateEndsInADay";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCH_DURATION: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(100);
const DAY_SECONDS: i64 = 86_400;
/// Validity of a renewed certificate.
const RENEWED_DAYS: i64 = 90;

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let folder = DataDir::open(&env.folder)?;
    let clock = Clock::system();
    let pid = env.stack.process("bff")?.pid();
    let steady = until_left(env, objective, |left| left > 30 * DAY_SECONDS).await;
    seen.check_timed(Step::Steady, "the certificate lasts more than 30 days", steady);
    check_whole(Step::Steady, objective, env, seen).await?;

    let renewed_at = Instant::now();
    Tls::renew(&folder, &clock, 1)?;
    seen.check(Step::Fault, "the certificate ends at midnight", true, "done");
    let noticed = until_left(env, DETECT_WITHIN, |left| (0..DAY_SECONDS).contains(&left)).await;
    let took = seen.check_timed(Step::Detection, format!("{METRIC} shows it"), noticed);
    seen.detected_after(took);
    if mode == Mode::Full {
        watch_with_alert(renewed_at, env, seen).await?;
    }
    check_whole(Step::User, objective, env, seen).await?;

    Tls::renew(&folder, &clock, -1)?;
    seen.check(Step::Fault, "the certificate has ended", true, "done");
    let ended = until_left(env, DETECT_WITHIN, |left| left < 0).await;
    seen.check_timed(Step::Detection, format!("{METRIC} is in the past"), ended);
    env.reconnect()?;
    let answer = env.dashboard().await;
    seen.check(
        Step::User,
        "a new connection fails because of the certificate, and the desktop works offline",
        answer.status.is_none(),
        format!("{:?}", answer.status),
    );

    Tls::renew(&folder, &clock, RENEWED_DAYS)?;
    let back = env.until_whole_again(objective).await;
    let within = objective.as_secs();
    let took =
        seen.check_timed(Step::Recovery, format!("desktops connect again within {within} s"), back);
    seen.recovered_after(took);
    let now = env.stack.process("bff")?.pid();
    seen.check(Step::Automatic, "the gateway was not restarted", now == pid, format!("{now:?}"));
    Ok(())
}

/// Checks that new connections get whole dashboards.
async fn check_whole(
    step: Step,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let whole = env.until_whole_again(objective).await;
    seen.check_timed(step, "a new connection gets a whole dashboard", whole);
    let during = env.watch(WATCH_DURATION, REQUEST_PAUSE).await;
    let good = during.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.check(
        step,
        "and all later ones too",
        good == during.len(),
        format!("{good} of {}", during.len()),
    );
    Ok(())
}

/// Waits until the remaining seconds, by the metric, satisfy `wanted`.
async fn until_left(
    env: &DrillEnv,
    within: Duration,
    wanted: impl Fn(i64) -> bool,
) -> anyhow::Result<Duration> {
    let clock = Clock::system();
    let is_so = async |env: &DrillEnv| {
        let ends = env.metric(METRIC, &[]).await?;
        Ok(ends > 0.0 && wanted(ends as i64 - clock.unix_seconds()))
    };
    env.wait_until(METRIC, within, is_so).await
}

async fn watch_with_alert(
    renewed_at: Instant,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let ((), raised) = env.alerts()?.raised_during(&[ALERT], renewed_at, async {}).await?;
    raised.report(seen);
    Ok(())
}
