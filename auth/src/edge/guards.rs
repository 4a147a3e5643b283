//! The replay store's protections. They are always on: only a build with the feature `sabotage`,
//! made by the drills to show that a protection matters, can switch one off.

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guards {
    #[cfg(feature = "sabotage")]
    no_replay: bool,
    #[cfg(feature = "sabotage")]
    no_filter: bool,
    #[cfg(feature = "sabotage")]
    no_fallback: bool,
}

#[cfg(not(feature = "sabotage"))]
#[expect(clippy::unused_self, reason = "the sabotaged twin looks at itself")]
impl Guards {
    /// A proof is let in once.
    pub(super) fn replay(self) -> bool {
        true
    }

    /// The tier's filter takes over when it has no memory left.
    pub(super) fn filter(self) -> bool {
        true
    }

    /// An instance judges by itself while the tier is away.
    pub(super) fn fallback(self) -> bool {
        true
    }
}

#[cfg(feature = "sabotage")]
impl Guards {
    pub(super) fn switch_off(&mut self, guard: &str) {
        match guard {
            "replay" => self.no_replay = true,
            "replay-filter" => self.no_filter = true,
            "replay-fallback" => self.no_fallback = true,
            other => panic!("there is no guard named {other}"),
        }
    }

    pub(super) fn replay(self) -> bool {
        !self.no_replay
    }

    pub(super) fn filter(self) -> bool {
        !self.no_filter
    }

    pub(super) fn fallback(self) -> bool {
        !self.no_fallback
    }
}
