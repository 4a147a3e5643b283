//! Who notices a failure: the back office of one tenant, that of another, the booking surface and the
//! consumer surface. Each case makes one failure and compares all four with the blast radius matrix.
//!
//! `cases` lists the cases, `security` has those of a revision with a defect, `surfaces` calls services and
//! stand-ins as the other gateways would.

use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use launcher::data_dir::DataDir;
use launcher::desktop::{Call, Desktop};
use launcher::tls::Tls;
use tokio::time::Instant;

use crate::client;
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::lock_fixture::LockFixture;
use crate::observations::Step;
use crate::sync_client::handshake;
use crate::timed_call;

pub(super) mod cases;
pub(super) mod security;
mod surfaces;

use surfaces::Surfaces;

const SETTLE_WITHIN: Duration = Duration::from_secs(10);
const CERTIFICATE_METRIC: &str = "bff_backoffice_tls_certificate_expiry_seconds";
/// Validity of a renewed certificate, in days.
const RENEWED_DAYS: i64 = 90;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Both Redis servers are paused.
    Redis,
    /// The gateway's database refuses connections.
    Database,
    /// The stand-in of this upstream refuses connections.
    Upstream(&'static str),
    Certificate,
    /// An edge rule blocks the first tenant's device.
    EdgeRule,
}

/// What a desktop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Dashboard,
    /// Issues a room key.
    Change,
    Arrivals,
    Renewal,
    Handshake,
}

/// What a desktop gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Works,
    /// A problem with this status, or with one of these.
    Refused(&'static [u16]),
    NoConnection,
}

/// Whether another surface notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notices {
    Nothing,
    /// What it needs of this upstream fails.
    Upstream(&'static str),
}

/// One row of the matrix.
pub(in crate::drills) struct BlastRadius {
    failure: Failure,
    /// The back office of the tenant that the failure is about.
    own: &'static [(Action, Got)],
    /// That of another tenant.
    other: &'static [(Action, Got)],
    booking: Notices,
    consumer: Notices,
}

impl Drill for BlastRadius {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(self, run))
    }
}

async fn run_drill(case: &BlastRadius, run: &mut DrillRun) -> anyhow::Result<()> {
    run.env.desktop.forget_tokens().await?;
    let whole = run.until_whole().await;
    run.steady_within("every widget is ok", whole);
    let (lock, surfaces) = (LockFixture::find(&run.env).await?, Surfaces::open(&run.env)?);
    let mut other = OtherTenant::find(&run.env)?;
    let is_whole = async |env: &DrillEnv| Ok(other.dashboard(env).await.is_whole());
    let whole = run.env.wait_until("a whole dashboard", run.objective, is_whole).await;
    run.steady_within("every widget of the other tenant is ok", whole);
    surfaces.check(run, Step::Steady, Notices::Nothing, Notices::Nothing).await?;

    case.failure.begin(run).await?;
    run.inject(case.failure.name());
    if case.failure == Failure::Certificate {
        // Connections of before the renewal go on.
        let is_served = async |env: &DrillEnv| {
            let ends = env.metric(CERTIFICATE_METRIC, &[]).await?;
            Ok(ends < Clock::system().unix_seconds() as f64)
        };
        run.env.wait_until("the expired certificate", SETTLE_WITHIN, is_served).await?;
        run.env.reconnect()?;
        other = OtherTenant::find(&run.env)?;
    }
    for (action, got) in case.own {
        let what = format!("back office: {} {}", action.name(), got.name());
        let found = run.env.wait_until(&what, SETTLE_WITHIN, async |env: &DrillEnv| {
            Ok(got.matches(action.perform(&env.desktop, Some(&lock)).await))
        });
        let found = found.await;
        let took = run.user_within(what, found);
        run.detected_after(took);
    }
    for (action, got) in case.other {
        let what = format!("another tenant's back office: {} {}", action.name(), got.name());
        let found = run.env.wait_until(&what, SETTLE_WITHIN, async |env: &DrillEnv| {
            Ok(got.matches(action.perform_at(env, &other).await))
        });
        let found = found.await;
        run.user_within(what, found);
    }
    surfaces.check(run, Step::User, case.booking, case.consumer).await?;

    let begun = Instant::now();
    case.failure.end(run).await?;
    let back = run.env.until_whole_again(run.objective).await.map(|_| begun.elapsed());
    run.recover_within("every widget is ok again", back);
    surfaces.check(run, Step::Recovery, Notices::Nothing, Notices::Nothing).await
}

/// A general manager of another tenant.
struct OtherTenant {
    desktop: Desktop,
    property: String,
}

