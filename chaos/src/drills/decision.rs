//! The failure decision tree, one case per row: during one failure, requests get the response that the
//! tree requires; after it, they get normal ones.
//!
//! `cases` lists the cases, `probe` sends the requests. All cases share one environment.

use std::time::Duration;

use contracts::safeguard::Safeguard;
use jiff::Timestamp;
use launcher::edge_rules::FILE_NAME;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client::ApiResponse;
use crate::drill_env::{DeviceUse, DrillEnv, not_ok};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::{events, unfreeze};

pub(super) mod cases;
mod probe;

use probe::{Probe, ProbeContext};

const STEADY_WITHIN: Duration = Duration::from_secs(5);
/// Time for a fault to take effect.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(3);
/// Age of stale data from which a wrong age differs from the true one by more than a dashboard takes.
const TELLING_AGE: Duration = Duration::from_secs(2);
const COMPOSED_WITHIN: Duration = Duration::from_millis(700);
const AGED_WITHIN: Duration = Duration::from_secs(6);
/// Each instance looks for second uses every five seconds.
const FROZEN_WITHIN: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const ERRORS_METRIC: &str = "bff_backoffice_errors_total";

/// One row of the tree.
#[derive(Debug)]
pub(super) struct DecisionCase {
    failure: Failure,
    /// Probes during the failure, in order.
    probes: &'static [(Probe, Expected)],
    signal: Signal,
    /// Alert that must fire in a full run.
    alert: Option<&'static str>,
    /// Probes after the failure.
    afterwards: &'static [(Probe, Expected)],
}

/// The failure during which the probes are sent.
#[derive(Debug, Clone, Copy)]
enum Failure {
    /// The request itself is wrong.
    Nothing,
    /// The request itself uses an attestation again. If that succeeds, it freezes the routes.
    SecondUse,
    EdgeRule,
    Suspension,
    SessionTier,
    Postgres,
    /// Stand-in faults, applied in order: upstream, kind, number of requests.
    Upstream(&'static [(&'static str, &'static str, Option<u32>)]),
    /// Stand-in faults of one route of reservation, in order, each for one request.
    Reservation {
        route: &'static str,
        kinds: &'static [&'static str],
    },
}

