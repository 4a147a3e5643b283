//! The composer's protections. They are always on: only a build with the feature `sabotage`,
//! made by the drills to show that a protection matters, can switch one off.

use std::time::Duration;

use crate::compose::Settled;

#[derive(Debug, Clone, Default)]
pub(crate) struct Guards {
    #[cfg(feature = "sabotage")]
    no_deadlines: bool,
    #[cfg(feature = "sabotage")]
    no_isolation: bool,
    #[cfg(feature = "sabotage")]
    no_snapshots: bool,
}

#[cfg(not(feature = "sabotage"))]
impl Guards {
    /// Nothing outlives its deadline.
    #[expect(clippy::unused_self, reason = "the sabotaged twin looks at itself")]
    pub(crate) fn deadline(&self, deadline: Duration) -> Duration {
        deadline
    }

    /// A widget that fails costs no other widget anything.
    #[expect(clippy::unused_self, reason = "the sabotaged twin looks at itself")]
    pub(crate) fn isolate(&self, settled: Vec<Settled>) -> Vec<Settled> {
        settled
    }

    /// What is kept is shown with its age when its upstream fails.
    #[expect(clippy::unused_self, reason = "the sabotaged twin looks at itself")]
    pub(crate) fn shows_stale(&self) -> bool {
        true
    }
}

#[cfg(feature = "sabotage")]
impl Guards {
    pub(crate) fn switch_off(&mut self, guard: &str) {
        match guard {
            "deadlines" => self.no_deadlines = true,
            "isolation" => self.no_isolation = true,
            "snapshots" => self.no_snapshots = true,
            other => panic!("there is no guard named {other}"),
        }
    }

    pub(crate) fn deadline(&self, deadline: Duration) -> Duration {
        if self.no_deadlines { Duration::from_secs(30) } else { deadline }
    }

    pub(crate) fn shows_stale(&self) -> bool {
        !self.no_snapshots
    }

    /// Without isolation the first failure takes every widget with it.
    pub(crate) fn isolate(&self, mut settled: Vec<Settled>) -> Vec<Settled> {
        let reason = settled.iter().find(|one| one.is_lacking()).and_then(|one| one.widget.reason);
        if self.no_isolation && reason.is_some() {
            for one in &mut settled {
                one.widget.status = contracts::dashboard::WidgetStatus::Unavailable;
                one.widget.reason = reason;
                one.widget.data = None;
            }
        }
        settled
    }
}