impl OtherTenant {
    fn find(env: &DrillEnv) -> anyhow::Result<Self> {
        let (info, own) = (env.stack.info(), &env.desktop.operator().tenant_id);
        let mut others = info.operators.iter().filter(|operator| operator.tenant_id != *own);
        let found = others.find(|operator| operator.roles == ["property.gm"]);
        let found = anyhow::Context::context(found, "there is only one tenant")?;
        let folder = env.folder.join("desktop");
        let desktop = Desktop::open(info, &found.username, &folder, Clock::system())?;
        let property = found.property_ids.first();
        let property = anyhow::Context::context(property, "the manager has no property")?;
        Ok(Self { desktop, property: property.clone() })
    }

    async fn dashboard(&self, env: &DrillEnv) -> DashboardView {
        env.dashboard_at(&self.desktop, &self.property).await
    }
}

impl Failure {
    fn name(self) -> String {
        match self {
            Self::Redis => "both Redis servers do not respond".to_owned(),
            Self::Database => "the gateway's database refuses connections".to_owned(),
            Self::Upstream(name) => format!("{name} refuses connections"),
            Self::Certificate => "the gateway's certificate has expired".to_owned(),
            Self::EdgeRule => "an edge rule blocks a device by mistake".to_owned(),
        }
    }

    async fn begin(self, run: &DrillRun) -> anyhow::Result<()> {
        let env = &run.env;
        match self {
            Self::Redis => {
                for name in ["redis-session", "redis-cache"] {
                    env.stack.process(name)?.pause().await?;
                }
                Ok(())
            }
            Self::Database => env.set_database_available("bff", false).await,
            Self::Upstream(name) => env.add_fault(&stand_in_fault(name, "refuse")).await,
            Self::Certificate => renew(env, -1),
            Self::EdgeRule => {
                let device = &env.desktop.operator().device_id;
                env.write_edge_rules(&format!(
                    "[[deny]]\nname = \"drill\"\nmode = \"enforce\"\ndevices = [\"{device}\"]\n"
                ))
            }
        }
    }

    async fn end(self, run: &DrillRun) -> anyhow::Result<()> {
        let env = &run.env;
        match self {
            Self::Redis => {
                for name in ["redis-session", "redis-cache"] {
                    env.stack.process(name)?.resume().await?;
                }
                Ok(())
            }
            Self::Database => env.set_database_available("bff", true).await,
            Self::Upstream(_) => env.clear_faults().await,
            Self::Certificate => renew(env, RENEWED_DAYS),
            Self::EdgeRule => env.write_edge_rules(""),
        }
    }
}

fn renew(env: &DrillEnv, days: i64) -> anyhow::Result<()> {
    Tls::renew(&DataDir::open(&env.folder)?, &Clock::system(), days).map(drop)
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Dashboard => "a dashboard",
            Self::Change => "a change",
            Self::Arrivals => "the arrivals of an uncached day",
            Self::Renewal => "a token renewal",
            Self::Handshake => "a reconnect",
        }
    }

    /// Returns the response's status; `None` without a response.
    async fn perform(self, desktop: &Desktop, lock: Option<&LockFixture>) -> Option<u16> {
        let property = desktop.operator().property_ids.first()?;
        let call = match self {
            Self::Dashboard => Call::get(format!("/dashboard?propertyId={property}")),
            Self::Change => lock?.issue(&client::new_key()).ok()?,
            Self::Arrivals => {
                let day = 1 + Entropy::system().u128() % 28;
                let year = 2100 + Entropy::system().u128() % 7000;
                Call::get(format!("/arrivals?propertyId={property}&date={year}-01-{day:02}"))
            }
            Self::Handshake => handshake(None),
            Self::Renewal => return desktop.renew().await.ok().map(|(status, _)| status),
        };
        timed_call::send(desktop, &call).await.ok().map(|answer| answer.status)
    }

    async fn perform_at(self, env: &DrillEnv, other: &OtherTenant) -> Option<u16> {
        let lock = match self {
            Self::Change => Some(LockFixture::find_at(env, &other.property).await.ok()?),
            _ => None,
        };
        self.perform(&other.desktop, lock.as_ref()).await
    }
}

impl Got {
    fn name(self) -> String {
        match self {
            Self::Works => "works".to_owned(),
            Self::Refused(statuses) => {
                let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
                format!("is {}", statuses.join(" or "))
            }
            Self::NoConnection => "gets no connection".to_owned(),
        }
    }

    fn matches(self, status: Option<u16>) -> bool {
        match self {
            Self::Works => status.is_some_and(|status| status < 300),
            Self::Refused(statuses) => status.is_some_and(|status| statuses.contains(&status)),
            Self::NoConnection => status.is_none(),
        }
    }
}
