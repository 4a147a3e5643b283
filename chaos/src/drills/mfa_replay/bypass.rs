//! An attestation permits two refunds: first because the constraint that forbids it is lost, then
//! because a revision does not ask. Either way the second use is counted, and the routes that require a
//! second factor stop on every instance until the cause is removed and two people approve.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use contracts::safeguard::Safeguard;
use launcher::desktop::Desktop;
use launcher::stack_info::Operator;
use tokio::time::Instant;

use super::super::second_revision::{self, deploy};
use crate::client::{self, ApiResponse, Arrival, Refundable};
use crate::drill_env::DrillEnv;
use crate::drill_run::DrillRun;
use crate::timed_call::{self, REFUND_SCOPE};
use crate::unfreeze;

const REPLAY_SUCCESS_METRIC: &str = "bff_backoffice_mfa_attestation_replay_success_total";
const ALERT: &str = "BffMfaReplayBypass";
const HALTED: &str = "MELMASTOON.BFF.MUTATIONS_HALTED";
/// Each instance checks every five seconds.
const DETECT_WITHIN: Duration = Duration::from_secs(15);
const DATABASE: &str = "bff";
const DROP_CONSTRAINT_SQL: &str =
    "ALTER TABLE bff.mfa_attestation_uses DROP CONSTRAINT an_attestation_is_used_once";
/// Statements from the runbook: keeps the second uses as evidence, and restores the constraint.
const RESTORE_CONSTRAINT_SQL: &str = "
    CREATE SCHEMA IF NOT EXISTS evidence;
    CREATE TABLE evidence.mfa_second_uses AS
        SELECT later.* FROM bff.mfa_attestation_uses later JOIN bff.mfa_attestation_uses first
            USING (tenant_id, attestation_id) WHERE later.used_at > first.used_at;
    ALTER TABLE bff.mfa_attestation_uses DISABLE TRIGGER append_only;
    DELETE FROM bff.mfa_attestation_uses u USING evidence.mfa_second_uses e
        WHERE (u.tenant_id, u.attestation_id, u.used_by) = (e.tenant_id, e.attestation_id, e.used_by);
    ALTER TABLE bff.mfa_attestation_uses ENABLE TRIGGER append_only;
    ALTER TABLE bff.mfa_attestation_uses
        ADD CONSTRAINT an_attestation_is_used_once PRIMARY KEY (tenant_id, attestation_id)";

/// A person who may refund. Each cause has one of its own, because iam accepts few codes a minute of
/// one person.
struct Cashier<'a> {
    desktop: Desktop,
    folio: &'a Refundable,
}

impl<'a> Cashier<'a> {
    fn with_role(role: &str, folio: &'a Refundable, env: &DrillEnv) -> anyhow::Result<Self> {
        let (info, own) = (env.stack.info(), env.desktop.operator());
        let is_it = |operator: &&Operator| {
            operator.tenant_id == own.tenant_id
                && operator.roles == [role]
                && operator.property_ids.contains(&env.property)
        };
        let found = info.operators.iter().find(is_it);
        let found = found.with_context(|| format!("nobody at the property is {role}"))?;
        let folder = env.folder.join("desktop");
        let desktop = Desktop::open(info, &found.username, &folder, Clock::system())?;
        Ok(Self { desktop, folio })
    }

    async fn attestation(&self) -> anyhow::Result<String> {
        timed_call::obtain_attestation_at(&self.desktop, REFUND_SCOPE).await
    }

    /// Refunds with a new idempotency key.
    async fn refund(&self, attestation: &str) -> anyhow::Result<ApiResponse> {
        self.refund_at(&self.desktop, attestation).await
    }

    async fn refund_at(&self, desktop: &Desktop, attestation: &str) -> anyhow::Result<ApiResponse> {
        let call = self.folio.refund(&client::new_key(), Some(attestation))?;
        client::send(desktop, &call).await
    }
}

pub(super) async fn drill(run: &DrillRun, folio: &Refundable) -> anyhow::Result<()> {
    let cashier = Cashier::with_role("front_desk.manager", folio, &run.env)?;
    let fresh =
        run.raised_during(&[ALERT], Instant::now(), lose_constraint(run, &cashier)).await??;
    run.env.run_sql(DATABASE, RESTORE_CONSTRAINT_SQL).await?;
    resume(run, &cashier, &fresh).await?;

    let cashier = Cashier::with_role("tenant.admin", folio, &run.env)?;
    let fresh = bypass_in_code(run, &cashier).await?;
    deploy(&run.env, &[]).await?;
    resume(run, &cashier, &fresh).await
}

