//! Outcomes of the calls of the last ten seconds, and whether they should open a breaker. Pure.
//!
//! Every span that ends now and is at least a second long is examined: it must have five failures,
//! and at least half of its calls must have failed. Compared with counting consecutive failures, a
//! burst of five among hundreds of successes opens nothing, and occasional successes do not hide an
//! upstream that fails most calls. An idle upstream that fails every call is detected by its fifth.

use std::time::Duration;

use tokio::time::Instant;

const SLOT: Duration = Duration::from_millis(500);
const SLOTS: usize = 20;
/// The current slot, which has just begun, and one second.
const MIN_SPAN_SLOTS: usize = 3;
/// A span with fewer failures is ignored.
const MIN_FAILURES: u32 = 5;

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
    /// Tenants with a success, and tenants with a failure, as bits.
    responded: u64,
    failed: u64,
}

impl Slot {
    fn and(self, other: Self) -> Self {
        Self {
            number: self.number,
            calls: self.calls + other.calls,
            failures: self.failures + other.failures,
            responded: self.responded | other.responded,
            failed: self.failed | other.failed,
        }
    }

    fn fails_mostly(self) -> bool {
        self.failures >= MIN_FAILURES && self.failures * 2 >= self.calls
    }

    /// Whether more tenants had only failures than had a success, and at least two did. Each tenant
    /// counts once, however often it calls.
    fn fails_for_most_tenants(self) -> bool {
        let only_failed = (self.failed & !self.responded).count_ones();
        self.failures >= MIN_FAILURES
            && only_failed >= 2
            && only_failed > self.responded.count_ones()
    }
}

impl History {
    /// Starts empty; can open a breaker once the shortest span is over.
    pub(super) fn new(now: Instant) -> Self {
        Self { origin: now, slots: [Slot::default(); SLOTS] }
    }

    /// Starts with a span known to have no success; can open a breaker at once.
    pub(super) fn without_success(now: Instant) -> Self {
        Self::new(now.checked_sub(SLOT * MIN_SPAN_SLOTS as u32).unwrap_or(now))
    }

    /// Whether the tenant had a success in the shortest span.
    pub(super) fn has_responded(&self, tenant: u64, now: Instant) -> bool {
        self.sums(now).take(MIN_SPAN_SLOTS).last().is_some_and(|sum| sum.responded & tenant != 0)
    }

    pub(super) fn responded(&mut self, tenant: u64, now: Instant) {
        let slot = self.slot(now);
        slot.calls += 1;
        slot.responded |= tenant;
    }

    pub(super) fn failed(&mut self, tenant: u64, now: Instant) {
        let slot = self.slot(now);
        slot.calls += 1;
        slot.failures += 1;
        slot.failed |= tenant;
    }

    /// Whether most calls fail.
    pub(super) fn fails_mostly(&self, now: Instant) -> bool {
        self.spans(now).any(Slot::fails_mostly)
    }

    /// Whether calls fail for most tenants.
    pub(super) fn fails_for_most_tenants(&self, now: Instant) -> bool {
        self.spans(now).any(Slot::fails_for_most_tenants)
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

    fn spans(&self, now: Instant) -> impl Iterator<Item = Slot> {
        self.sums(now).skip(MIN_SPAN_SLOTS - 1)
    }

    /// Sums of ever longer spans that end now.
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
