//! Proofs signed before a measurement, so that signing takes no CPU time from it.
//!
//! A proof is accepted from ten seconds before its `iat` until a minute after. In an open loop the
//! moment of use is known: `iat` is the time of signing plus the request's offset in the schedule, so
//! that every proof is used at the same age.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::clock::Clock;
use tokio::time::Instant;

use crate::clients::RequestTemplate;
use crate::options::Pace;

/// Maximum proofs of one phase: less than half of what a gateway's replay store holds per minute.
pub(crate) const MAX_PROOFS: usize = 60_000;
/// Maximum age of a proof, below the gateway's minute.
const MAX_PROOF_AGE: Duration = Duration::from_secs(50);

/// The connection and proof of one request.
#[derive(Debug)]
pub(crate) struct PresignedRequest {
    pub(crate) connection: usize,
    pub(crate) proof: String,
}

/// Signs one proof per entry of `picks`, for that connection's template, to be used within `length`.
pub(crate) async fn sign(
    templates: &Arc<Vec<RequestTemplate>>,
    picks: &[usize],
    pace: Pace,
    length: Duration,
) -> anyhow::Result<Vec<PresignedRequest>> {
    if picks.len() > MAX_PROOFS {
        bail!(
            "That is {} requests: lower --rate or --seconds to stay below {MAX_PROOFS}.",
            picks.len()
        );
    }
    let begun = Instant::now();
    let first_iat = Clock::system().unix_seconds();
    let makers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let size = picks.len().div_ceil(makers).max(1);
    let chunks = picks.chunks(size).enumerate().map(|(number, chunk)| {
        let (templates, chunk) = (Arc::clone(templates), chunk.to_vec());
        let sign = move || sign_chunk(&templates, &chunk, number * size, first_iat, pace);
        async move { tokio::task::spawn_blocking(sign).await.context("signing proofs")? }
    });
    let made = futures_util::future::try_join_all(chunks).await?;
    let oldest = begun.elapsed()
        + match pace {
            Pace::Open { .. } => Duration::ZERO,
            Pace::Closed { .. } => length,
        };
    if oldest > MAX_PROOF_AGE {
        bail!("The proofs would be too old when they are used: lower --seconds or --rate.");
    }
    Ok(made.into_iter().flatten().collect())
}

/// `first`: index of the chunk's first request in the schedule.
fn sign_chunk(
    templates: &[RequestTemplate],
    chunk: &[usize],
    first: usize,
    first_iat: i64,
    pace: Pace,
) -> anyhow::Result<Vec<PresignedRequest>> {
    let sign = |(number, connection): (usize, &usize)| {
        let iat = first_iat + seconds_into(pace, first + number);
        Ok(PresignedRequest { connection: *connection, proof: templates[*connection].proof(iat)? })
    };
    chunk.iter().enumerate().map(sign).collect()
}

fn seconds_into(pace: Pace, number: usize) -> i64 {
    match pace {
        Pace::Open { rate } => number as i64 / i64::from(rate),
        Pace::Closed { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduled_proof_is_dated_for_its_turn() {
        let pace = Pace::Open { rate: 100 };
        assert_eq!([0, 99, 100, 6000].map(|n| seconds_into(pace, n)), [0, 0, 1, 60]);
        assert_eq!(seconds_into(Pace::Closed { clients: 8 }, 6000), 0);
    }
}
