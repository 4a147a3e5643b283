//! The clock and the source of randomness together, as most callers need them.

use jiff::Timestamp;

use crate::clock::{Clock, Entropy};
use crate::id::Id;

/// What a process takes from its surroundings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Env {
    pub clock: Clock,
    pub entropy: Entropy,
}

impl Env {
    pub fn new(clock: Clock, entropy: Entropy) -> Self {
        Self { clock, entropy }
    }

    /// The machine's clock and generator.
    pub fn system() -> Self {
        Self::new(Clock::system(), Entropy::system())
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An id that no other process makes.
    pub fn new_id<T: Id>(&self) -> T {
        T::generate(&self.clock, &self.entropy)
    }
}
