//! One instance is replaced by a revision with a security defect: what it costs the tenant, other tenants
//! and the other surfaces. The intact instance protects every tenant as before.

use contracts::clock::Clock;
use contracts::safeguard::Safeguard;
use launcher::desktop::{Call, Desktop};
use reqwest::Method;
use tokio::time::Instant;

use super::surfaces::Surfaces;
use super::{Action, Got, Notices, OtherTenant};
use crate::client::{self, Refundable};
use crate::drill_env::{DrillEnv, EnvOptions};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::drills::second_revision::{self, deploy, second_gateway};
use crate::lock_fixture::LockFixture;
use crate::observations::Step;

/// What the revision lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drills) enum Defect {
    /// It accepts used proofs.
    Replays,
    /// Its cache keys lack the tenant.
    CacheKeys,
}

impl Drill for Defect {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        second_revision::environment(options)
    }

    fn leaves(&self) -> EnvAfter {
        EnvAfter::Restarted(&["bff-2"])
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(*self, run))
    }
}

/// A general manager at both instances, and a folio of their hotel.
struct Tenant {
    at_intact: Desktop,
    at_defect: Desktop,
    folio: String,
}

impl Tenant {
    async fn open(env: &DrillEnv, desktop: &Desktop, property: &str) -> anyhow::Result<Self> {
        let (username, folder) = (&desktop.operator().username, env.folder.join("desktop"));
        let at_intact = Desktop::open(env.stack.info(), username, &folder, Clock::system())?;
        let at_defect = second_revision::desktop(env, username)?;
        let folio = Refundable::find_at(env, property).await?.folio;
        Ok(Self { at_intact, at_defect, folio })
    }
}

/// The tenant that the row is about, and another one.
struct Tenants {
    own: Tenant,
    other: Tenant,
}

async fn run_drill(defect: Defect, run: &mut DrillRun) -> anyhow::Result<()> {
    run.env.desktop.forget_tokens().await?;
    let whole = run.until_whole().await;
    run.steady_within("every widget is ok", whole);
    let (other, surfaces) = (OtherTenant::find(&run.env)?, Surfaces::open(&run.env)?);
    let is_whole = async |env: &DrillEnv| Ok(other.dashboard(env).await.is_whole());
    let whole = run.env.wait_until("a whole dashboard", run.objective, is_whole).await;
    run.steady_within("every widget of the other tenant is ok", whole);
    surfaces.check(run, Step::Steady, Notices::Nothing, Notices::Nothing).await?;
    let tenants = Tenants {
        own: Tenant::open(&run.env, &run.env.desktop, &run.env.property).await?,
        other: Tenant::open(&run.env, &other.desktop, &other.property).await?,
    };

    deploy(&run.env, &[defect.safeguard()]).await?;
    run.inject(defect.sentence());
    match defect {
        Defect::Replays => tenants.check_replays(run).await?,
        Defect::CacheKeys => tenants.check_cache(run).await?,
    }
    check_work(run, &other).await?;
    surfaces.check(run, Step::User, Notices::Nothing, Notices::Nothing).await?;

    let begun = Instant::now();
    deploy(&run.env, &[]).await?;
    let is_safe = async |_: &DrillEnv| tenants.is_safe(defect).await;
    let safe = run.env.wait_until("safety", run.objective, is_safe).await;
    let what = "after the rollback no tenant is at risk at any instance";
    run.recover_within(what, safe.map(|_| begun.elapsed()));
    surfaces.check(run, Step::Recovery, Notices::Nothing, Notices::Nothing).await
}

/// Checks that operators of both tenants can work, so that no operator sees the defect.
async fn check_work(run: &DrillRun, other: &OtherTenant) -> anyhow::Result<()> {
    let lock = LockFixture::find(&run.env).await?;
    for action in [Action::Dashboard, Action::Change] {
        let status = action.perform(&run.env.desktop, Some(&lock)).await;
        let what = format!("back office: {} works", action.name());
        run.user(what, Got::Works.matches(status), format!("{status:?}"));
        let status = action.perform_at(&run.env, other).await;
        let what = format!("another tenant's back office: {} works", action.name());
        run.user(what, Got::Works.matches(status), format!("{status:?}"));
    }
    Ok(())
}

