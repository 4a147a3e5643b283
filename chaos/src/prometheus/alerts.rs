//! Alerts during a drill, evaluated by a real Prometheus: silent before the fault, firing in time,
//! and resolved after recovery.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{bail, ensure};
use contracts::clock::Clock;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use launcher::Stack;
use tokio::time::{Instant, sleep};

use super::rules::Timing;
use super::scale::Scale;
use super::{ActiveState, Prometheus};
use crate::observations::{Observations, Step};
use crate::timeline::EventKind;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The alerts of a running stack.
#[derive(Debug)]
pub struct Alerts {
    prometheus: Prometheus,
    clock: Clock,
}

/// State of an alert. `since`: when its expression became true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    Inactive,
    Pending { since: Timestamp },
    Firing { since: Timestamp },
}

impl AlertState {
    pub fn is_inactive(&self) -> bool {
        *self == Self::Inactive
    }

    /// `None` for an inactive alert.
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Inactive => None,
            Self::Pending { since } | Self::Firing { since } => Some(*since),
        }
    }

    pub fn is_firing(&self) -> bool {
        matches!(self, Self::Firing { .. })
    }
}

/// What the alerts of a fault did.
#[derive(Debug)]
#[must_use = "the findings must be recorded"]
pub struct Raised(Vec<RaisedAlert>);

#[derive(Debug)]
struct RaisedAlert {
    alert: &'static str,
    fault: Instant,
    timing: Timing,
    silent_before: anyhow::Result<()>,
    fired: anyhow::Result<Fired>,
}

/// Times since the fault.
#[derive(Debug)]
struct Fired {
    pending: SignedDuration,
    firing: Duration,
}

impl Alerts {
    /// Starts a Prometheus for the stack and waits until it has evaluated the rules. `uptime`: where the
    /// uptime probe exports its results.
    pub async fn start(stack: &Stack, uptime: SocketAddr, scale: Scale) -> anyhow::Result<Self> {
        let prometheus = Prometheus::start(stack, uptime, scale).await?;
        Ok(Self { prometheus, clock: Clock::system() })
    }

    /// State of an alert: firing, if it fires for any labels.
    pub async fn state(&self, alert: &str) -> anyhow::Result<AlertState> {
        let active = self.prometheus.active().await?;
        let own = active.iter().filter(|active| active.labels.alertname == alert);
        Ok(match own.max_by_key(|active| active.state) {
            None => AlertState::Inactive,
            Some(active) if active.state == ActiveState::Pending => {
                AlertState::Pending { since: active.active_at }
            }
            Some(active) => AlertState::Firing { since: active.active_at },
        })
    }

    /// Names of the alerts that are pending or firing.
    pub async fn active(&self) -> anyhow::Result<BTreeSet<String>> {
        let active = self.prometheus.active().await?;
        Ok(active.into_iter().map(|active| active.labels.alertname).collect())
    }

    /// Waits for a state and returns the time it took.
    pub async fn wait_for(
        &self,
        alert: &str,
        is_wanted: fn(&AlertState) -> bool,
        within: Duration,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.until(alert, is_wanted, within).await?;
        Ok(begun.elapsed())
    }

