//! How the calls of the last ten seconds ended, and whether that is bad enough to stop. Pure.
//!
//! Judged is every stretch up to now from a second's length on: five failures in it, and at least
//! half of its calls. Against "so many failures in a row" that has two advantages when calls run
//! side by side: five that fail at once among hundreds of good ones open nothing, and an upstream
//! that fails most calls is not saved by the good ones between. A quiet upstream that fails every
//! call is still known by its fifth.

use std::time::Duration;

use tokio::time::Instant;

const SLOT: Duration = Duration::from_millis(500);
const SLOTS: usize = 20;
/// Slots of the shortest stretch: this one, which has just begun, and a second.
const SHORTEST: usize = 3;
/// A stretch with fewer failures shows nothing.
const FAILURES: u32 = 5;

#[derive(Debug)]
pub(super) struct History {
    origin: Instant,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    /// Slots since the origin.
    number: u64,
    calls: u32,
    failures: u32,
    /// The callers that were answered, and those that were not, as bits.
    answered: u64,
    failed: u64,
}

impl Slot {
    fn and(self, other: Self) -> Self {
        Self {
            number: self.number,
            calls: self.calls + other.calls,
            failures: self.failures + other.failures,
            answered: self.answered | other.answered,
            failed: self.failed | other.failed,
        }
    }

    fn fails_mostly(self) -> bool {
        self.failures >= FAILURES && self.failures * 2 >= self.calls
    }

    /// More callers got no answer at all than got one, and more than one did not. A caller has
    /// one voice, however often it calls.
    fn fails_for_most(self) -> bool {
        let in_vain = (self.failed & !self.answered).count_ones();
        self.failures >= FAILURES && in_vain >= 2 && in_vain > self.answered.count_ones()
    }
}

impl History {
    /// One that knows of nothing before now: it judges once the shortest stretch is over.
    pub(super) fn new(now: Instant) -> Self {
        Self { origin: now, slots: [Slot::default(); SLOTS] }
    }

    /// One that knows that there was nothing good in the shortest stretch: it judges at once.
    pub(super) fn without_good(now: Instant) -> Self {
        Self::new(now.checked_sub(SLOT * SHORTEST as u32).unwrap_or(now))
    }

    /// Whether the caller was answered in the shortest stretch.
    pub(super) fn has_answered(&self, caller: u64, now: Instant) -> bool {
        self.sums(now).take(SHORTEST).last().is_some_and(|sum| sum.answered & caller != 0)
    }

    pub(super) fn answered(&mut self, caller: u64, now: Instant) {
        let slot = self.slot(now);
        slot.calls += 1;
        slot.answered |= caller;
    }

    pub(super) fn failed(&mut self, caller: u64, now: Instant) {
        let slot = self.slot(now);
        slot.calls += 1;
        slot.failures += 1;
        slot.failed |= caller;
    }

    /// Whether calls fail, whoever makes them.
    pub(super) fn fails_mostly(&self, now: Instant) -> bool {
        self.stretches(now).any(Slot::fails_mostly)
    }

    /// Whether calls fail for most of those who make them.
    pub(super) fn fails_for_most(&self, now: Instant) -> bool {
        self.stretches(now).any(Slot::fails_for_most)
    }

    fn number(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.origin).as_millis() / SLOT.as_millis()) as u64
    }

    fn slot(&mut self, now: Instant) -> &mut Slot {
        let number = self.number(now);
        let slot = &mut self.slots[number as usize % SLOTS];
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        slot
    }

    fn stretches(&self, now: Instant) -> impl Iterator<Item = Slot> {
        self.sums(now).skip(SHORTEST - 1)
    }

    /// Sums from now back, each a slot longer than the one before.
    fn sums(&self, now: Instant) -> impl Iterator<Item = Slot> {
        let newest = self.number(now);
        (0..SLOTS as u64).scan(Slot::default(), move |sum, back| {
            let number = newest.checked_sub(back)?;
            let slot = self.slots[number as usize % SLOTS];
            if slot.number == number {
                *sum = sum.and(slot);
            }
            Some(*sum)
        })
    }
}
