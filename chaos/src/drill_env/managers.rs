//! The general managers whose desktops drills use. Each device may open ten streams a minute and each
//! code of a second factor is valid once, so drills that need many get another manager's desktop.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::StackInfo;
use launcher::desktop::Desktop;
use tokio::time::Instant;

use super::DrillEnv;

/// How long a device's streams count. The gateway's own limit, `bff/src/stream.rs`.
const STREAMS_WINDOW: Duration = Duration::from_secs(60);
const MAX_STREAMS: usize = 10;
/// After this, none of the three codes that iam accepts is a used one: three periods of 30 s.
const FACTORS_WINDOW: Duration = Duration::from_secs(90);
const MAX_FACTORS: usize = 3;

/// What a drill uses up at most, of what a device has within a minute or two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceUse {
    /// Streams that are opened.
    pub streams: usize,
    /// Codes of the second factor that are accepted.
    pub second_factors: usize,
}

/// A general manager, who sees every widget, and their property.
#[derive(Debug)]
pub(super) struct Manager {
    username: String,
    property: String,
    /// What drills have used up, and when the drill ended.
    used: Vec<(Instant, DeviceUse)>,
}

impl Manager {
    pub(super) fn desktop(
        &self,
        info: &StackInfo,
        folder: &Path,
    ) -> anyhow::Result<(Desktop, String)> {
        let folder = folder.join("desktop");
        let desktop = Desktop::open(info, &self.username, &folder, Clock::system())?;
        Ok((desktop, self.property.clone()))
    }

    fn has(&self, needed: DeviceUse, now: Instant) -> bool {
        let sum = |window, of: fn(&DeviceUse) -> usize| {
            let recent = self.used.iter().filter(|(at, _)| now.duration_since(*at) < window);
            recent.map(|(_, used)| of(used)).sum::<usize>()
        };
        let streams = sum(STREAMS_WINDOW, |used| used.streams);
        let factors = sum(FACTORS_WINDOW, |used| used.second_factors);
        streams + needed.streams <= MAX_STREAMS && factors + needed.second_factors <= MAX_FACTORS
    }
}

/// At least one manager.
#[derive(Debug)]
pub(super) struct Managers(Vec<Manager>);

impl Managers {
    pub(super) fn of(info: &StackInfo) -> anyhow::Result<Self> {
        let is_one = |roles: &[String]| roles.iter().any(|role| role == "property.gm");
        let all = info.operators.iter().filter(|operator| is_one(&operator.roles));
        let all = all.map(|operator| {
            let property = operator.property_ids.first().context("a manager has no property")?;
            let (username, property) = (operator.username.clone(), property.clone());
            Ok(Manager { username, property, used: Vec::new() })
        });
        let all = all.collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::ensure!(!all.is_empty(), "the demo data has no general manager");
        Ok(Self(all))
    }

    pub(super) fn first(&self) -> &Manager {
        &self.0[0]
    }
}

impl DrillEnv {
    /// Opens the desktop of the first manager who has this left. Returns false if none has.
    pub fn use_manager_with(&mut self, needed: DeviceUse) -> anyhow::Result<bool> {
        let now = Instant::now();
        let Some(manager) = self.managers.0.iter().find(|manager| manager.has(needed, now)) else {
            return Ok(false);
        };
        (self.desktop, self.property) = manager.desktop(self.stack.info(), &self.folder)?;
        Ok(true)
    }

    /// Notes what the current manager's device has used up until now.
    pub fn note_used(&mut self, used: DeviceUse) {
        let current = &self.desktop.operator().username;
        let manager = self.managers.0.iter_mut().find(|manager| manager.username == *current);
        if let Some(manager) = manager {
            manager.used.push((Instant::now(), used));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_manager_has_what_was_not_used_up_lately() {
        let (username, property) = (String::new(), String::new());
        let mut manager = Manager { username, property, used: Vec::new() };
        let factors = |second_factors| DeviceUse { second_factors, ..DeviceUse::default() };
        let streams = |streams| DeviceUse { streams, ..DeviceUse::default() };
        assert!(manager.has(factors(3), Instant::now()));
        manager.used.push((Instant::now(), factors(2)));
        manager.used.push((Instant::now(), streams(4)));
        assert!(manager.has(factors(1), Instant::now()));
        assert!(!manager.has(factors(2), Instant::now()));
        assert!(!manager.has(streams(7), Instant::now()));
        tokio::time::advance(STREAMS_WINDOW).await;
        assert!(manager.has(streams(7), Instant::now()));
        assert!(!manager.has(factors(2), Instant::now()));
        tokio::time::advance(FACTORS_WINDOW).await;
        assert!(manager.has(factors(2), Instant::now()));
    }
}
