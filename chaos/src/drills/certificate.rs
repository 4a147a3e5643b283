//! The gateway's certificate expires. This is detected beforehand, desktops cannot connect afterwards,
//! and a renewed certificate is served without a restart.

use std::time::Duration;

use contracts::clock::Clock;
use launcher::data_dir::DataDir;
use launcher::tls::Tls;
use tokio::time::Instant;

use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::observations::Step;

const METRIC: &str = "bff_backoffice_tls_certificate_expiry_seconds";
const ALERT: &str = "BffTlsCertificateEndsInADay";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCH_DURATION: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(100);
const DAY_SECONDS: i64 = 86_400;
/// Validity of a renewed certificate.
const RENEWED_DAYS: i64 = 90;

pub(super) struct Certificate;

impl Drill for Certificate {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let folder = DataDir::open(&run.env.folder)?;
    let clock = Clock::system();
    let pid = run.env.stack.process("bff")?.pid();
    let steady = until_left(&run.env, run.objective, |left| left > 30 * DAY_SECONDS).await;
    run.steady_within("the certificate lasts more than 30 days", steady);
    check_whole(run, Step::Steady).await?;

    let renewed_at = Instant::now();
    Tls::renew(&folder, &clock, 1)?;
    run.inject("the certificate ends at midnight");
    let noticed =
        until_left(&run.env, DETECT_WITHIN, |left| (0..DAY_SECONDS).contains(&left)).await;
    let took = run.detect_within(format!("{METRIC} shows it"), noticed);
    run.detected_after(took);
    run.raised_during(&[ALERT], renewed_at, async {}).await?;
    check_whole(run, Step::User).await?;

    Tls::renew(&folder, &clock, -1)?;
    run.inject("the certificate has ended");
    let ended = until_left(&run.env, DETECT_WITHIN, |left| left < 0).await;
    run.detect_within(format!("{METRIC} is in the past"), ended);
    run.env.reconnect()?;
    let answer = run.env.dashboard().await;
    run.user(
        "a new connection fails because of the certificate, and the desktop works offline",
        answer.status.is_none(),
        format!("{:?}", answer.status),
    );

    Tls::renew(&folder, &clock, RENEWED_DAYS)?;
    let back = run.env.until_whole_again(run.objective).await;
    run.recover_within("desktops connect again", back);
    let now = run.env.stack.process("bff")?.pid();
    run.automatic("the gateway was not restarted", now == pid, format!("{now:?}"));
    Ok(())
}

/// Checks that new connections get whole dashboards.
async fn check_whole(run: &mut DrillRun, step: Step) -> anyhow::Result<()> {
    let whole = run.env.until_whole_again(run.objective).await;
    run.within(step, "a new connection gets a whole dashboard", whole);
    let during = run.env.watch(WATCH_DURATION, REQUEST_PAUSE).await;
    let good = during.iter().filter(|dashboard| dashboard.is_whole()).count();
    run.check(
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
        // A gateway that has just started has no series for a moment.
        let ends = env.metric(METRIC, &[]).await;
        Ok(ends.is_ok_and(|ends| wanted(ends as i64 - clock.unix_seconds())))
    };
    env.wait_until(METRIC, within, is_so).await
}
