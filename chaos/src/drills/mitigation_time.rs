//! Three incidents that end by what a person does: an edge rule is rolled back, frozen lock routes are
//! unfrozen by two people, and a revision is rolled back. Measured from each alert to the end of what
//! users notice.
//!
//! The drill runs the commands of the runbook at once; the time to read them is a person's.

use std::time::Duration;

use contracts::safeguard::Safeguard;
use launcher::servers::{GATEWAY, SECOND_GATEWAY};
use tokio::time::{Instant, sleep};

use super::second_revision::{self, deploy};
use super::steady_keys::check_steady;
use crate::attacker::{Attacker, ReplayOutcome};
use crate::client;
use crate::drill_env::{DrillEnv, EnvOptions};
use crate::drill_run::{Drill, DrillFuture, DrillRun};
use crate::gateway_database::GatewayDatabase;
use crate::kill_points::{KeyRequest, KillPoint};
use crate::lock_audit::{self, LockAuditJobs};
use crate::lock_fixture::LockFixture;

/// Age at which a missing audit row is a gap: five minutes in production.
const GRACE_S: u32 = 8;
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
const WATCH_DURATION: Duration = Duration::from_secs(2);
const REQUEST_PAUSE: Duration = Duration::from_millis(50);
/// Number of the instance that is replaced.
const SECOND: usize = 1;

#[derive(Debug, Clone, Copy)]
enum Incident {
    EdgeRule,
    LockFreeze,
    Revision,
}

pub(super) struct MitigationTime;

impl Drill for MitigationTime {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        second_revision::environment(options)
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    lock_audit::shorten(&mut run.env, &[GATEWAY, SECOND_GATEWAY], GRACE_S).await?;
    let lock = LockFixture::find(&run.env).await?;
    check_steady(run, &lock).await;
    let incidents = [Incident::EdgeRule, Incident::LockFreeze, Incident::Revision];
    let mut times = Vec::new();
    for incident in incidents {
        let (name, is_noticed) = (incident.name(), incident.is_noticed(&run.env, &lock).await?);
        run.steady(format!("{name}: users notice nothing before"), !is_noticed, is_noticed);
        let fault = incident.begin(run, &lock).await?;
        run.inject(name);
        let is_noticed = async |env: &DrillEnv| incident.is_noticed(env, &lock).await;
        let noticed = run.env.wait_until(name, NOTICED_WITHIN, is_noticed).await;
        let took = run.user_within(format!("{name}: users notice it"), noticed);
        run.detected_after(took);
        let length = run.watch_length(&[incident.alert()], WATCH_DURATION)?;
        let watching = async {
            while fault.elapsed() < length && !incident.is_alerted(&run.env).await {
                run.env.dashboard().await;
                sleep(REQUEST_PAUSE).await;
            }
        };
        run.raised_during(&[incident.alert()], fault, watching).await?;

        let alerted = Instant::now();
        incident.mitigate(&run.env).await?;
        let is_over = async |env: &DrillEnv| Ok(!incident.is_noticed(env, &lock).await?);
        let over = run.env.wait_until(name, run.objective, is_over).await;
        let over = over.map(|_| alerted.elapsed());
        times.extend(over.as_ref().ok());
        run.recover_within(format!("{name}: mitigated"), over);
    }
    let mean = times.iter().sum::<Duration>() / times.len().max(1) as u32;
    let held = times.len() == incidents.len() && mean < run.objective;
    run.recover("the mean time to mitigate is within the objective", held, format!("{mean:?}"));
    Ok(())
}

impl Incident {
    fn name(self) -> &'static str {
        match self {
            Self::EdgeRule => "an edge rule blocks a desktop",
            Self::LockFreeze => "a killed gateway leaves a gap in the lock audit",
            Self::Revision => "a revision accepts replays",
        }
    }

    fn alert(self) -> &'static str {
        match self {
            Self::EdgeRule => "BffEdgeBlocksSpike",
            Self::LockFreeze => "BffLockProxyFrozen",
            Self::Revision => "BffDpopReplayAccepted",
        }
    }

    /// Whether its alert fires, in a full run.
    async fn is_alerted(self, env: &DrillEnv) -> bool {
        let Ok(alerts) = env.alerts() else { return false };
        alerts.state(self.alert()).await.is_ok_and(|state| state.is_firing())
    }

    /// Returns when it began.
    async fn begin(self, run: &mut DrillRun, lock: &LockFixture) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        match self {
            Self::EdgeRule => {
                let device = &run.env.desktop.operator().device_id;
                run.env.write_edge_rules(&format!(
                    "[[deny]]\nname = \"drill\"\nmode = \"enforce\"\ndevices = [\"{device}\"]\n"
                ))?;
                Ok(begun)
            }
            Self::LockFreeze => {
                let request = KeyRequest { env: &run.env, lock, key: &client::new_key() };
                request.kill_at(KillPoint::AfterEffect).await?;
                run.env.stack.restart(GATEWAY).await?;
                run.env.reconnect()?;
                // Until then the row may still come.
                let database = GatewayDatabase::connect(&run.env).await?;
                let is_gap = async |_: &DrillEnv| {
                    Ok(lock_audit::open_actions(&database, GRACE_S).await? > 0)
                };
                run.env.wait_until("a gap", NOTICED_WITHIN, is_gap).await?;
                Ok(Instant::now())
            }
            Self::Revision => deploy(&run.env, &[Safeguard::Replay]).await.map(|()| begun),
        }
    }

    /// Whether users are affected, or an attacker has success.
    async fn is_noticed(self, env: &DrillEnv, lock: &LockFixture) -> anyhow::Result<bool> {
        match self {
            Self::EdgeRule => Ok(env.dashboard().await.status == Some(403)),
            Self::LockFreeze => {
                let answer = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
                Ok(answer.status == 503)
            }
            Self::Revision => {
                let attacker = Attacker::with(env, 1)?;
                let stolen = attacker.steal_proof().await?;
                attacker.send(SECOND, &stolen).await;
                Ok(attacker.send(SECOND, &stolen).await == ReplayOutcome::Accepted)
            }
        }
    }

    /// What the runbook of the alert says.
    async fn mitigate(self, env: &DrillEnv) -> anyhow::Result<()> {
        match self {
            Self::EdgeRule => env.write_edge_rules(""),
            Self::LockFreeze => {
                let jobs = LockAuditJobs::new(env)?;
                jobs.reconcile().await?;
                let request = jobs.request_unfreeze().await?;
                let (status, body) = jobs.approve(&request, "operator-b").await?;
                anyhow::ensure!(status == 200, "the freeze was not ended: {status} {body}");
                Ok(())
            }
            Self::Revision => deploy(env, &[]).await,
        }
    }
}