    async fn until(
        &self,
        alert: &str,
        is_wanted: fn(&AlertState) -> bool,
        within: Duration,
    ) -> anyhow::Result<AlertState> {
        let begun = Instant::now();
        loop {
            let expired = begun.elapsed() >= within;
            match self.state(alert).await {
                Ok(state) if is_wanted(&state) => return Ok(state),
                Ok(state) if expired => {
                    bail!("{alert} is still {state} after {} s", within.as_secs())
                }
                // A busy machine may delay a response.
                Err(error) if expired || self.prometheus.has_ended() => return Err(error),
                _ => {}
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Longest time from a fault until all of these alerts fire.
    pub fn fire_within(&self, alerts: &[&str]) -> anyhow::Result<Duration> {
        let mut longest = Duration::ZERO;
        for alert in alerts {
            longest = longest.max(self.prometheus.timing(alert)?.fires_within);
        }
        Ok(longest)
    }

    /// Does `work` while it waits for the alerts that `fault` must raise.
    pub async fn raised_during<T>(
        &self,
        alerts: &[&'static str],
        fault: Instant,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<(T, Raised)> {
        let mut raised = Vec::new();
        for alert in alerts {
            raised.push(self.raised(alert, self.prometheus.timing(alert)?, fault));
        }
        let (given, raised) = tokio::join!(work, join_all(raised));
        Ok((given, Raised(raised)))
    }

    async fn raised(&self, alert: &'static str, timing: Timing, fault: Instant) -> RaisedAlert {
        let fault_at = self.clock.now() - fault.elapsed();
        let silent_before = self.was_silent(alert, fault_at).await;
        let left = timing.fires_within.saturating_sub(fault.elapsed());
        let state = self.until(alert, AlertState::is_firing, left).await;
        let fired = state.map(|state| Fired {
            pending: state.since().map(|since| since.duration_since(fault_at)).unwrap_or_default(),
            firing: fault.elapsed(),
        });
        RaisedAlert { alert, fault, timing, silent_before, fired }
    }

    async fn was_silent(&self, alert: &str, at: Timestamp) -> anyhow::Result<()> {
        let active = self.prometheus.was_active(alert, at).await?;
        ensure!(!active, "{alert} was pending or firing before the fault");
        Ok(())
    }

    /// Checks that every alert that the drill raised is inactive again.
    pub async fn check_resolved(&self, seen: &mut Observations) -> anyhow::Result<()> {
        let begun = Instant::now();
        for alert in std::mem::take(&mut seen.alerts) {
            let within = self.prometheus.timing(alert)?.ends_within;
            let left = within.saturating_sub(begun.elapsed());
            let ended = self.wait_for(alert, AlertState::is_inactive, left).await;
            let ended = ended.map(|_| begun.elapsed());
            if ended.is_ok() {
                seen.note(EventKind::Resolved, Instant::now(), alert);
            }
            let what = format!("{alert} is resolved within {} s", within.as_secs());
            seen.check_timed(Step::Recovery, what, ended);
        }
        Ok(())
    }

    /// Ends the Prometheus and removes its folder.
    pub async fn stop(self) {
        self.prometheus.stop().await;
    }
}

impl Raised {
    /// Records the findings, and that the alerts must be resolved after the drill.
    pub fn report(self, seen: &mut Observations) {
        for raised in self.0 {
            raised.report(seen);
        }
    }
}

impl RaisedAlert {
    fn report(self, seen: &mut Observations) {
        let Self { alert, fault, timing, silent_before, fired } = self;
        let held = silent_before.is_ok();
        let found = silent_before.map_or_else(|error| format!("{error:#}"), |()| "silent".into());
        seen.check(Step::Steady, format!("{alert} is silent before the fault"), held, found);
        let (held, found) = match &fired {
            Ok(fired) => (true, fired.to_string()),
            Err(error) => (false, format!("{error:#}")),
        };
        let (seconds, divisor) = (timing.fires_within.as_secs_f64(), timing.divisor);
        let what = format!("{alert} fires within {seconds} s, its durations divided by {divisor}");
        seen.check(Step::Detection, what, held, found);
        if let Ok(fired) = &fired {
            let pending = fired.pending.unsigned_abs();
            seen.note(EventKind::Pending, fault + pending, alert);
            seen.note(EventKind::Firing, fault + fired.firing, alert);
        }
        seen.detected_after(fired.ok().map(|fired| fired.firing));
        seen.alerts.push(alert);
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inactive => f.write_str("inactive"),
            Self::Pending { since } => write!(f, "pending (since {since})"),
            Self::Firing { since } => write!(f, "firing (since {since})"),
        }
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pending, firing) = (self.pending.as_millis(), self.firing.as_millis());
        write!(f, "pending after {pending} ms, firing after {firing} ms")
    }
}