impl Defect {
    fn safeguard(self) -> Safeguard {
        match self {
            Self::Replays => Safeguard::Replay,
            Self::CacheKeys => Safeguard::TenantKeys,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Replays => "one instance is replaced by a revision that accepts replays",
            Self::CacheKeys => {
                "one instance is replaced by a revision whose cache keys lack the tenant"
            }
        }
    }
}

impl Tenants {
    /// Every tenant whose proof is stolen is at risk, at the instance with the defect only.
    async fn check_replays(&self, run: &DrillRun) -> anyhow::Result<()> {
        for (whose, tenant) in [("this tenant's", &self.own), ("another tenant's", &self.other)] {
            let accepted = replay(&tenant.at_defect).await?;
            let what = format!("a replay of {whose} proof is accepted");
            run.user(what, accepted == 200, accepted);
            let refused = replay(&tenant.at_intact).await?;
            let what = format!("the intact instance refuses a replay of {whose} proof");
            run.automatic(what, refused == 401, refused);
        }
        let bad = second_gateway(&run.env)?;
        let is_unready = async |env: &DrillEnv| Ok(env.readiness(&bad).await?.0 == 503);
        let unready = run.env.wait_until("readiness", run.objective, is_unready).await;
        run.automatic_within("the instance that accepts them gets no tenant's traffic", unready);
        Ok(())
    }

    /// Each tenant's data is found by the other's requests, at the instance with the defect only. There only
    /// the check of the property withholds it.
    async fn check_cache(&self, run: &DrillRun) -> anyhow::Result<()> {
        let directions = [
            ("this tenant's", "another tenant's", &self.own, &self.other),
            ("another tenant's", "this tenant's", &self.other, &self.own),
        ];
        for (whose, by, owner, reader) in directions {
            let found = owner.read_as(&owner.at_defect, &reader.at_defect).await?;
            run.user(format!("{whose} folio is found by {by} request"), found == 403, found);
            let found = owner.read_as(&owner.at_intact, &reader.at_intact).await?;
            let what = format!("the intact instance finds {whose} folio for its tenant only");
            run.automatic(what, found == 404, found);
        }
        Ok(())
    }

    async fn is_safe(&self, defect: Defect) -> anyhow::Result<bool> {
        for (owner, reader) in [(&self.own, &self.other), (&self.other, &self.own)] {
            let is_safe = match defect {
                Defect::Replays => replay(&owner.at_defect).await? == 401,
                Defect::CacheKeys => {
                    owner.read_as(&owner.at_defect, &reader.at_defect).await? == 404
                }
            };
            if !is_safe {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Tenant {
    /// Reads the folio as its hotel does, so that it is cached, and then as another one. Returns the status
    /// that the other gets.
    async fn read_as(&self, owner: &Desktop, reader: &Desktop) -> anyhow::Result<u16> {
        let call = Call::get(format!("/folios/{}", self.folio));
        let owned = client::send(owner, &call).await?;
        anyhow::ensure!(owned.status == 200, "its own hotel cannot read the folio: {owned}");
        Ok(client::send(reader, &call).await?.status)
    }
}

/// Sends a request twice with the same proof. Returns the second status.
async fn replay(desktop: &Desktop) -> anyhow::Result<u16> {
    let call = Call::get("/session");
    let (token, url) = (desktop.access_token().await?, desktop.url(&call.path)?);
    let proof = desktop.proof(&Method::GET, &url, &token).sign(desktop.key())?;
    let first = desktop.request(&call, &token, &proof)?.send().await?.status();
    anyhow::ensure!(first == 200, "the first use of a proof is {first}");
    Ok(desktop.request(&call, &token, &proof)?.send().await?.status().as_u16())
}
