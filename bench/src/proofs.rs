//! Proofs made before a measurement begins, so that signing costs it nothing.
//!
//! A proof is accepted for a minute after its `iat` and ten seconds before. On a schedule the
//! moment of use is known: `iat` is the time of making plus the request's place in the
//! schedule, so that the age of every proof at its use is the time the making took.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::clock::Clock;
use tokio::time::Instant;

use crate::seats::Aim;

/// Proofs of one phase: under half of what a gateway remembers in the minute a proof lives.
pub(crate) const MOST: usize = 60_000;
/// Age a proof must not reach; it leaves the gateway's minute some room.
const OLDEST: Duration = Duration::from_secs(50);

/// One request's seat and proof.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) seat: usize,
    pub(crate) proof: String,
}

/// When the requests of a set of tickets will be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Evenly, this many a second.
    Scheduled { rate: u32 },
    /// Some time within `length`.
    Within { length: Duration },
}

/// One proof per entry of `draw`, for what that seat aims at.
pub(crate) async fn make(
    aims: &Arc<Vec<Aim>>,
    draw: &[usize],
    pace: Pace,
    clock: &Clock,
) -> anyhow::Result<Vec<Ticket>> {
    if draw.len() > MOST {
        bail!("That is {} requests: lower --rate or --seconds to stay below {MOST}.", draw.len());
    }
    let begun = Instant::now();
    let first_iat = clock.unix_seconds();
    let makers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let size = draw.len().div_ceil(makers).max(1);
    let chunks = draw.chunks(size).enumerate().map(|(number, chunk)| {
        let (aims, chunk) = (Arc::clone(aims), chunk.to_vec());
        let sign = move || sign_chunk(&aims, &chunk, number * size, first_iat, pace);
        async move { tokio::task::spawn_blocking(sign).await.context("making proofs")? }
    });
    let made = futures_util::future::try_join_all(chunks).await?;
    let oldest = begun.elapsed()
        + match pace {
            Pace::Scheduled { .. } => Duration::ZERO,
            Pace::Within { length } => length,
        };
    if oldest > OLDEST {
        bail!("The proofs would be too old when they are used: lower --seconds or --rate.");
    }
    Ok(made.into_iter().flatten().collect())
}

/// `first`: the place of the chunk's first ticket in the schedule.
fn sign_chunk(
    aims: &[Aim],
    chunk: &[usize],
    first: usize,
    first_iat: i64,
    pace: Pace,
) -> anyhow::Result<Vec<Ticket>> {
    let sign = |(number, seat): (usize, &usize)| {
        let iat = first_iat + seconds_into(pace, first + number);
        Ok(Ticket { seat: *seat, proof: aims[*seat].proof(iat)? })
    };
    chunk.iter().enumerate().map(sign).collect()
}

fn seconds_into(pace: Pace, number: usize) -> i64 {
    match pace {
        Pace::Scheduled { rate } => number as i64 / i64::from(rate),
        Pace::Within { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduled_proof_is_dated_for_its_turn() {
        let pace = Pace::Scheduled { rate: 100 };
        assert_eq!([0, 99, 100, 6000].map(|n| seconds_into(pace, n)), [0, 0, 1, 60]);
        assert_eq!(seconds_into(Pace::Within { length: OLDEST }, 6000), 0);
    }
}