/// Expected response.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Problem(u16, &'static str),
    /// A problem with `Retry-After`.
    Later(u16, &'static str),
    Status(u16),
    /// The stored response of the first request.
    Replayed(u16),
    /// A whole dashboard.
    Whole,
    /// A dashboard in which only this widget is not ok, but unavailable.
    Without(&'static str),
    /// A dashboard in which only this widget is not ok, but shows the last data with its age.
    Stale(&'static str),
    /// Number of executed effects.
    Effects(u64),
    /// Phases in the lock audit log.
    Rows(&'static str),
}

/// Counter that shows the failure.
#[derive(Debug, Clone, Copy)]
enum Signal {
    /// The problem code in `bff_backoffice_errors_total`.
    Code(&'static str),
    Series(&'static str, &'static [(&'static str, &'static str)]),
}

impl Expected {
    fn is_met(self, answer: &ApiResponse) -> bool {
        let widgets = || answer.body["widgets"].as_object().is_some_and(|all| !all.is_empty());
        match self {
            Self::Problem(status, code) => answer.status == status && answer.code() == code,
            Self::Later(status, code) => {
                answer.retry_after && Self::Problem(status, code).is_met(answer)
            }
            Self::Status(status) => answer.status == status,
            Self::Replayed(status) => answer.replayed && answer.status == status,
            Self::Whole => answer.status == 200 && answer.body["partial"] == false && widgets(),
            Self::Without(widget) => {
                is_partial_by(widget, answer)
                    && answer.body["widgets"][widget]["status"] == "unavailable"
            }
            Self::Stale(widget) => is_partial_by(widget, answer) && is_stale(widget, &answer.body),
            Self::Effects(count) => answer.body == count,
            Self::Rows(phases) => answer.body == phases,
        }
    }

    fn sentence(self, probe: Probe) -> String {
        let probe = probe.sentence();
        match self {
            Self::Problem(status, code) => format!("{probe}: {status} {code}"),
            Self::Later(status, code) => format!("{probe}: {status} {code} with Retry-After"),
            Self::Status(status) => format!("{probe}: {status}"),
            Self::Replayed(status) => format!("{probe}: {status} as stored"),
            Self::Whole => format!("{probe}: 200, whole"),
            Self::Without(widget) => format!("{probe}: 200, partial, only {widget} is missing"),
            Self::Stale(widget) => {
                format!("{probe}: 200, partial, only {widget} is stale, with its age and last data")
            }
            Self::Effects(count) => format!("{probe}: {count}"),
            Self::Rows(phases) => format!("{probe}: {phases}"),
        }
    }
}

/// Whether only this widget makes the dashboard partial.
fn is_partial_by(widget: &str, answer: &ApiResponse) -> bool {
    answer.status == 200
        && answer.body["partial"] == true
        && not_ok(&answer.body).into_iter().eq([widget.to_owned()])
}

/// Whether a widget shows stale data with its true age, which must be old enough to tell.
fn is_stale(name: &str, dashboard: &Value) -> bool {
    let widget = &dashboard["widgets"][name];
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    let (Some(as_of), Some(at)) = (time(&widget["asOf"]), time(&dashboard["generatedAt"])) else {
        return false;
    };
    let since = Duration::try_from(at.duration_since(as_of)).unwrap_or_default();
    let age = widget["ageMs"].as_u64().map(Duration::from_millis).unwrap_or_default();
    widget["status"] == "stale"
        && since >= TELLING_AGE
        && age.abs_diff(since) <= COMPOSED_WITHIN
        && !widget["data"].is_null()
}

impl Signal {
    async fn counted(self, env: &DrillEnv) -> anyhow::Result<f64> {
        match self {
            Self::Code(code) => env.counter(ERRORS_METRIC, &[("error_code", code)]).await,
            Self::Series(name, labels) => env.counter(name, labels).await,
        }
    }

    fn sentence(self) -> String {
        match self {
            Self::Code(code) => format!("{ERRORS_METRIC} counts {code}"),
            Self::Series(name, _) => format!("{name} counts it"),
        }
    }
}

impl Failure {
    fn sentence(self) -> &'static str {
        match self {
            Self::Nothing | Self::SecondUse => "the request itself",
            Self::EdgeRule => "an edge rule blocks every desktop",
            Self::Suspension => "tenant-service suspends the tenant",
            Self::SessionTier => "the session tier is killed with -9",
            Self::Postgres => "the gateway's database takes no connections",
            Self::Upstream(_) => "an upstream fails",
            Self::Reservation { .. } => {
                "reservation fails a change, then the gateway's repeat of it"
            }
        }
    }

    /// Whether it takes a moment to take effect.
    fn is_slow(self) -> bool {
        !matches!(
            self,
            Self::Nothing | Self::SecondUse | Self::Upstream(_) | Self::Reservation { .. }
        )
    }

    async fn inject(self, env: &DrillEnv) -> anyhow::Result<()> {
        match self {
            Self::Nothing | Self::SecondUse => Ok(()),
            Self::EdgeRule => env.write_edge_rules(
                "[[deny]]\nname = \"drill\"\nmode = \"enforce\"\naddresses = [\"127.0.0.0/8\", \"::1\"]\n",
            ),
            Self::Suspension => state(env, "suspended").await,
            Self::SessionTier => env.stack.process("redis-session")?.kill().await,
            Self::Postgres => env.set_database_available("bff", false).await,
            Self::Reservation { route, kinds } => {
                for kind in kinds {
                    let fault = json!({"upstream": "reservation", "route": route, "kind": kind, "times": 1});
                    env.add_fault(&fault).await?;
                }
                Ok(())
            }
            Self::Upstream(faults) => {
                for (upstream, kind, times) in faults {
                    events::invalidate(env, upstream).await?;
                    let mut fault = json!({"upstream": upstream, "kind": kind});
                    if let Some(times) = times {
                        fault["times"] = (*times).into();
                    }
                    env.add_fault(&fault).await?;
                }
                Ok(())
            }
        }
    }

    async fn undo(self, env: &mut DrillEnv) -> anyhow::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::SecondUse => unfreeze_after_second_use(env).await,
            Self::EdgeRule => Ok(std::fs::write(env.folder.join(FILE_NAME), "")?),
            Self::Suspension => state(env, "reactivated").await,
            Self::SessionTier => env.stack.restart("redis-session").await.map(drop),
            Self::Postgres => env.set_database_available("bff", true).await,
            Self::Upstream(_) | Self::Reservation { .. } => env.clear_faults().await,
        }
    }
}

/// Without the safeguard the second use succeeds, is noticed within seconds, and freezes the routes, which
/// the next drill needs.
async fn unfreeze_after_second_use(env: &DrillEnv) -> anyhow::Result<()> {
    if env.safeguards_off.contains(&Safeguard::SingleUseAttestation) {
        env.wait_until("the freeze", FROZEN_WITHIN, unfreeze::is_frozen).await?;
        unfreeze::by_two_people(env).await?;
    }
    Ok(())
}

/// Publishes a tenant-service event about the operator's tenant.
async fn state(env: &DrillEnv, what: &str) -> anyhow::Result<()> {
    let data = json!({"reason": "A drill."});
    events::publish(env, &format!("tenant.tenant.{what}.v1"), &data).await
}

impl Drill for DecisionCase {
    fn leaves(&self) -> EnvAfter {
        match self.failure {
            Failure::SessionTier => EnvAfter::Restarted(&["redis-session"]),
            _ => EnvAfter::Unchanged,
        }
    }

    fn uses_up(&self) -> DeviceUse {
        let uses_factor = |(probe, _): &&(Probe, Expected)| {
            matches!(probe, Probe::Refund | Probe::RefundWithUsedFactor)
        };
        let second_factors = self.probes.iter().chain(self.afterwards).filter(uses_factor).count();
        DeviceUse { second_factors, ..DeviceUse::default() }
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_case(run, self))
    }
}