/// Returns an unused attestation.
async fn lose_constraint(run: &DrillRun, cashier: &Cashier<'_>) -> anyhow::Result<String> {
    let counted = second_uses(&run.env).await?;
    run.env.run_sql(DATABASE, DROP_CONSTRAINT_SQL).await?;
    run.inject("the constraint that an attestation is used once is dropped");
    use_twice(run, cashier, &cashier.desktop).await?;
    check_halted(run, cashier, counted).await
}

/// Returns an unused attestation.
async fn bypass_in_code(run: &DrillRun, cashier: &Cashier<'_>) -> anyhow::Result<String> {
    let counted = second_uses(&run.env).await?;
    deploy(&run.env, &[Safeguard::SingleUseAttestation]).await?;
    run.inject("one instance is replaced by a revision that does not ask whether one was used");
    let username = &cashier.desktop.operator().username;
    let at_second = second_revision::desktop(&run.env, username)?;
    use_twice(run, cashier, &at_second).await?;
    check_halted(run, cashier, counted).await
}

async fn use_twice(run: &DrillRun, cashier: &Cashier<'_>, at: &Desktop) -> anyhow::Result<()> {
    let (attestation, before) =
        (cashier.attestation().await?, cashier.folio.paid_back(&run.env).await?);
    let first = cashier.refund_at(at, &attestation).await?;
    let second = cashier.refund_at(at, &attestation).await?;
    let held = first.status == 201 && second.status == 201;
    let what = "one attestation permits two refunds";
    run.user(what, held, format!("{first}, {second}"));
    let paid = cashier.folio.paid_back(&run.env).await? - before;
    run.user("and billing pays both", paid == 2, paid);
    Ok(())
}

/// Checks that the second use is counted and stops the routes at both instances, and nothing else.
/// Returns an attestation that was refused, and is unused.
async fn check_halted(
    run: &DrillRun,
    cashier: &Cashier<'_>,
    before: f64,
) -> anyhow::Result<String> {
    let is_counted = async |env: &DrillEnv| Ok(second_uses(env).await? > before);
    let counted = run.env.wait_until("the counter", DETECT_WITHIN, is_counted).await;
    let took = run.detect_within(format!("{REPLAY_SUCCESS_METRIC} counts it"), counted);
    run.detected_after(took);
    let fresh = cashier.attestation().await?;
    let username = &cashier.desktop.operator().username;
    for at in [&cashier.desktop, &second_revision::desktop(&run.env, username)?] {
        let answer = cashier.refund_at(at, &fresh).await?;
        let held = answer.status == 503 && answer.code() == HALTED && answer.retry_after;
        let what = format!("a refund with a fresh second factor is 503 {HALTED} with Retry-After");
        run.automatic(what, held, &answer);
    }
    let whole = run.until_whole().await;
    run.user_within("everything else works: every widget is ok", whole);
    let check_in = Arrival::all(&run.env).await?[0].check_in(&client::new_key())?;
    let answer = client::send(&run.env.desktop, &check_in).await?;
    run.user("and a guest can be checked in", answer.status == 200, &answer);
    Ok(fresh)
}

/// Two people unfreeze the routes; then the attestation that was refused meanwhile permits a refund, and
/// no second one.
async fn resume(run: &DrillRun, cashier: &Cashier<'_>, fresh: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    run.act_by_runbook("bff-backoffice/mfa-replay-bypass").await?;
    let is_frozen = unfreeze::is_frozen(&run.env).await?;
    run.recover("two people have unfrozen the routes", !is_frozen, is_frozen);
    let answer = cashier.refund(fresh).await?;
    let took = begun.elapsed();
    let held = answer.status == 201 && took < run.objective;
    run.recover("the attestation that was refused meanwhile permits a refund", held, &answer);
    run.recovered_after(Some(took));
    let answer = cashier.refund(fresh).await?;
    run.recover("and no second one", answer.status == 401, &answer);
    Ok(())
}

async fn second_uses(env: &DrillEnv) -> anyhow::Result<f64> {
    env.metric(REPLAY_SUCCESS_METRIC, &[]).await
}