async fn run_case(run: &mut DrillRun, case: &DecisionCase) -> anyhow::Result<()> {
    let context = ProbeContext::prepare(case.probes, &run.env).await?;
    let steady =
        context.wait_until(Probe::Dashboard, Expected::Whole, STEADY_WITHIN, &run.env).await?;
    run.steady("a dashboard is whole", steady.0, steady.1);
    let outcome = fail(run, case, &context).await;
    // In any case: the next drill uses the same environment.
    case.failure.undo(&mut run.env).await?;
    outcome?;
    let begun = Instant::now();
    for &(probe, expected) in case.afterwards {
        let (met, answer) = context.wait_until(probe, expected, run.objective, &run.env).await?;
        run.recover(expected.sentence(probe), met, answer);
    }
    run.recovered_after(Some(begun.elapsed()));
    Ok(())
}

async fn fail(run: &DrillRun, case: &DecisionCase, context: &ProbeContext) -> anyhow::Result<()> {
    let injecting = inject(run, case, context);
    run.raised_during(case.alert.as_slice(), Instant::now(), injecting).await?
}

async fn inject(run: &DrillRun, case: &DecisionCase, context: &ProbeContext) -> anyhow::Result<()> {
    let (before, begun) = (case.signal.counted(&run.env).await?, Instant::now());
    case.failure.inject(&run.env).await?;
    run.inject(case.failure.sentence());
    for (number, &(probe, expected)) in case.probes.iter().enumerate() {
        // A read may be late on a busy machine, and readiness is up to a second old.
        let may_be_late = matches!(expected, Expected::Whole) || probe == Probe::Readiness;
        let slow = number == 0 && case.failure.is_slow() || may_be_late;
        let within = match expected {
            Expected::Stale(_) => AGED_WITHIN,
            _ if slow => IN_FORCE_WITHIN,
            _ => Duration::ZERO,
        };
        let (met, answer) = context.wait_until(probe, expected, within, &run.env).await?;
        run.user(expected.sentence(probe), met, answer);
    }
    let counted = case.signal.counted(&run.env).await? - before;
    run.detect(case.signal.sentence(), counted > 0.0, counted);
    run.detected_after(Some(begun.elapsed()));
    Ok(())
}

impl ProbeContext {
    /// Repeats the probe, at least once, until the response is as expected. Returns the last one.
    async fn wait_until(
        &self,
        probe: Probe,
        expected: Expected,
        within: Duration,
        env: &DrillEnv,
    ) -> anyhow::Result<(bool, String)> {
        let begun = Instant::now();
        loop {
            let answer = self.probe(probe, env).await;
            if answer.as_ref().is_ok_and(|answer| expected.is_met(answer)) {
                return Ok((true, answer?.to_string()));
            }
            if begun.elapsed() >= within {
                let found = answer
                    .map_or_else(|error| format!("{error:#}"), |response| response.to_string());
                return Ok((false, found));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}
